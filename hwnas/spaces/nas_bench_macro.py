"""NAS-Bench-Macro (Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021).

Eight choice blocks in three stages. Every one of its 6,561 architectures was trained alone on CIFAR-10 three times, so
what a supernet or a search finds can be held against the truth: see hwnas.benchmarks.
"""

from functools import cached_property
from typing import ClassVar, Final

from torch import nn

from hwnas.layers import ConvBNAct, MBConv, PooledClassifier
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
from hwnas.spaces.scaling import Shape

__all__ = ["NASBenchMacro"]

MACRO: Final = MacroArchitecture(32, 1, (Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)), 1280)
BLOCKS: Final = {"k3_e3": (3, 3), "k5_e6": (5, 6)}
"""Kernel size and expand ratio of the options that are inverted residual blocks."""


class NASBenchMacro(ChainSpace):
    """NAS-Bench-Macro: eight blocks, each the identity or an inverted residual block with kernel size 3 and expand ratio 3,
    or 5 and 6; 6,561 architectures, whose accuracies on CIFAR-10 are published.

    A choice is the digit of the published names: "22212202" is architecture([2, 2, 2, 1, 2, 2, 0, 2]). At 3x32x32 and 10
    classes the networks are the published ones; the first block of each stage halves the resolution, the earliest of
    them not where the last stage would see fewer than 3 pixels a side. Where the identity would change the shape it is a
    1x1 convolution with batch norm.

    Choices are independent, as published: no encoding is canonicalised. Two of them that leave out different blocks of a
    stage can be the same network (3,969 of the networks differ), but they are different paths of the supernet.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
    """

    name: ClassVar = "nas_bench_macro"
    layers: ClassVar = {"conv_bn_act": ConvBNAct, "mbconv": MBConv, "pooled_classifier": PooledClassifier}

    def __init__(self, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes

    @property
    def options(self) -> dict[str, float]:
        """None."""
        return {}

    def describe(self, architecture: Architecture) -> str:
        """The option of each block, a stage after the other."""
        return describe_blocks(self, architecture)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """Every option of a block, with weights of its own."""
        return choice_layer(self, slot)

    @cached_property
    def chain(self) -> Chain:
        """Stem, choice blocks, classifier."""
        options = ("identity", *BLOCKS)
        return choice_chain(MACRO, self.input_shape, self.num_classes, options=options, block=_block)


def _block(option: str, shape: Shape, channels: int, stride: int) -> Operator | None:
    if option == "identity":
        return skip_operator(shape, channels, stride, activation="identity")
    kernel_size, expand_ratio = BLOCKS[option]
    attributes: dict[str, int | str] = {
        "out_channels": channels,
        "mid_channels": shape[0] * expand_ratio,
        "kernel_size": kernel_size,
        "stride": stride,
        "activation": "relu",
    }
    return Operator("mbconv", shape, attributes)
