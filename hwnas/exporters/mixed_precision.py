"""int8 within a bound on the drop of accuracy: the layers that cost most of it stay float, as few as need be.

Some layers bear int8 badly, depthwise convolutions and the first and last layers above all (Sheng et al., "A
Quantization-Friendly Separable Convolution for MobileNets", EMC2 2018), and which ones is a matter of the weights. A layer
is judged by the signal-to-noise ratio of its output where it alone is quantised; one pass over the calibration images
tells that of all layers. The order is a guess, so what comes out is always evaluated.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper

from hwnas.errors import ExportError, SettingsError
from hwnas.exporters.calibration import CALIBRATION_METHODS, activation_ranges
from hwnas.exporters.inference import batches_for, open_session
from hwnas.exporters.precision import LINEAR, converting, quantize

__all__ = ["Quantized", "quantize_within", "signal_to_noise_db"]

Array = npt.NDArray[Any]

MOST_RETRIED: Final = 16
"""Times that some of the layers kept float are tried in int8 again: each time quantises and evaluates anew."""
WEIGHTED: Final = ("Conv", "Gemm", "MatMul")
ROUNDING: Final = 1e-9
TINY: Final = 1e-30


@dataclass(frozen=True)
class Quantized:
    """An int8 model, and what int8 has cost.

    Attributes:
        model: the model.
        method: the calibration method of its ranges.
        kept_float: names of the nodes that stay float.
        float_score: what `evaluate` gave for the float model.
        int8_score: for the model with every layer in int8.
        score: for `model`.
    """

    model: onnx.ModelProto
    method: str
    kept_float: tuple[str, ...]
    float_score: float
    int8_score: float
    score: float

    @property
    def drop(self) -> float:
        """How much lower than the float model `model` scores; below 0 where it scores higher."""
        return self.float_score - self.score

    @property
    def drop_before(self) -> float:
        """The same with every layer in int8."""
        return self.float_score - self.int8_score


def quantize_within(
    model: onnx.ModelProto,
    *,
    calibration: Array,
    evaluate: Callable[[onnx.ModelProto], float],
    max_drop: float | None = None,
    symmetric: bool = False,
    methods: Sequence[str] = CALIBRATION_METHODS,
) -> Quantized:
    """Quantises a model so that it scores at most `max_drop` less than in float.

    Of the calibration methods the one that scores best is taken, the first where several do; once one scores no less than
    float, the others are not tried.

    Args:
        model: a float32 model with one input, batch norm folded; it is left as it is.
        calibration: images of the training part, (N, C, H, W), see `choose_calibration`.
        evaluate: the score of a model, the higher the better, such as the accuracy on validation images by `run_onnx`.
        max_drop: the bound, in what `evaluate` gives; None: whatever it may be.
        symmetric: see `to_precision`.
        methods: the calibration methods to try, of CALIBRATION_METHODS.

    Raises:
        SettingsError: a bound below 0; no methods; images that are none, or not of the input's shape.
        UnknownNameError: no such method.
        ExportError: the model cannot be quantised, or int8 costs more than `max_drop` though all layers but the one that
            bears it best stay float.
    """
    if max_drop is not None and not max_drop >= 0:
        raise SettingsError("max_drop", "must be at least 0", came=f"{max_drop} came")
    if not methods:
        raise SettingsError("methods", f"must be some of {', '.join(CALIBRATION_METHODS)}", came="none came")
    float_score = evaluate(model)
    with converting(model, "int8"):
        method, ranges, everywhere, int8_score = _best_method(
            model, calibration, evaluate, symmetric=symmetric, methods=methods, enough=float_score
        )
        if max_drop is None or int8_score >= float_score - max_drop - ROUNDING:
            return Quantized(everywhere, method, (), float_score, int8_score, int8_score)
        ratios = signal_to_noise_db(model, everywhere, calibration)

        def attempt(kept: Collection[str]) -> Trial:
            found = quantize(model, ranges, symmetric=symmetric, exclude=kept)
            return tuple(kept), found, evaluate(found)

        suspects = sorted(ratios, key=ratios.__getitem__)
        spared = next((name for name in reversed(suspects) if name in _weighted(model.graph)), None)
        others = [name for name in suspects if name != spared]
        trial = None if spared is None else _fewest(attempt, others, enough=float_score - max_drop - ROUNDING)
    if trial is None:
        raise ExportError(
            f"Model {model.graph.name!r}",
            f"must score at most {max_drop:g} lower in int8 than in float",
            came=f"it scores {float_score - int8_score:.3g} lower, and too low with no layer but {spared} in int8",
            do="Allow a larger drop, or leave int8 out",
        )
    kept, found, score = trial
    return Quantized(found, method, kept, float_score, int8_score, score)


def signal_to_noise_db(model: onnx.ModelProto, quantized: onnx.ModelProto, images_NCHW: Array) -> dict[str, float]:
    """How well each layer bears int8: the signal-to-noise ratio of its output where it alone is quantised, in dB.

    Args:
        model: in float32.
        quantized: the same in int8, with Q and DQ nodes.
        images_NCHW: to find it on.

    Returns:
        By the names of the nodes that `quantized` has in int8; infinite where there is no noise.

    Raises:
        SettingsError: images that are none, or not of the input's shape.
    """
    beside, names = _layers_beside(model, quantized)
    if not names:
        return {}
    session = open_session(beside)
    outputs = [f"{name}/{kind}" for name in names for kind in ("signal", "noise")]
    energy = np.zeros(len(outputs))
    for x_BCHW in batches_for(model, images_NCHW):
        energy += np.array(session.run(outputs, {model.graph.input[0].name: x_BCHW}), np.float64)
    pairs = zip(names, energy.reshape(-1, 2), strict=True)
    return {name: 10 * math.log10(max(signal, TINY) / noise) if noise else math.inf for name, (signal, noise) in pairs}


Trial = tuple[tuple[str, ...], onnx.ModelProto, float]
"""The nodes kept float, the model, and its score."""


def _best_method(
    model: onnx.ModelProto,
    calibration: Array,
    evaluate: Callable[[onnx.ModelProto], float],
    *,
    symmetric: bool,
    methods: Sequence[str],
    enough: float,
) -> tuple[str, Any, onnx.ModelProto, float]:
    """The method that scores best, its ranges, the model and the score; methods behind one that scores `enough` are not
    tried.
    """
    tried = []
    for method in methods:
        ranges = activation_ranges(model, batches_for(model, calibration), method)
        quantized = quantize(model, ranges, symmetric=symmetric)
        tried.append((method, ranges, quantized, evaluate(quantized)))
        if tried[-1][-1] >= enough:
            break
    return max(tried, key=lambda one: one[-1])


def _fewest(attempt: Callable[[Collection[str]], Trial], suspects: Sequence[str], *, enough: float) -> Trial | None:
    """The first trial that scores `enough` with the fewest of `suspects`, which begin with the likeliest, kept float; None
    where all do not suffice.

    How many is found by doubling and halving, since the likeliest come first; then parts of them, half as large each time,
    are tried in int8 again (Zeller & Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", TSE 2002).
    """
    low, high, most = 0, 1, len(suspects)
    best = attempt(suspects)
    if best[-1] < enough:
        return None
    while high < most:
        found = attempt(suspects[:high])
        if found[-1] >= enough:
            best = found
            break
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        found = attempt(suspects[:middle])
        if found[-1] >= enough:
            best, high = found, middle
        else:
            low = middle
    size, trials = math.ceil(len(best[0]) / 2), 0
    while size and len(best[0]) > 1:
        for start in reversed(range(0, len(best[0]), size)):
            without = [*best[0][:start], *best[0][start + size :]]
            if without and trials < MOST_RETRIED:
                trials += 1
                found = attempt(without)
                best = found if found[-1] >= enough else best
        size = size // 2 if trials < MOST_RETRIED else 0
    return best


def _weighted(graph: onnx.GraphProto) -> set[str]:
    """The nodes that read weights: without one of them in int8 a model is none in int8."""
    stored = {tensor.name for tensor in graph.initializer}
    return {node.name for node in graph.node if node.op_type in WEIGHTED and stored.intersection(node.input)}


def _layers_beside(model: onnx.ModelProto, quantized: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The float model with each layer that `quantized` has in int8 beside its own, on the same float inputs, and the names
    of these layers. Its outputs are, of each layer, the energies "<name>/signal" and "<name>/noise".
    """
    makers = {name: node for node in quantized.graph.node for name in node.output}
    own = {node.name: node for node in model.graph.node}
    layers = [
        node
        for node in quantized.graph.node
        if node.name in own and any(name in makers and makers[name].op_type in LINEAR for name in node.input)
    ]
    read = {name for layer in layers for name in layer.input}
    pairs: list[onnx.NodeProto] = []
    for node in reversed(quantized.graph.node):
        if node.op_type in LINEAR and node.output[0] in read:
            pairs.insert(0, _copied(node))
            read.update(node.input)
    beside = []
    for layer in layers:
        alone, output = _copied(layer), own[layer.name].output[0]
        alone.name = f"{layer.name}/int8"
        alone.output[:] = [f"{alone.name}:{index}" for index in range(len(layer.output))]
        difference = onnx.helper.make_node("Sub", [alone.output[0], output], [f"{layer.name}/difference"])
        signal, noise = _energy(output, f"{layer.name}/signal"), _energy(difference.output[0], f"{layer.name}/noise")
        beside += [alone, difference, signal, noise]
    taken = {tensor.name for tensor in model.graph.initializer}
    again = {name: f"{name}/int8" for pair in pairs for name in pair.output if name in taken}  # biases keep their names
    for node in (*pairs, *beside):
        node.input[:] = [again.get(name, name) for name in node.input]
        node.output[:] = [again.get(name, name) for name in node.output]
    stored = {tensor.name: tensor for graph in (model.graph, quantized.graph) for tensor in graph.initializer}
    scalars = [
        onnx.helper.make_tensor_value_info(f"{layer.name}/{kind}", onnx.TensorProto.FLOAT, [])
        for layer in layers
        for kind in ("signal", "noise")
    ]
    nodes = [*model.graph.node, *pairs, *beside]
    graph = onnx.helper.make_graph(nodes, "beside", model.graph.input, scalars, list(stored.values()))
    whole = onnx.helper.make_model(graph, opset_imports=quantized.opset_import, ir_version=quantized.ir_version)
    return whole, [layer.name for layer in layers]


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _energy(name: str, output: str) -> onnx.NodeProto:
    return onnx.helper.make_node("ReduceSumSquare", [name], [output], keepdims=0)
