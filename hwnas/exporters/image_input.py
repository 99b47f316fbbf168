"""A classifier with its preprocessing inside: bytes of an image in, probabilities out.

What a program does to an image before the network sees it is where deployed models most often go wrong: another order of
channels, another scale, another resize. In here it is a part of the file.

The resize is not ONNX's Resize, whose antialiasing not every runtime has and which cannot crop between pixels, but two
products with matrices of filter weights, as Pillow and torchvision compute it: antialiased, the rows first, rounded to bytes
after either. An image of the network's own size passes through untouched, so it gives exactly what the float input gives.
Of random bytes at 5 to 500 pixels a side, resized to 8 to 40, none is more than one level away from torchvision's (0.29.2,
antialias), and from Pillow's (13.0.0) where both sides shrink; from 100 pixels up at most 1 in 100 is away at all, of the
smallest images at most 7 in 100 (ONNX Runtime 1.31.1, 48 pairs of sizes). ONNX's Resize was up to 17 levels away.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
import onnx.numpy_helper

from hwnas.errors import ExportError, SettingsError

__all__ = ["with_image_input"]

IMAGE: Final = "image"
PROBABILITIES: Final = "probabilities"
FLOAT: Final = onnx.TensorProto.FLOAT
INT64: Final = onnx.TensorProto.INT64
RESIZES: Final = ("crop", "stretch")
INTERPOLATIONS: Final = ("bicubic", "bilinear")


def with_image_input(
    model: onnx.ModelProto,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    resize: Literal["crop", "stretch"] = "crop",
    interpolation: Literal["bicubic", "bilinear"] = "bicubic",
) -> onnx.ModelProto:
    """The model as "image" (B, H, W, C), uint8, of any height and width -> "probabilities" (B, num_classes).

    Its defaults are what `load_data` does to a folder of images, PIL.ImageOps.fit. All of the image is multiplied: hand over
    a large photograph at a size that its decoder can give, as JPEG's can.

    Args:
        model: (B, C, H, W), float32 -> logits (B, num_classes), of any precision, of a static or dynamic batch; it is left
            as it is.
        mean, std: of each channel, on the scale from 0 to 1.
        resize: "crop" fits the shorter side and cuts the longer off at both ends; "stretch" keeps all of the image, out of
            proportion.
        interpolation: the filter, either with antialiasing.

    Raises:
        SettingsError: mean or std are not one number for each channel, or an option that does not exist.
        ExportError: a model that takes something else than images of one size.
    """
    channels, height, width = _image_shape(model.graph)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            must = f"must have one value for each of {channels} channels"
            raise SettingsError(name, must, came=f"{len(values)} came")
    for name, value, known in (("resize", resize, RESIZES), ("interpolation", interpolation, INTERPOLATIONS)):
        if value not in known:
            raise SettingsError(name, f"must be one of {', '.join(known)}", came=f"{value!r} came")
    steps = _Steps("preprocessing")
    pixels_BCHW = steps.add("Transpose", steps.add("Cast", IMAGE, to=FLOAT), perm=[0, 3, 1, 2])
    sides = [steps.add("Cast", steps.add("Shape", IMAGE, start=axis, end=axis + 1), to=FLOAT) for axis in (1, 2)]
    windows = _windows(steps, sides, (height, width)) if resize == "crop" else sides
    rows, columns = (
        _filter(steps, side, window, size, interpolation)
        for side, window, size in zip(sides, windows, (height, width), strict=True)
    )
    narrowed = _bytes(steps, steps.add("MatMul", pixels_BCHW, steps.add("Transpose", columns, perm=[1, 0])))
    resized = _bytes(steps, steps.add("MatMul", rows, narrowed))
    scaled = steps.add("Div", resized, steps.constant(255.0))
    centred = steps.add("Sub", scaled, steps.constant(np.reshape(mean, (-1, 1, 1))))
    steps.add("Div", centred, steps.constant(np.reshape(std, (-1, 1, 1))))
    return _joined(model, steps)


class _Steps:
    """Nodes and constants that are added one after the other, and named after what they are a part of."""

    def __init__(self, part: str) -> None:
        self._part = part
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, whose name it returns."""
        name = f"{self._part}/{kind}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, value: npt.ArrayLike, kind: npt.DTypeLike = np.float32) -> str:
        """A constant, by its name."""
        name = f"{self._part}/constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value, kind), name))
        return name


def _windows(steps: _Steps, sides: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """How many pixels of each side are kept, so that they are in the proportion of `sizes`; fractions too."""
    ratios = [steps.add("Div", side, steps.constant(size)) for side, size in zip(sides, sizes, strict=True)]
    ratio = steps.add("Min", *ratios)
    return [steps.add("Mul", ratio, steps.constant(size)) for size in sizes]


def _filter(steps: _Steps, side: str, window: str, size: int, interpolation: str) -> str:
    """The weights (size, side) by which the pixels inside the window at the centre make `size` of them.

    A filter as wide as the pixels that come, or as those that go where these are wider; at the edges of the image it is
    cut off, and its weights always sum to 1.
    """
    scale = steps.add("Div", window, steps.constant(size))
    start = steps.add("Mul", steps.add("Sub", side, window), steps.constant(0.5))
    centres = steps.add("Add", steps.add("Mul", scale, steps.constant(np.arange(size)[:, None] + 0.5)), start)
    # whole numbers: where the side is fixed, shape inference takes it for one, cast or not
    end = steps.add("Squeeze", steps.add("Cast", side, to=INT64))
    places = steps.add("Range", steps.constant(0, np.int64), end, steps.constant(1, np.int64))
    pixels = steps.add("Add", steps.add("Cast", places, to=FLOAT), steps.constant(0.5))
    width = steps.add("Max", scale, steps.constant(1.0))
    distance = steps.add("Abs", steps.add("Div", steps.add("Sub", pixels, centres), width))
    weights = _bicubic(steps, distance) if interpolation == "bicubic" else _bilinear(steps, distance)
    return steps.add("Div", weights, steps.add("ReduceSum", weights, steps.constant([1], np.int64)))


def _bilinear(steps: _Steps, distance: str) -> str:
    return steps.add("Relu", steps.add("Sub", steps.constant(1.0), distance))


def _bicubic(steps: _Steps, distance: str) -> str:
    """Keys' kernel with a = -0.5 ("Cubic convolution interpolation for digital image processing", IEEE ASSP 1981)."""
    near = _polynomial(steps, distance, (1.5, -2.5, 0.0, 1.0))
    far = _polynomial(steps, distance, (-0.5, 2.5, -4.0, 2.0))
    beyond = steps.add("Where", steps.add("Less", distance, steps.constant(2.0)), far, steps.constant(0.0))
    return steps.add("Where", steps.add("Less", distance, steps.constant(1.0)), near, beyond)


def _polynomial(steps: _Steps, x: str, coefficients: Sequence[float]) -> str:
    """By Horner's rule, the highest power first."""
    value = steps.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = steps.add("Add", steps.add("Mul", value, x), steps.constant(coefficient))
    return value


def _bytes(steps: _Steps, values: str) -> str:
    """Rounded as Pillow does, halves upwards, and from 0 to 255."""
    rounded = steps.add("Floor", steps.add("Add", values, steps.constant(0.5)))
    return steps.add("Clip", rounded, steps.constant(0.0), steps.constant(255.0))


def _image_shape(graph: onnx.GraphProto) -> tuple[int, int, int]:
    """(C, H, W) of the images that the model takes."""
    sizes = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim] if len(graph.input) == 1 else []
    kind = graph.input[0].type.tensor_type.elem_type if sizes else None
    if len(sizes) != 4 or min(sizes[1:]) < 1 or kind != FLOAT:
        raise ExportError(
            f"Model {graph.name!r}",
            "must have one input of float32 images (B, C, H, W), whose size is known",
            came=f"its inputs are {', '.join(value.name for value in graph.input)} of {'x'.join(map(str, sizes)) or '?'}",
        )
    channels, height, width = sizes[1:]
    return channels, height, width


def _joined(model: onnx.ModelProto, steps: _Steps) -> onnx.ModelProto:
    """The model behind `steps`, and a softmax behind it."""
    [given], [logits] = model.graph.input, model.graph.output
    steps.nodes[-1].output[0] = given.name
    softmax = onnx.helper.make_node("Softmax", [logits.name], [PROBABILITIES], "Softmax", axis=-1)
    batch, channels = (given.type.tensor_type.shape.dim[axis] for axis in (0, 1))
    sizes = [batch.dim_param or batch.dim_value, "height", "width", channels.dim_value]
    image = onnx.helper.make_tensor_value_info(IMAGE, onnx.TensorProto.UINT8, sizes)
    probabilities = onnx.ValueInfoProto()
    probabilities.CopyFrom(logits)
    probabilities.name = PROBABILITIES
    whole = onnx.helper.make_graph(
        [*steps.nodes, *model.graph.node, softmax],
        model.graph.name,
        [image],
        [probabilities],
        [*steps.constants, *model.graph.initializer],
    )
    found = onnx.ModelProto()
    found.CopyFrom(model)
    found.graph.CopyFrom(whole)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    layout = f"uint8 {sizes[0]} x height x width x {sizes[3]}, as it was decoded"
    described = {"input": layout, "input_layout": "NHWC", "output": PROBABILITIES}
    onnx.helper.set_model_props(found, {**metadata, **described})
    return found
