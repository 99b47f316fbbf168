"""OpenVINO itself, on a CPU, an Intel GPU or an NPU, at the precision of the model.

Left alone, OpenVINO computes an fp32 model in bfloat16 on a CPU that has it, and in float16 on a GPU: half the latency,
of another network. So the precision of inference is always said.
"""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.runtimes.runtime import Array, Runtime, Session, held_inputs
from hwnas.errors import DeviceError

__all__ = ["OpenVino", "read_model", "refusal_reason"]

PRECISIONS: Final = {"FP32": "fp32", "FP16": "fp16", "INT8": "int8"}
WHAT_DRIVES: Final = {
    "CPU": "",
    "GPU": ", on a machine with an Intel GPU and its compute driver",
    "NPU": ", on a machine with an Intel NPU and its driver",
}


class OpenVino(Runtime):
    """OpenVINO on one device.

    Args:
        device: "CPU", "GPU" or "NPU".
    """

    def __init__(self, device: str) -> None:
        self._device = device

    @property
    def name(self) -> str:
        """For example "openvino-cpu"."""
        return f"openvino-{self._device.lower()}"

    @property
    def version(self) -> str | None:
        """OpenVINO's version where it sees the device, else None."""
        try:
            import openvino
        except ImportError:
            return None
        if self._device not in {found.partition(".")[0] for found in _core().available_devices}:
            return None
        return str(openvino.__version__).partition("-")[0]

    @property
    def install_hint(self) -> str:
        """The extra, and the driver where the device needs one."""
        return f"pip install 'hwnas[openvino]'{WHAT_DRIVES[self._device]}"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the device computes in; a CPU without float16 arithmetic would cast to and fro."""
        if self.version is None:
            return super().precisions
        return tuple(PRECISIONS[found] for found in sorted(self._capabilities()) if found in PRECISIONS)

    @property
    def properties(self) -> dict[str, Any]:
        """The name of the GPU or NPU; the CPU's is in every fingerprint."""
        if self._device == "CPU" or self.version is None:
            return {}
        return {self._device.lower(): str(_core().get_property(self._device, "FULL_DEVICE_NAME"))}

    def load(self, onnx_path: Path, *, num_threads: int) -> Session:
        """Loads `onnx_path`, or an .xml of OpenVINO's own, for one inference at a time, on `num_threads` threads of a CPU.

        Raises:
            MissingRuntimeError: OpenVINO is not installed, or does not see the device.
            DeviceError: it cannot load the model.
        """
        self.require()
        try:
            model = read_model(onnx_path)
            compiled = _core().compile_model(model, self._device, self._settings(model, num_threads))
            return OpenVinoSession(compiled)
        except Exception as error:  # its front ends raise classes of their own that share no public root
            raise DeviceError(
                f"Runtime {self.name}", f"must load {onnx_path}", came=f"it says: {refusal_reason(error)}"
            ) from error

    def _capabilities(self) -> set[str]:
        return set(_core().get_property(self._device, "OPTIMIZATION_CAPABILITIES"))

    def _settings(self, model: Any, num_threads: int) -> dict[str, Any]:
        capabilities = self._capabilities()
        half = "FP32" not in capabilities or ("FP16" in capabilities and _is_half(model))
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16" if half else "f32"}
        if self._device == "CPU":
            # whoever measures pins the process: OpenVINO's own pinning would choose other cores
            settings |= {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": num_threads, "ENABLE_CPU_PINNING": False}
        return settings


class OpenVinoSession(Session):
    """An openvino.InferRequest with input tensors that it holds for timing.

    Args:
        compiled: the openvino.CompiledModel.
    """

    def __init__(self, compiled: Any) -> None:
        import openvino

        self._tensor = openvino.Tensor
        self._request = compiled.create_infer_request()
        self._num_outputs = len(compiled.outputs)
        shapes = [
            [size.get_length() if size.is_static else 1 for size in port.partial_shape] for port in compiled.inputs
        ]
        types = [port.get_element_type().to_dtype() for port in compiled.inputs]
        self._types = types
        self._held = [self._tensor(array) for array in held_inputs(shapes, types)]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`."""
        arrays = [np.ascontiguousarray(array, kind) for array, kind in zip(inputs, self._types, strict=True)]
        self._set([self._tensor(array) for array in arrays])
        self._request.infer()
        return [np.array(self._request.get_output_tensor(index).data) for index in range(self._num_outputs)]

    def time_ms(self, runs: int) -> list[float]:
        """Wall-clock time of each synchronous inference, in ms, on tensors that are set already."""
        self._set(self._held)
        infer, clock = self._request.infer, time.perf_counter_ns
        samples = []
        for _ in range(runs):
            start = clock()
            infer()
            samples.append((clock() - start) / 1e6)
        return samples

    def _set(self, tensors: Sequence[Any]) -> None:
        for index, tensor in enumerate(tensors):
            self._request.set_input_tensor(index, tensor)


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def read_model(path: Path) -> Any:
    """The model, an .onnx or an .xml of OpenVINO's, read by its own front end alone: others would be tried, and complain."""
    from openvino.frontend import FrontEndManager

    reader = FrontEndManager().load_by_framework("ir" if path.suffix == ".xml" else "onnx")
    model = reader.convert(reader.load(str(path)))
    if not model.outputs:
        raise RuntimeError("the model has no outputs")
    return model


def _is_half(model: Any) -> bool:
    return any(port.get_element_type().get_type_name() == "f16" for node in model.get_ops() for port in node.outputs())


def refusal_reason(error: BaseException) -> str:
    """The operators that it refuses, or the last line, of a message that is mostly source lines of OpenVINO."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    listed = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return "; ".join(listed or lines[-1:]).rstrip(".") or type(error).__name__
