"""Precision as a property of the ONNX file: fp16 by conversion, int8 by Q/DQ nodes, the same on every runtime.

int8 is what ONNX Runtime's own static quantiser makes with its default choice of operators: Q/DQ nodes, int8 weights
with a scale for each output channel and no zero point (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018; per channel: Krishnamoorthi, arXiv:1806.08342). Its activations
come in two kinds, since no one kind is both quick on processors and accepted by TensorRT:

- uint8 with a zero point, the default: what ONNX Runtime advises on x86. A ReLU vanishes into the range of its tensor.
- `symmetric`, int8 without a zero point: TensorRT refuses any other, and int32 biases, so these stay float; and so do
  the outputs of convolutions and matrix products, whose activation it fuses.

Three MobileNetV3 networks at 3x160x160 on one thread of an AMD EPYC with VNNI, ONNX Runtime 1.31.1 | OpenVINO 2026.4.1,
in ms: fp32 3.15-4.14 | 3.26-4.43, uint8 2.41-3.69 | 1.82-2.67, symmetric 9.35-16.13 | 1.71-2.73; fp16 as fp32.
ONNX Runtime has no int8 kernels for HardSwish, HardSigmoid and ReduceMean: these run in float between DQ and Q nodes.

Quantise whole networks, after they are joined: the parts of a chain would have doubled Q/DQ pairs at their joints.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference

from hwnas.errors import ExportError, HwnasError, SettingsError, UnknownNameError
from hwnas.exporters.calibration import activation_ranges, inferred, quantized_kinds
from hwnas.exporters.quiet import quiet, root_reason

__all__ = ["PRECISIONS", "converting", "quantize", "to_precision"]

Array = npt.NDArray[Any]

PRECISIONS: Final = ("fp32", "fp16", "int8")
LINEAR: Final = ("QuantizeLinear", "DequantizeLinear")
IN_RANGES: Final = ("Clip", "Relu")
SYMMETRIC_OPTIONS: Final = {
    "ActivationSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv", "ConvTranspose", "Gemm", "MatMul"],
}


def to_precision(
    model: onnx.ModelProto,
    precision: str,
    *,
    symmetric: bool = False,
    calibration: Iterable[Array] | None = None,
    method: str = "minmax",
    exclude: Collection[str] = (),
) -> onnx.ModelProto:
    """The model in another precision; what comes in and goes out stays float32.

    The same arguments give the same bytes, and `model` is left as it is. What is after `precision` is for int8 alone.

    Args:
        model: a float32 model with one input, batch norm folded.
        precision: one of PRECISIONS; "fp32" gives the model itself.
        symmetric: int8 activations without a zero point, as TensorRT wants them, instead of uint8 ones.
        calibration: images to find the activations' ranges on, arrays of the input's shape (B, C, H, W). Without it
            one batch of standard normal noise: enough for latency, useless for accuracy.
        method: one of CALIBRATION_METHODS.
        exclude: names of nodes that stay float.

    Raises:
        UnknownNameError: no such precision, method or node.
        SettingsError: calibration images that are none, or not of the input's shape.
        ExportError: the model cannot be converted.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if precision == "fp32":
        return model
    with converting(model, precision):
        if precision == "fp16":
            return _to_fp16(model)
        ranges = activation_ranges(model, _batches(model, calibration), method)
        return quantize(model, ranges, symmetric=symmetric, exclude=exclude)


@contextlib.contextmanager
def converting(model: onnx.ModelProto, precision: str) -> Iterator[None]:
    """Makes an ExportError that names the model of whatever the libraries raise inside."""
    try:
        yield
    except HwnasError:
        raise
    except Exception as error:  # onnx, ONNX Runtime and its quantiser raise errors of every kind
        raise ExportError(
            f"Model {model.graph.name!r}", f"must convert to {precision}", came=f"it stopped with: {root_reason(error)}"
        ) from error


def _to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet():
        from onnxruntime.transformers.float16 import convert_float_to_float16

        converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    del converted.graph.value_info[:]
    _sort(converted)
    return converted


def quantize(
    model: onnx.ModelProto, ranges: Any, *, symmetric: bool = False, exclude: Collection[str] = ()
) -> onnx.ModelProto:
    """What onnxruntime.quantization.quantize_static makes, without its temporary files and in half its time.

    Most of its time goes into the weights, channel by channel in Python. Here they get their scales beforehand, and
    the quantiser leaves them as float weights with a pair of Q and DQ nodes, whose Q is then computed at once.

    Args:
        model: a float32 model, which is left as it is.
        ranges: of its activations, from `activation_ranges`.
        symmetric: see `to_precision`.
        exclude: names of nodes that stay float, and read float: the quantiser by itself rounds what comes into them, as
            the output of the node before.

    Raises:
        UnknownNameError: no such node.
    """
    known = [node.name for node in model.graph.node]
    for name in exclude:
        if name not in known:
            raise UnknownNameError("node", name, known, do=f"The model has {len(known)} nodes, from {known[0]!r} on")
    apart = _with_activations(model.graph, exclude)
    with quiet():
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        quantizer = QDQQuantizer(
            inferred(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=list(apart),
            op_types_to_quantize=quantized_kinds(),
            extra_options={
                "TensorQuantOverrides": _weight_scales(model.graph),
                "AddQDQPairToWeight": True,
                **(SYMMETRIC_OPTIONS if symmetric else {}),
            },
        )
        quantized: onnx.ModelProto = quantizer.quantize_model()
    _read_float(quantized.graph, apart)
    _fold_weights(quantized.graph)
    _sort(quantized)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    return quantized


def _with_activations(graph: onnx.GraphProto, exclude: Collection[str]) -> set[str]:
    """`exclude` and the activations in front of its nodes, which the quantiser would leave to the range of a tensor."""
    makers = {name: node for node in graph.node for name in node.output}
    read = {name for node in graph.node if node.name in exclude for name in node.input}
    return {*exclude, *(makers[name].name for name in read if name in makers and makers[name].op_type in IN_RANGES)}


def _read_float(graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Lets the nodes called `names` read what comes into Q nodes, and drops the pairs of Q and DQ that nobody reads."""
    if not names:
        return
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in graph.node:
        if node.name in names:
            node.input[:] = [rounded.get(before.get(name, ""), name) for name in node.input]
    for kind in reversed(LINEAR):  # first what nobody reads, then what only that has read
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        for node in [node for node in graph.node if node.op_type == kind and node.output[0] not in read]:
            graph.node.remove(node)


def _batches(model: onnx.ModelProto, calibration: Iterable[Array] | None) -> Iterator[Array]:
    """The calibration images, checked, or noise."""
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    if calibration is None:
        calibration = [np.random.default_rng(0).standard_normal([size or 1 for size in shape])]
    empty = True
    for x_BCHW in calibration:
        empty = False
        came = np.shape(x_BCHW)
        if len(came) != len(shape) or any(size not in (0, given) for size, given in zip(shape, came, strict=True)):
            wanted = "x".join(str(size or "any") for size in shape)
            raise SettingsError("calibration", f"must be arrays of {wanted}", came=f"{'x'.join(map(str, came))} came")
        yield np.ascontiguousarray(x_BCHW, dtype=np.float32)
    if empty:
        raise SettingsError("calibration", "must have at least one batch of images", came="none came")


def _weight_scales(graph: onnx.GraphProto) -> dict[str, list[dict[str, Any]]]:
    """For weights of convolutions and Gemms each output channel's scale, its greatest absolute value / 127."""
    axes = {}
    for node in graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = 0
        elif node.op_type == "Gemm":
            axes[node.input[1]] = int(not any(entry.name == "transB" and entry.i for entry in node.attribute))
    found = {}
    for tensor in graph.initializer:
        if tensor.name in axes:
            axis = axes[tensor.name]
            weight = onnx.numpy_helper.to_array(tensor)
            others = tuple(other for other in range(weight.ndim) if other != axis)
            scales = (np.abs(weight).max(axis=others).astype(np.float64) / 127).astype(np.float32)
            scales[scales < np.finfo(np.float32).tiny] = 1  # a channel of zeros
            found[tensor.name] = [{"axis": axis, "scale": scale, "zero_point": np.int8(0)} for scale in scales]
    return found


def _fold_weights(graph: onnx.GraphProto) -> None:
    """Computes each Q node that reads a weight, and drops the weights that are no longer read."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes, folded = [], {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in tensors:
            weight, scale, zero_point = (onnx.numpy_helper.to_array(tensors[name]) for name in node.input)
            if scale.ndim:
                axis = next(entry.i for entry in node.attribute if entry.name == "axis")
                along = [-1 if other == axis else 1 for other in range(weight.ndim)]
                scale, zero_point = scale.reshape(along), zero_point.reshape(along)
            limits = np.iinfo(zero_point.dtype)
            values = np.clip(np.round(weight / scale) + zero_point, limits.min, limits.max).astype(zero_point.dtype)
            name = f"{node.input[0]}_quantized"
            tensors[name] = onnx.numpy_helper.from_array(values, name)
            folded[node.output[0]] = name
        else:
            nodes.append(node)
    for node in nodes:
        node.input[:] = [folded.get(name, name) for name in node.input]
    read = {name for node in nodes for name in node.input}
    whole = onnx.GraphProto(name=graph.name, node=nodes, input=graph.input, output=graph.output)
    whole.initializer.extend(tensor for name, tensor in tensors.items() if name in read)
    graph.CopyFrom(whole)


def _sort(model: onnx.ModelProto) -> None:
    """Puts each node behind those that it reads from: the converters add nodes at the end."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    ONNXModel(model).topological_sort()
