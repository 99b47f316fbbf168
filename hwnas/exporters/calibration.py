"""Which values activations take: the images that a quantiser is shown, and the ranges that it finds on them.

Ranges that are found on too few images, or on images of one class, are those of these images; the accuracy on others then
drops without a word. So the images are chosen here, evenly over the classes, and refused where they cannot do.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnx.shape_inference

from hwnas.errors import ExportError, SettingsError, UnknownNameError
from hwnas.exporters.inference import open_session
from hwnas.exporters.quiet import quiet

__all__ = ["CALIBRATION_METHODS", "activation_ranges", "choose_calibration", "inferred", "quantized_kinds"]

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

CALIBRATION_METHODS: Final = ("minmax", "percentile", "entropy")
"""Ways to find the ranges of activations, all ONNX Runtime's."""

HISTOGRAMS: Final[dict[str, dict[str, Any]]] = {
    "percentile": {"symmetric": True, "num_bins": 2048, "num_quantized_bins": 2048, "percentile": 99.999},
    "entropy": {"symmetric": False, "num_bins": 128, "num_quantized_bins": 128, "percentile": 99.999},
}
FEW_IMAGES: Final = 32


def choose_calibration(labels_N: Sequence[int] | Array, *, count: int = 128, seed: int = 0) -> npt.NDArray[np.int64]:
    """Which images to calibrate on: at most `count`, of all classes alike, as far as there are some.

    Args:
        labels_N: the class of each training image.
        count: how many to choose.
        seed: of the choice within a class.

    Returns:
        Positions in `labels_N`, the classes in turn.

    Raises:
        SettingsError: no images to choose from, or all of one class.
    """
    labels_N = np.asarray(labels_N)
    if count < 1 or not len(labels_N):
        raise SettingsError("calibration", "must have at least one image", came="none came")
    classes = np.unique(labels_N)
    if len(classes) == 1:
        raise SettingsError(
            "calibration",
            "must have images of at least 2 classes",
            came=f"all {len(labels_N)} are of class {classes[0]}",
            do="Calibrate on the images that the network was trained on",
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels_N))
    turns_N = np.empty(len(labels_N), np.int64)
    for one in classes:
        members = shuffled[labels_N[shuffled] == one]
        turns_N[members] = np.arange(len(members))
    chosen = shuffled[np.argsort(turns_N[shuffled], kind="stable")][:count]
    if len(chosen) < FEW_IMAGES:
        logger.warning("int8 is calibrated on %d images: fewer than %d seldom suffice", len(chosen), FEW_IMAGES)
    return chosen


def activation_ranges(model: onnx.ModelProto, batches: Iterable[Array], method: str) -> Any:
    """The range of each activation that quantised nodes read or write, as the quantiser's TensorsData.

    Args:
        model: a float32 model.
        batches: of images, as its input takes them.
        method: one of CALIBRATION_METHODS.

    Raises:
        UnknownNameError: no such method.
        ExportError: activations that are not finite.
    """
    if method not in CALIBRATION_METHODS:
        raise UnknownNameError("calibration method", method, CALIBRATION_METHODS)
    with quiet():
        return _ranges(inferred(model), quantized_kinds(), batches, method)


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the shapes of all tensors, marked so that the quantiser does not infer them again, by way of files."""
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    inferred = onnx.shape_inference.infer_shapes(model)
    add_infer_metadata(inferred)
    return inferred


def quantized_kinds() -> list[str]:
    """The operators that ONNX Runtime's quantiser quantises."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QLinearOpsRegistry, *QDQRegistry})


def _ranges(model: onnx.ModelProto, kinds: Collection[str], batches: Iterable[Array], method: str) -> Any:
    """The range of each activation that nodes of `kinds` read or write, as the quantiser's TensorsData."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, HistogramCollector, TensorsData

    ways = dict(zip(CALIBRATION_METHODS, ("MinMax", "Percentile", "Entropy"), strict=True))
    collector = Extremes() if method == "minmax" else HistogramCollector(method, scenario="same", **HISTOGRAMS[method])
    exposed = _activations(model.graph, kinds)
    if not exposed:
        return TensorsData(CalibrationMethod.MinMax, {})
    session = _session(model, exposed.values())
    for batch in batches:
        values = session.run(list(exposed), {model.graph.input[0].name: batch})
        for name, value in zip(exposed, values, strict=True):
            if not np.isfinite(value).all():
                raise ExportError(f"Tensor {name!r}", "must be finite on all calibration images", came="it is not")
        collector.collect(dict(zip(exposed, values, strict=True)))
    return TensorsData(CalibrationMethod[ways[method]], collector.compute_collection_result())


class Extremes:
    """The least and greatest value of each tensor; has the methods of ONNX Runtime's HistogramCollector."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Array, Array]] = {}

    def collect(self, values: Mapping[str, Array]) -> None:
        """Takes in one batch."""
        for name, value in values.items():
            low, high = self._found.get(name, (value, value))
            self._found[name] = np.minimum(low.min(), value.min()), np.maximum(high.max(), value.max())

    def compute_collection_result(self) -> dict[str, tuple[Array, Array]]:
        """(least, greatest) of each tensor."""
        return self._found


def _activations(graph: onnx.GraphProto, kinds: Collection[str]) -> dict[str, onnx.ValueInfoProto]:
    """The float tensors that nodes of `kinds` read or write, weights left out."""
    weights = {tensor.name for tensor in graph.initializer}
    known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
    nodes = (node for node in graph.node if node.op_type in kinds)
    found = {name: known[name] for node in nodes for name in (*node.input, *node.output) if name in known}
    floats = onnx.TensorProto.FLOAT
    return {
        name: value
        for name, value in found.items()
        if name not in weights and value.type.tensor_type.elem_type == floats
    }


def _session(model: onnx.ModelProto, outputs: Iterable[onnx.ValueInfoProto]) -> Any:
    """The model as it is, with these outputs, on one thread: the same numbers each time."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(outputs)
    return open_session(exposed, as_is=True)
