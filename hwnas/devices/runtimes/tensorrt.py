"""TensorRT (10 and 11) and TensorRT-RTX: an engine is built from the .onnx file, then run on an NVIDIA GPU.

Networks are strongly typed: the precision is that of the file (fp16 by conversion, int8 by Q/DQ nodes), and fp32 means
fp32, without TF32. TensorRT tunes its kernels by timing them, so that two builds of one model may differ; what it found
is kept in a timing cache, whose hash a session states. TensorRT-RTX tunes nothing, and builds engines without a GPU.
"""

import contextlib
import functools
import hashlib
import importlib
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.runtimes.cuda import Cuda
from hwnas.devices.runtimes.runtime import Array, Runtime, Session, held_inputs
from hwnas.errors import DeviceError, MissingRuntimeError
from hwnas.files import cache_folder, replacing

__all__ = ["Engine", "TensorRt"]

TUNING: Final = ("tensorrt",)


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        plan: the serialised engine.
        inputs: names, in the order of the .onnx file.
        outputs: likewise.
        timing_cache: the file of tuned kernels that it was built with, None where the library tunes nothing.
        settings: what the builder was told, for whoever builds it again: JSON.
    """

    plan: bytes
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    timing_cache: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class TensorRt(Runtime):
    """TensorRT or TensorRT-RTX on the current GPU.

    Args:
        library: the module, "tensorrt" or "tensorrt_rtx".
        cuda: makes the access to CUDA.
    """

    def __init__(self, library: str, *, cuda: Callable[[], Cuda] = Cuda) -> None:
        self._library = library
        self._cuda = cuda

    @property
    def name(self) -> str:
        """Either "tensorrt" or "tensorrt-rtx"."""
        return self._library.replace("_", "-")

    @property
    def version(self) -> str | None:
        """The library's version where it is installed and CUDA finds a GPU, else None."""
        return None if self._obstacle() else str(importlib.import_module(self._library).__version__)

    @property
    def install_hint(self) -> str:
        """The extra and the driver."""
        return f"pip install 'hwnas[{self.name}]', on a machine with an NVIDIA GPU and its driver"

    @property
    def symmetric_int8(self) -> bool:
        """TensorRT refuses any other."""
        return True

    @property
    def precisions(self) -> tuple[str, ...]:
        """All of them; int8 wants symmetric Q/DQ nodes."""
        return ("fp32", "fp16", "int8")

    @property
    def properties(self) -> dict[str, Any]:
        """The GPU's name, compute capability and driver."""
        return {} if self._obstacle() else dict(self._cuda().properties())

    def require(self) -> None:
        """Raises MissingRuntimeError, which says whether the library or the driver is missing."""
        obstacle = self._obstacle()
        if obstacle:
            raise MissingRuntimeError(
                f"Runtime {self.name}", "must be installed", came=obstacle, do=f"It comes by {self.install_hint}"
            )

    def load(self, onnx_path: Path, *, num_threads: int) -> Session:  # noqa: ARG002 a GPU has threads of its own
        """Builds an engine for this GPU and loads it; or loads an .engine that was built before.

        Raises:
            MissingRuntimeError: the library or the driver is not installed.
            DeviceError: TensorRT refuses an operator, or cannot build or load the engine.
        """
        self.require()
        trt = importlib.import_module(self._library)
        here = ("CURRENT",) if hasattr(trt, "ComputeCapability") else ()
        stored = onnx_path.suffix == ".engine"
        engine = Engine(onnx_path.read_bytes()) if stored else self.build(onnx_path, compute_capabilities=here)
        log = _log(self._library)
        log.last_error = "it gives no reason"
        loaded = trt.Runtime(log).deserialize_cuda_engine(engine.plan)
        if loaded is None:
            raise self._refusal(onnx_path, log.last_error)
        if stored:
            names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
            given = tuple(name for name in names if loaded.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
            engine = replace(engine, inputs=given, outputs=tuple(name for name in names if name not in given))
        return TensorRtSession(trt, loaded, engine, self._cuda())

    def build(self, onnx_path: Path, *, compute_capabilities: Sequence[str] = ()) -> Engine:
        """Builds an engine; for TensorRT-RTX, and GPUs that are named, without a GPU.

        Args:
            onnx_path: the model.
            compute_capabilities: the GPUs to build for ("SM86", "SM120", or "CURRENT"), where the library can choose.

        Raises:
            DeviceError: TensorRT refuses an operator, or cannot build the engine.
        """
        trt, log = importlib.import_module(self._library), _log(self._library)
        log.last_error = "it gives no reason"
        builder = trt.Builder(log)
        strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
        parser = trt.OnnxParser(network, log)
        try:
            parsed = parser.parse(_with_float_biases(onnx_path.read_bytes()), str(onnx_path))
        except OSError as error:
            raise self._refusal(onnx_path, error.strerror or str(error)) from error
        if not parsed:
            raise self._refusal(onnx_path, _parser_reason(parser))
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        if compute_capabilities:
            config.num_compute_capabilities = len(compute_capabilities)
            for index, capability in enumerate(compute_capabilities):
                config.set_compute_capability(getattr(trt.ComputeCapability, capability), index)
        cache = self._read_timing_cache(config) if self._library in TUNING else None
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise self._refusal(onnx_path, log.last_error)
        if cache is not None:
            with replacing(cache) as scratch:
                scratch.write_bytes(bytes(config.get_timing_cache().serialize()))
        inputs = tuple(network.get_input(index).name for index in range(network.num_inputs))
        outputs = tuple(network.get_output(index).name for index in range(network.num_outputs))
        settings = {
            "library": self.name,
            "version": str(trt.__version__),
            "strongly_typed": True,
            "tf32": False,
            "compute_capabilities": list(compute_capabilities),
            "optimization_level": int(config.builder_optimization_level),
            "timing_cache_sha256": None if cache is None else hashlib.sha256(cache.read_bytes()).hexdigest(),
        }
        return Engine(bytes(plan), inputs, outputs, cache, settings)

    def _read_timing_cache(self, config: Any) -> Path:
        """Gives `config` what is known of this GPU; a file of another GPU or version is left aside."""
        known = [self.version, *self.properties.values()]
        path = cache_folder(self.name) / f"{re.sub(r'[^A-Za-z0-9.]+', '-', '_'.join(map(str, known)))}.timing"
        stored = path.read_bytes() if path.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(stored), ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        return path

    def _obstacle(self) -> str | None:
        """Why the runtime cannot run here, as the end of a sentence."""
        try:
            importlib.import_module(self._library)
            found = self._cuda().call("cudaGetDeviceCount")
        except ImportError as error:
            return f"Python finds no {error.name or self._library}"
        except DeviceError as error:
            return f"there is no usable NVIDIA driver: {error.came}"
        except (OSError, RuntimeError) as error:  # a library that lacks a library
            return " ".join(str(error).split())
        return None if found else "CUDA finds no GPU"

    def _refusal(self, onnx_path: Path, reason: str) -> DeviceError:
        return DeviceError(f"Runtime {self.name}", f"must load {onnx_path}", came=f"it says: {reason}")


class TensorRtSession(Session):
    """An execution context with device memory for its inputs and outputs.

    Args:
        trt: the module.
        loaded: the ICudaEngine.
        engine: what it was loaded from.
        cuda: the access to CUDA.
    """

    def __init__(self, trt: Any, loaded: Any, engine: Engine, cuda: Cuda) -> None:
        self._engine, self._cuda = engine, cuda
        self._timing_cache = engine.settings.get("timing_cache_sha256")
        names = (*engine.inputs, *engine.outputs)
        shapes = {name: tuple(loaded.get_tensor_shape(name)) for name in names}
        types = {name: np.dtype(trt.nptype(loaded.get_tensor_dtype(name))) for name in names}
        _require_fixed(shapes)
        self._context = loaded.create_execution_context()
        if self._context is None:
            raise DeviceError("TensorRT", "must make an execution context", came="it does not: the GPU may be full")
        self._arrays = {name: np.empty(shapes[name], types[name]) for name in names}
        self._held = held_inputs([shapes[name] for name in engine.inputs], [types[name] for name in engine.inputs])
        owned: list[tuple[str, Any]] = []
        weakref.finalize(self, _free, cuda, owned)
        self._address: dict[str, int] = {}
        for name in names:
            self._address[name] = int(cuda.call("cudaMalloc", max(1, self._arrays[name].nbytes)))
            owned.append(("cudaFree", self._address[name]))
            self._context.set_tensor_address(name, self._address[name])
        self._stream = cuda.call("cudaStreamCreate")
        owned.append(("cudaStreamDestroy", self._stream))
        self._start, self._end = (cuda.call("cudaEventCreate") for _ in range(2))
        owned += [("cudaEventDestroy", self._start), ("cudaEventDestroy", self._end)]

    @property
    def properties(self) -> dict[str, Any]:
        """The hash of the timing cache, where there is one."""
        return {} if self._timing_cache is None else {"timing_cache_sha256": self._timing_cache}

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`."""
        self._give(inputs)
        self._execute()
        self._cuda.call("cudaStreamSynchronize", self._stream)
        for name in self._engine.outputs:
            self._cuda.copy_out(self._arrays[name], self._address[name])
        return [self._arrays[name].copy() for name in self._engine.outputs]

    def time_ms(self, runs: int) -> list[float]:
        """The time between two CUDA events around each run, in ms: on the GPU, its memory filled beforehand."""
        self._give(self._held)
        samples = []
        for _ in range(runs):
            self._cuda.call("cudaEventRecord", self._start, self._stream)
            self._execute()
            self._cuda.call("cudaEventRecord", self._end, self._stream)
            self._cuda.call("cudaEventSynchronize", self._end)
            samples.append(float(self._cuda.call("cudaEventElapsedTime", self._start, self._end)))
        return samples

    def _give(self, inputs: Sequence[Array]) -> None:
        for name, value in zip(self._engine.inputs, inputs, strict=True):
            np.copyto(self._arrays[name], value)
            self._cuda.copy_in(self._address[name], self._arrays[name])

    def _execute(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise DeviceError("TensorRT", "must run the model", came="it did not: the GPU may be full or gone")


@functools.cache
def _log(library: str) -> Any:
    """The one logger of a process (TensorRT keeps the first that it is given): it keeps the last error for our own."""
    trt = importlib.import_module(library)

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.last_error = message.strip().partition("\n")[0]

    return Log()


def _parser_reason(parser: Any) -> str:
    """The first error of the parser, with the operator that it refuses."""
    error = parser.get_error(0)
    operator = f"operator {error.node_operator()} {error.node_name()!r}: " if error.node_operator() else ""
    return operator + str(error.desc()).strip().partition("\n")[0].rstrip(".")


def _with_float_biases(serialized: bytes) -> bytes:
    """The model with the quantised biases of its convolutions as what they stand for: TensorRT knows no int32 tensors.

    ONNX Runtime wants them quantised, so that one int8 file can serve both.
    """
    if b"DequantizeLinear" not in serialized:
        return serialized
    import onnx

    model = onnx.load_from_string(serialized)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        values = stored.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if values is None or values.data_type != onnx.TensorProto.INT32 or node.input[1] not in stored:
            continue
        scale = onnx.numpy_helper.to_array(stored[node.input[1]])
        bias = (onnx.numpy_helper.to_array(values) * scale).astype(scale.dtype)
        model.graph.initializer.append(onnx.numpy_helper.from_array(bias, node.output[0]))
        model.graph.node.remove(node)
    return bytes(model.SerializeToString())


def _require_fixed(shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if min(shape, default=1) < 0:
            raise DeviceError("TensorRT", "must be given a model of fixed shapes", came=f"{name} has the shape {shape}")


def _free(cuda: Cuda, owned: Sequence[tuple[str, Any]]) -> None:
    for function, handle in reversed(owned):
        with contextlib.suppress(DeviceError):  # at the end of a process CUDA may have gone first
            cuda.call(function, handle)
