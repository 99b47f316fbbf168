"""Runtimes: the libraries that run an .onnx file on a device, one file each."""

from functools import partial
from typing import Final

from hwnas.devices.runtimes.browser import OnnxRuntimeWeb
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime
from hwnas.devices.runtimes.runtime import Runtime, RuntimeFactory, Session
from hwnas.plugins import find_member

__all__ = ["RUNTIMES", "Runtime", "Session", "find_runtime"]

RUNTIMES: Final[dict[str, RuntimeFactory]] = {
    "onnxruntime-cpu": partial(OnnxRuntime, "CPU"),
    "onnxruntime-cuda": partial(OnnxRuntime, "CUDA"),
    "onnxruntime-tensorrt": partial(OnnxRuntime, "Tensorrt"),
    "onnxruntime-openvino": partial(OnnxRuntime, "OpenVINO"),
    "onnxruntime-coreml": partial(OnnxRuntime, "CoreML"),
    "onnxruntime-directml": partial(OnnxRuntime, "Dml"),
    "onnxruntime-web": OnnxRuntimeWeb,
}
"""The built-in runtimes by name. Plug-ins add theirs through the entry-point group "hwnas.runtimes"."""


def find_runtime(name: str, *, where: str = "") -> Runtime:
    """The runtime called `name`, installed or not. Raises UnknownNameError."""
    return find_member("runtime", name, RUNTIMES, group="hwnas.runtimes", where=where)()
