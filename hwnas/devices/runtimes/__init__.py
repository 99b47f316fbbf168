"""Runtimes: the libraries that run an .onnx file on a device, one file each."""

from functools import partial
from typing import Final

from hwnas.devices.runtimes.browser import OnnxRuntimeWeb
from hwnas.devices.runtimes.ncnn import Ncnn
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime, providers_of_build
from hwnas.devices.runtimes.openvino import OpenVino
from hwnas.devices.runtimes.runtime import Runtime, RuntimeFactory, Session
from hwnas.devices.runtimes.tensorrt import TensorRt
from hwnas.plugins import find_member

__all__ = ["RUNTIMES", "Runtime", "Session", "find_runtime"]

RUNTIMES: Final[dict[str, RuntimeFactory]] = {
    "onnxruntime-cpu": partial(OnnxRuntime, "CPU"),
    "onnxruntime-cuda": partial(OnnxRuntime, "CUDA"),
    "onnxruntime-tensorrt": partial(OnnxRuntime, "Tensorrt"),
    "onnxruntime-openvino": partial(OnnxRuntime, "OpenVINO"),
    "onnxruntime-coreml": partial(OnnxRuntime, "CoreML"),
    "onnxruntime-directml": partial(OnnxRuntime, "Dml"),
    "onnxruntime-qnn": partial(OnnxRuntime, "QNN"),
    "onnxruntime-migraphx": partial(OnnxRuntime, "MIGraphX"),
    "onnxruntime-xnnpack": partial(OnnxRuntime, "Xnnpack"),
    "onnxruntime-acl": partial(OnnxRuntime, "ACL"),
    "onnxruntime-dnnl": partial(OnnxRuntime, "Dnnl"),
    "openvino-cpu": partial(OpenVino, "CPU"),
    "openvino-gpu": partial(OpenVino, "GPU"),
    "openvino-npu": partial(OpenVino, "NPU"),
    "tensorrt": partial(TensorRt, "tensorrt"),
    "tensorrt-rtx": partial(TensorRt, "tensorrt_rtx"),
    "ncnn-cpu": Ncnn,
    "onnxruntime-web": OnnxRuntimeWeb,
}
"""The built-in runtimes by name. Plug-ins add theirs through the entry-point group "hwnas.runtimes"."""


def find_runtime(name: str, *, where: str = "") -> Runtime:
    """The runtime called `name`, installed or not: of RUNTIMES, of the build of ONNX Runtime, or a plug-in.

    Raises:
        UnknownNameError: there is none of that name.
    """
    known = RUNTIMES
    if name not in known and name.startswith("onnxruntime-"):
        known = {**providers_of_build(), **RUNTIMES}
    return find_member("runtime", name, known, group="hwnas.runtimes", where=where)()
