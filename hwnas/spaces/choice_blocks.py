"""Chains of choice blocks: a stem, stages of blocks each of which is one of several layers, and a head.

What nas_bench_macro and fbnet have in common: their networks differ in the blocks alone, each option has weights of its
own, and the option that does nothing is left out of the network wherever shapes allow it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from hwnas.errors import SpaceError
from hwnas.layers import Choice, Fixed
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, Slot
from hwnas.spaces.scaling import Shape, kept_strides, strided
from hwnas.spaces.search_space import SearchSpace

__all__ = [
    "MacroArchitecture",
    "Stage",
    "choice_chain",
    "choice_layer",
    "describe_blocks",
    "skip_operator",
]


@dataclass(frozen=True)
class Stage:
    """One stage: its channels, the number of its choice blocks, and the stride of the first of them."""

    channels: int
    blocks: int
    stride: int


@dataclass(frozen=True)
class MacroArchitecture:
    """What all networks of a space have in common (FBNet's term).

    Attributes:
        stem_channels: of the 3x3 convolution that takes the image.
        stem_stride: of the same.
        stages: in order.
        last_channels: of the 1x1 convolution before the global average.
    """

    stem_channels: int
    stem_stride: int
    stages: tuple[Stage, ...]
    last_channels: int


def choice_chain(
    macro: MacroArchitecture,
    input_shape: Shape,
    num_classes: int,
    *,
    options: Sequence[str],
    block: Callable[[str, Shape, int, int], Operator | None],
) -> Chain:
    """The chain of a stem ("conv_bn_act"), all blocks and a head ("pooled_classifier").

    The variables are "stage1.block1" and so on, one a block; see `kept_strides` for small images.

    Args:
        macro: the stem, stages and head.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        options: names of the options of a block, from small to large.
        block: the operator of an option for an input shape (C, H, W), channels out and a stride.
    """
    stem_stride, *strides = kept_strides(
        [macro.stem_stride, *(stage.stride for stage in macro.stages)], min(input_shape[1:])
    )
    variables: list[Variable] = []
    slots = [Slot((_conv(input_shape, macro.stem_channels, kernel_size=3, stride=stem_stride, activation="relu"),))]
    shape = _shape_after(input_shape, macro.stem_channels, stem_stride)
    for number, (stage, first_stride) in enumerate(zip(macro.stages, strides, strict=True), start=1):
        for index in range(stage.blocks):
            stride = first_stride if index == 0 else 1
            operators = tuple(block(option, shape, stage.channels, stride) for option in options)
            slots.append(Slot(operators, (len(variables),)))
            variables.append(Variable(f"stage{number}.block{index + 1}", tuple(options)))
            shape = _shape_after(shape, stage.channels, stride)
    head = Operator("pooled_classifier", shape, {"num_classes": num_classes, "last_channels": macro.last_channels})
    return Chain(variables, [*slots, Slot((head,))])


def choice_layer(space: SearchSpace, slot: Slot) -> nn.Module:
    """The layer of a slot in a supernet of `space`: every option with weights of its own.

    Raises SpaceError where two operators have the same attributes.
    """
    for first, second in itertools.combinations(slot.present, 2):
        if first.attributes == second.attributes:
            names = " and ".join(space.variables[index].name for index in slot.variables)
            raise SpaceError(
                f"The space {space.name} at {names}",
                "must have operators that differ in their attributes, by which their layer tells them apart",
                came=f"{first} and {second} have the same",
                do="Make both one kind of operator, with an attribute that says which",
            )
    options = [(operator.attributes, space.build_operator(operator)) for operator in slot.present]
    return Choice(options) if slot.variables else Fixed(options[0][1])


def describe_blocks(space: SearchSpace, architecture: Architecture) -> str:
    """The option of each block, a stage after the other."""
    chosen = zip(space.variables, architecture.choices, strict=True)
    stages = itertools.groupby(chosen, key=lambda pair: pair[0].name.split(".")[0])
    return " | ".join(" ".join(str(variable.options[choice]) for variable, choice in pairs) for _, pairs in stages)


def skip_operator(shape: Shape, channels: int, stride: int, *, activation: str) -> Operator | None:
    """What does nothing: None, or a strided 1x1 projection where the shapes in and out differ."""
    if stride == 1 and shape[0] == channels:
        return None
    return _conv(shape, channels, kernel_size=1, stride=stride, activation=activation)


def _conv(shape: Shape, channels: int, *, kernel_size: int, stride: int, activation: str) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": channels,
        "kernel_size": kernel_size,
        "stride": stride,
        "activation": activation,
    }
    return Operator("conv_bn_act", shape, attributes)


def _shape_after(shape: Shape, channels: int, stride: int) -> Shape:
    return channels, strided(shape[1], stride), strided(shape[2], stride)
