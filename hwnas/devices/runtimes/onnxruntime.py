"""ONNX Runtime, by any execution provider that its build has."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.runtimes.cuda import gpu_properties
from hwnas.devices.runtimes.runtime import Array, Runtime, RuntimeFactory, Session, held_inputs
from hwnas.errors import DeviceError
from hwnas.files import cache_folder

__all__ = ["OnnxRuntime", "providers_of_build"]

SUFFIX: Final = "ExecutionProvider"

INSTALL_HINTS: Final = {
    "CPU": "pip install onnxruntime",
    "CUDA": "pip install onnxruntime-gpu in place of onnxruntime, on a machine with an NVIDIA driver",
    "Tensorrt": "pip install onnxruntime-gpu in place of onnxruntime, and 'hwnas[tensorrt]'",
    "OpenVINO": "pip install onnxruntime-openvino in place of onnxruntime",
    "CoreML": "pip install onnxruntime on macOS",
    "Dml": "pip install onnxruntime-directml in place of onnxruntime, on Windows",
    "QNN": "pip install onnxruntime-qnn in place of onnxruntime, on a machine with a Qualcomm NPU",
    "MIGraphX": "pip install onnxruntime-migraphx in place of onnxruntime, on a machine with an AMD GPU and ROCm",
    "Xnnpack": "a build of onnxruntime with --use_xnnpack",
    "ACL": "a build of onnxruntime 1.31 or older with --use_acl (Arm Compute Library)",
    "Dnnl": "a build of onnxruntime with --use_dnnl (oneDNN)",
}
NAMES: Final = {"Dml": "directml"}
REMOTE: Final = {"Azure"}
NVIDIA: Final = {"CUDA", "Tensorrt", "NvTensorRTRTX"}
NUMPY_TYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int64)": np.int64,
}
QUIET: Final = 3


class OnnxRuntime(Runtime):
    """ONNX Runtime with one execution provider.

    Args:
        provider: the provider's name without "ExecutionProvider".
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider

    @property
    def name(self) -> str:
        """For example "onnxruntime-cpu"."""
        return _name(self._provider)

    @property
    def version(self) -> str | None:
        """ONNX Runtime's version where its build has the provider, else None."""
        try:
            import onnxruntime
        except ImportError:
            return None
        if self._provider + SUFFIX not in onnxruntime.get_available_providers():
            return None
        return str(onnxruntime.__version__)

    @property
    def install_hint(self) -> str:
        """The package that brings the provider."""
        return INSTALL_HINTS.get(self._provider, f"a build of onnxruntime with {self._provider}")

    @property
    def symmetric_int8(self) -> bool:
        """TensorRT refuses any other."""
        return self._provider == "Tensorrt"

    @property
    def precisions(self) -> tuple[str, ...]:
        """The CPU provider has no kernels of its own for fp16 on most processors: it would cast to and fro."""
        return ("fp32", "int8") if self._provider == "CPU" else ("fp32", "fp16", "int8")

    @property
    def properties(self) -> dict[str, Any]:
        """The GPU's name, compute capability and driver where the provider runs on one of NVIDIA's."""
        return dict(gpu_properties()) if self._provider in NVIDIA and self.version is not None else {}

    def load(self, onnx_path: Path, *, num_threads: int) -> Session:
        """Loads `onnx_path` with `num_threads` threads inside an operator and one between operators.

        Raises:
            MissingRuntimeError: ONNX Runtime, or its build with this provider, is not installed.
            DeviceError: it cannot load the model.
        """
        self.require()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = QUIET
        # threads that spin after a run would take the cores of the next model's run: hundreds are loaded at once
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            provider = (self._provider + SUFFIX, self._provider_options(num_threads))
            session = onnxruntime.InferenceSession(str(onnx_path), options, providers=[provider])
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise DeviceError(f"Runtime {self.name}", f"must load {onnx_path}", came=f"it says: {reason}") from error
        other = sorted({node.type for node in session.get_inputs()} - set(NUMPY_TYPES))
        if other:
            raise DeviceError(
                f"Runtime {self.name}",
                f"must be given a model whose inputs are of {', '.join(sorted(NUMPY_TYPES))}",
                came=f"{onnx_path} has an input of {other[0]}",
            )
        chosen = session.get_providers()[0].removesuffix(SUFFIX)
        if chosen != self._provider:
            raise DeviceError(
                f"Runtime {self.name}",
                f"must run {onnx_path} by its {self._provider} provider",
                came=f"ONNX Runtime fell back to {chosen}",
                do="See that the provider's driver and libraries are installed",
            )
        return OnnxRuntimeSession(session)

    def _provider_options(self, num_threads: int) -> dict[str, str]:
        """What providers do not take from the session: threads of their own, and fp32 that is fp32."""
        match self._provider:
            case "CUDA":
                return {"use_tf32": "0"}
            case "Tensorrt":  # no engine cache: its key leaves out the weights and the shapes inside
                folder = cache_folder(self.name)
                folder.mkdir(parents=True, exist_ok=True)
                return {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
            case "OpenVINO":
                threads = {"num_of_threads": str(num_threads), "num_streams": "1"}
                return {"device_type": "CPU", "precision": "ACCURACY", **threads}
            case "Xnnpack":
                return {"intra_op_num_threads": str(num_threads)}
            case _:
                return {}


class OnnxRuntimeSession(Session):
    """An onnxruntime.InferenceSession with inputs that it holds for timing.

    Args:
        session: the onnxruntime.InferenceSession.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [node.name for node in session.get_inputs()]
        shapes = [[size if isinstance(size, int) else 1 for size in node.shape] for node in session.get_inputs()]
        types = [NUMPY_TYPES[node.type] for node in session.get_inputs()]
        self._feeds = dict(zip(self._names, held_inputs(shapes, types), strict=True))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`."""
        outputs: list[Array] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return outputs

    def time_ms(self, runs: int) -> list[float]:
        """Wall-clock time of each run, in ms, from the call to its outputs in host memory."""
        run, feeds, clock = self._session.run, self._feeds, time.perf_counter_ns
        samples = []
        for _ in range(runs):
            start = clock()
            run(None, feeds)
            samples.append((clock() - start) / 1e6)
        return samples


def providers_of_build() -> dict[str, RuntimeFactory]:
    """The execution providers that the installed build has, by their runtimes' names; {} where there is no build."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    providers = [name.removesuffix(SUFFIX) for name in onnxruntime.get_available_providers()]
    return {_name(provider): partial(OnnxRuntime, provider) for provider in providers if provider not in REMOTE}


def _name(provider: str) -> str:
    return f"onnxruntime-{NAMES.get(provider, provider.lower())}"
