"""Plain convolutional networks whose neighbours are network morphisms of each other (LEMONADE, Elsken et al., ICLR 2019).

Three stages of elastic depth and width; in each block a dense or depthwise-separable convolution, with or without a
shortcut; about 10^10 encodings. Every step to a larger network keeps the function, and every step to a smaller one
comes near it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import (
    ConvBlock,
    ConvBNAct,
    ElasticConvBlock,
    ElasticConvBNAct,
    ElasticLinearClassifier,
    LinearClassifier,
)
from hwnas.layers.conv_block import CONVOLUTIONS
from hwnas.spaces.architecture import Architecture, Operator
from hwnas.spaces.chain import Chain, ChainSpace, Slot
from hwnas.spaces.decisions import Decision, Decisions, ascending, elastic_layer, option_value
from hwnas.spaces.scaling import Shape, kept_strides, round_channels, strided

__all__ = ["ConvNet"]

Sides = tuple[int, int]

WIDTH_MULTS: Final = (0.25, 0.5, 0.75, 1.0)
STEM_CHANNELS: Final = 16
STAGE_CHANNELS: Final = (32, 64, 128)
STRIDES: Final = (1, 1, 2, 2)
"""Of the stem and the stages."""
DEPTHS: Final = (1, 2, 3, 4)
SHORTCUTS: Final = (0, 1)
ELASTIC: Final = {
    "conv_bn_act": ElasticConvBNAct,
    "conv_block": ElasticConvBlock,
    "linear_classifier": ElasticLinearClassifier,
}


class ConvNet(ChainSpace):
    """Plain convolutional networks, for images of any size: a stem, three stages of 1 to 4 convolutions of 3x3, each stage
    with a width and each convolution dense or depthwise-separable, all but the first of a stage with or without a shortcut
    whose scale is learnt; about 10^10 architectures. Option: width_mult (0.25, 0.5, 0.75, 1.0), a number or several, which
    are then searched for each stage.

    Small images keep their resolution: the earliest strides of 2 are dropped until the last stage gives at least 3 pixels
    a side, so 32 pixels end at 8, and 8 at 4.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        width_mult: factors on the channels of each stage (rounded to multiples of 8).

    Raises:
        SettingsError: an argument out of range, or widths that are one after rounding.
    """

    name: ClassVar = "convnet"
    layers: ClassVar = {"conv_bn_act": ConvBNAct, "conv_block": ConvBlock, "linear_classifier": LinearClassifier}

    def __init__(
        self,
        input_shape: Shape = (3, 32, 32),
        num_classes: int = 10,
        *,
        width_mult: float | Sequence[float] = WIDTH_MULTS,
    ) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes
        self._widths = tuple(map(float, ascending("width_mult of convnet", width_mult, low=0.05, high=16)))
        for channels in STAGE_CHANNELS:
            widths = [round_channels(channels * width) for width in self._widths]
            if len(set(widths)) < len(widths):
                raise SettingsError(
                    "width_mult of convnet",
                    f"must give different multiples of 8 of {channels} channels",
                    came=f"{', '.join(f'{one:g}' for one in self._widths)} give {', '.join(map(str, widths))}",
                )

    @property
    def options(self) -> Mapping[str, float | Sequence[float]]:
        """width_mult; several values are a list."""
        return {"width_mult": option_value(self._widths)}

    def keeps_function(self, parent: Architecture, child: Architecture) -> bool:
        """Where nothing is smaller."""
        return all(now >= before for before, now in zip(parent.choices, child.choices, strict=True))

    def describe(self, architecture: Architecture) -> str:
        """The channels of each stage and its blocks: s separable, d dense, + with a shortcut."""
        stages = []
        values = {
            variable.name: variable.options[choice]
            for variable, choice in zip(self.variables, architecture.choices, strict=True)
        }
        for number in range(1, len(STAGE_CHANNELS) + 1):
            width = values.get(f"stage{number}.width_mult", self._widths[0])
            blocks = [
                f"{str(values[f'stage{number}.block{block}.convolution'])[0]}"
                f"{'+' if values.get(f'stage{number}.block{block}.shortcut') else ''}"
                for block in range(1, int(values[f"stage{number}.depth"]) + 1)
            ]
            stages.append(" ".join([f"w{width}", *blocks]))
        return " | ".join(stages)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """One elastic block a slot, channels sharing their first ones."""
        return elastic_layer(slot, self.build_operator, elastic=ELASTIC)

    @cached_property
    def chain(self) -> Chain:
        """The slots, in order."""
        decisions = Decisions()
        stem_stride, *strides = kept_strides(STRIDES, min(self.input_shape[1:]))
        slots = [decisions.slot(partial(_stem, self.input_shape, stem_stride))]
        sides = _after(self.input_shape[1:], stem_stride)
        width = Decision((STEM_CHANNELS,))
        for number, (channels, stride) in enumerate(zip(STAGE_CHANNELS, strides, strict=True), start=1):
            widths = [round_channels(channels * one) for one in self._widths]
            chosen = decisions.among(f"stage{number}.width_mult", self._widths)
            before, width = width, Decision(tuple(widths), chosen.variables)
            slots += _stage(decisions, number, sides, stride, before, width)
            sides = _after(sides, stride)
        slots.append(decisions.slot(partial(_classifier, sides, self.num_classes), width))
        return Chain(decisions.variables, slots)


def _stage(
    decisions: Decisions, number: int, sides: Sides, stride: int, width_in: Decision, width: Decision
) -> list[Slot]:
    """The slots of a stage; its first block, which always runs, changes width and resolution and has no shortcut."""
    depth = decisions.among(f"stage{number}.depth", DEPTHS)
    slots = []
    for block in range(max(DEPTHS)):
        convolution = decisions.among(f"stage{number}.block{block + 1}.convolution", tuple(CONVOLUTIONS))
        if block == 0:
            slots.append(decisions.slot(partial(_first_block, sides, stride), width_in, width, convolution))
            continue
        shortcut = decisions.among(f"stage{number}.block{block + 1}.shortcut", SHORTCUTS)
        make = partial(_block, _after(sides, stride))
        slots.append(
            decisions.slot(make, width, convolution, shortcut, depth=depth, min_depth_choice=DEPTHS.index(block + 1))
        )
    return slots


def _stem(shape: Shape, stride: int) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": STEM_CHANNELS,
        "kernel_size": 3,
        "stride": stride,
        "activation": "relu",
    }
    return Operator("conv_bn_act", shape, attributes)


def _first_block(sides: Sides, stride: int, in_channels: int, out_channels: int, convolution: str) -> Operator:
    return _conv_block((in_channels, *sides), out_channels, convolution, stride=stride, shortcut=0)


def _block(sides: Sides, channels: int, convolution: str, shortcut: int) -> Operator:
    return _conv_block((channels, *sides), channels, convolution, stride=1, shortcut=shortcut)


def _conv_block(shape: Shape, out_channels: int, convolution: str, *, stride: int, shortcut: int) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": out_channels,
        "convolution": convolution,
        "stride": stride,
        "shortcut": shortcut,
    }
    return Operator("conv_block", shape, attributes)


def _classifier(sides: Sides, num_classes: int, channels: int) -> Operator:
    return Operator("linear_classifier", (channels, *sides), {"num_classes": num_classes})


def _after(sides: Sides, stride: int) -> Sides:
    return strided(sides[0], stride), strided(sides[1], stride)
