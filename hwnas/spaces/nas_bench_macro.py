"""NAS-Bench-Macro (Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021).

Eight choice blocks in three stages. Every one of its 6,561 architectures was trained alone on CIFAR-10 three times, so
what a supernet or a search finds can be held against the truth: see hwnas.benchmarks.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hwnas.layers import ConvBNAct, MBConv, PooledClassifier
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, ChainSuperNet
from hwnas.spaces.choice_blocks import (
    MacroArchitecture,
    Shape,
    Stage,
    choice_chain,
    choice_supernet,
    describe_blocks,
    skip_operator,
)
from hwnas.spaces.search_space import IntArray, SearchSpace

__all__ = ["NASBenchMacro"]

MACRO: Final = MacroArchitecture(32, 1, (Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)), 1280)
BLOCKS: Final = {"k3_e3": (3, 3), "k5_e6": (5, 6)}
"""Kernel size and expand ratio of the options that are inverted residual blocks."""


class NASBenchMacro(SearchSpace):
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
    def options(self) -> dict[str, int | float | str]:
        """None."""
        return {}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One for each block."""
        return self._chain.variables

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """Stem, the blocks that are not the identity, classifier."""
        return self._chain.operators(architecture)

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """See SearchSpace.operator_indices; L is 10."""
        return self._chain.operator_indices(choices_NV)

    def all_operators(self) -> tuple[Operator, ...]:
        """Every distinct operator: stem, three for the first block of a stage, two for its others, and the classifier."""
        return self._chain.all_operators

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """A copy: every block is always read."""
        return self._chain.canonicalize(choices_NV)

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """See SearchSpace.total_costs."""
        return self._chain.total_costs(choices_NV, costs)

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """See SearchSpace.expected_cost."""
        return self._chain.expected_cost(weights, cost)

    def describe(self, architecture: Architecture) -> str:
        """The option of each block, a stage after the other."""
        return describe_blocks(self, architecture)

    def supernet(self) -> ChainSuperNet:
        """A new supernet: every option of every block with weights of its own."""
        return choice_supernet(self, self._chain)

    @cached_property
    def _chain(self) -> Chain:
        """The one description that operators, build and supernet read."""
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
