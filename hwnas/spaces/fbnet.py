"""FBNet's space (Wu et al., CVPR 2019): 22 layers, each one of nine operators; about 10^21 architectures.

What the paper leaves open follows its authors' published networks: the first 1x1 convolution stays where it does not
expand, both 1x1 convolutions of a block are in groups, and a skip that would change the shape, as in the first layer of
most stages, is a strided 1x1 convolution with batch norm and ReLU.
"""

from functools import cached_property
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import ConvBNAct, GroupedMBConv, PooledClassifier
from hwnas.spaces.architecture import Architecture, Operator
from hwnas.spaces.chain import Chain, ChainSpace, Slot
from hwnas.spaces.choice_blocks import (
    MacroArchitecture,
    Stage,
    choice_chain,
    choice_layer,
    describe_blocks,
    skip_operator,
)
from hwnas.spaces.scaling import Shape, round_channels

__all__ = ["FBNet"]

STEM_CHANNELS: Final = 16
STEM_STRIDE: Final = 2
STAGES: Final = (
    Stage(16, 1, 1),
    Stage(24, 4, 2),
    Stage(32, 4, 2),
    Stage(64, 4, 2),
    Stage(112, 4, 1),
    Stage(184, 4, 2),
    Stage(352, 1, 1),
)
BLOCKS: Final = {
    "k3_e1_g2": (3, 1, 2),
    "k5_e1_g2": (5, 1, 2),
    "k3_e1": (3, 1, 1),
    "k5_e1": (5, 1, 1),
    "k3_e3": (3, 3, 1),
    "k5_e3": (5, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e6": (5, 6, 1),
}
"""Kernel size, expand ratio and groups of the options that are blocks."""


class FBNet(ChainSpace):
    """FBNet's space, for images of any size: 22 layers in seven stages, each an inverted residual block with kernel size 3
    or 5 and expand ratio 1 (in one or two groups), 3 or 6, or a skip; about 10^21 architectures. Options: width_mult
    (1.0) and last_channels (1984).

    At 3x224x224 it is the paper's, with 1984 channels in the last 1x1 convolution as FBNet-B and FBNet-C have; FBNet-A has
    1504. Small images keep their resolution: the earliest strides of 2 are dropped until the last stage sees at least 3
    pixels a side, so 224 pixels end at 7 and 32 at 4, the latter as in the published networks for CIFAR, which have 1504
    last channels.

    Options go from small to large; where a skip changes the shape it can have a few more weights than k3_e1_g2.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        width_mult: factor on all channels (rounded to multiples of 8), as the paper's 0.35.
        last_channels: of the last 1x1 convolution, before `width_mult`.

    Raises:
        SettingsError: an argument out of range.
    """

    name: ClassVar = "fbnet"
    layers: ClassVar = {
        "conv_bn_act": ConvBNAct,
        "grouped_mbconv": GroupedMBConv,
        "pooled_classifier": PooledClassifier,
    }

    def __init__(
        self,
        input_shape: Shape = (3, 224, 224),
        num_classes: int = 1000,
        *,
        width_mult: float = 1.0,
        last_channels: int = 1984,
    ) -> None:
        if not 0.05 <= width_mult <= 16:
            raise SettingsError("width_mult of fbnet", "must be from 0.05 to 16", came=f"{width_mult} came")
        if not 8 <= last_channels <= 65536 or last_channels != int(last_channels):
            raise SettingsError(
                "last_channels of fbnet", "must be a whole number from 8 to 65536", came=f"{last_channels} came"
            )
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.width_mult = float(width_mult)
        self.last_channels = int(last_channels)

    @property
    def options(self) -> dict[str, float]:
        """{"width_mult": float, "last_channels": int}."""
        return {"width_mult": self.width_mult, "last_channels": self.last_channels}

    def describe(self, architecture: Architecture) -> str:
        """The option of each layer, a stage after the other."""
        return describe_blocks(self, architecture)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """Every option of a block, with weights of its own."""
        return choice_layer(self, slot)

    @cached_property
    def chain(self) -> Chain:
        """Stem, choice blocks, classifier."""
        macro = MacroArchitecture(
            self._channels(STEM_CHANNELS),
            STEM_STRIDE,
            tuple(Stage(self._channels(stage.channels), stage.blocks, stage.stride) for stage in STAGES),
            self._channels(self.last_channels),
        )
        return choice_chain(macro, self.input_shape, self.num_classes, options=("skip", *BLOCKS), block=_block)

    def _channels(self, channels: int) -> int:
        return round_channels(channels * self.width_mult)


def _block(option: str, shape: Shape, channels: int, stride: int) -> Operator | None:
    if option == "skip":
        return skip_operator(shape, channels, stride, activation="relu")
    kernel_size, expand_ratio, groups = BLOCKS[option]
    attributes: dict[str, int | str] = {
        "out_channels": channels,
        "mid_channels": shape[0] * expand_ratio,
        "kernel_size": kernel_size,
        "stride": stride,
        "groups": groups,
    }
    return Operator("grouped_mbconv", shape, attributes)
