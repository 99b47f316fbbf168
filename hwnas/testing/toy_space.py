"""ToySpace: the smallest space that is worth searching, for tests of strategies and as an example of a new space.

It has 84 architectures, so that a test can look at all of them, and writes only what `SearchSpace` asks for: its
population walk (`operator_indices`, `total_costs`) is the inherited one.

Suffixes: N architectures, V variables. Shapes: B batch, C channels, H height, W width.
"""

import itertools
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
from torch import Tensor, nn

from hwnas.layers import Classifier, ConvBNAct, Elastic, ElasticMBConv, Fixed, MBConv
from hwnas.spaces import Architecture, IntArray, Operator, SearchSpace, SuperNet, Variable

__all__ = ["OneArchitecture", "OneVariable", "ToySpace", "ToySuperNet"]

DEPTHS: Final = (1, 2, 3)
KERNEL_SIZES: Final = (3, 5)
EXPAND_RATIOS: Final = (1, 2)
STEM_CHANNELS: Final = 4
CHANNELS: Final = 6


class ToySpace(SearchSpace):
    """A stem, one to three inverted residual blocks, and a classifier.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
    """

    name: ClassVar = "toy"
    layers: ClassVar = {"conv_bn_act": ConvBNAct, "mbconv": MBConv, "classifier": Classifier}

    def __init__(self, input_shape: tuple[int, int, int] = (1, 6, 6), num_classes: int = 3) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes

    @property
    def options(self) -> dict[str, float]:
        """None."""
        return {}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The depth, then kernel size and expand ratio of each of the three blocks."""
        blocks = [
            variable
            for block in range(1, max(DEPTHS) + 1)
            for variable in (
                Variable(f"block{block}.kernel_size", KERNEL_SIZES),
                Variable(f"block{block}.expand_ratio", EXPAND_RATIOS),
            )
        ]
        return (Variable("depth", DEPTHS), *blocks)

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """Stem, blocks, classifier."""
        depth, *choices = architecture.choices
        stem, *places, classifier = self._places
        chosen = [
            place[len(EXPAND_RATIOS) * choices[2 * block] + choices[2 * block + 1]]
            for block, place in enumerate(places[: DEPTHS[depth]])
        ]
        return (*stem, *chosen, *classifier)

    def all_operators(self) -> tuple[Operator, ...]:
        """Ten: the second and the third block are of the same four."""
        return tuple(dict.fromkeys(itertools.chain(*self._places)))

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """Sets kernel size and expand ratio of absent blocks to 0."""
        canonical_NV = np.array(choices_NV)
        for block in range(max(DEPTHS)):
            absent_N = np.array(DEPTHS)[canonical_NV[:, 0]] <= block
            canonical_NV[absent_N, 1 + 2 * block : 3 + 2 * block] = 0
        return canonical_NV

    def supernet(self) -> "ToySuperNet":
        """A new supernet with random weights."""
        return ToySuperNet(self)

    def describe(self, architecture: Architecture) -> str:
        """Kernel size and expand ratio of each block."""
        blocks = [one.attributes for one in self.operators(architecture) if one.kind == "mbconv"]
        return " ".join(f"k{attributes['kernel_size']}m{attributes['mid_channels']}" for attributes in blocks)

    def everything(self) -> list[Architecture]:
        """All architectures, each once."""
        choices = itertools.product(*(range(count) for count in self.num_options_V))
        return list(dict.fromkeys(self.architectures(np.array(list(choices), dtype=np.int64))))

    @cached_property
    def _places(self) -> list[list[Operator]]:
        """For each place in a network the operators that may stand there, the expand ratio fastest."""
        _, height, width = self.input_shape
        stem = Operator("conv_bn_act", self.input_shape, {"out_channels": STEM_CHANNELS, "kernel_size": 3})
        blocks = [
            [self._block(block, kernel, ratio) for kernel, ratio in itertools.product(KERNEL_SIZES, EXPAND_RATIOS)]
            for block in range(max(DEPTHS))
        ]
        shape = (CHANNELS, (height + 1) // 2, (width + 1) // 2)
        attributes = {"num_classes": self.num_classes, "last_channels": 8, "hidden_features": 8}
        return [[stem], *blocks, [Operator("classifier", shape, attributes)]]

    def _block(self, block: int, kernel_size: int, expand_ratio: int) -> Operator:
        _, height, width = self.input_shape
        first = block == 0
        shape = (STEM_CHANNELS, height, width) if first else (CHANNELS, (height + 1) // 2, (width + 1) // 2)
        attributes: dict[str, int | str] = {
            "out_channels": CHANNELS,
            "mid_channels": shape[0] * expand_ratio,
            "kernel_size": kernel_size,
            "stride": 2 if first else 1,
            "se_channels": 0 if first else shape[0] * expand_ratio // 2,
            "activation": "hard_swish",
        }
        return Operator("mbconv", shape, attributes)


class OneVariable(ToySpace):
    """Three architectures, told apart by their depth alone."""

    name: ClassVar = "one_variable"

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The depth."""
        return super().variables[:1]

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """Stem, blocks of the first option, classifier."""
        return super().operators(Architecture(self.name, (*architecture.choices, *[0] * 6)))


class OneArchitecture(ToySpace):
    """One architecture: no variable has a second option."""

    name: ClassVar = "one_architecture"

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The toy's, of one option each."""
        return tuple(Variable(one.name, one.options[:1]) for one in super().variables)


class ToySuperNet(SuperNet):
    """The supernet of ToySpace: one layer a place, of which the middle ones are elastic.

    Args:
        space: whose architectures it holds.
    """

    def __init__(self, space: ToySpace) -> None:
        super().__init__()
        self._space = space
        *blocks_and_stem, classifier = space.operators(space.largest())
        stem, *blocks = blocks_and_stem
        self.stem = Fixed(space.build_operator(stem))
        self.blocks = nn.ModuleList(_elastic(block) for block in blocks)
        self.classifier = Fixed(space.build_operator(classifier))
        self._depth = len(blocks)

    def activate(self, architecture: Architecture) -> None:
        """Makes `forward` run the path of `architecture`."""
        path = self._path(architecture)
        for layer, operator in path:
            layer.activate(operator.attributes)
        self._depth = len(path) - 2

    def subnet(self, architecture: Architecture) -> nn.Module:
        """The plain network of `architecture` with its own copy of the shared weights."""
        modules = [layer.extract(operator.attributes) for layer, operator in self._path(architecture)]
        return self._space.assemble(modules).train(self.training)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes) by the active path."""
        y = self.stem(x_BCHW)
        for block in list(self.blocks)[: self._depth]:
            y = block(y)
        logits: Tensor = self.classifier(y)
        return logits

    def _path(self, architecture: Architecture) -> list[tuple[Elastic, Operator]]:
        operators = self._space.operators(architecture)
        blocks = list(self.blocks)[: len(operators) - 2]
        layers = [self.stem, *blocks, self.classifier]
        return [(layer, one) for layer, one in zip(layers, operators, strict=True) if isinstance(layer, Elastic)]


def _elastic(widest: Operator) -> ElasticMBConv:
    make_elastic: type = ElasticMBConv
    layer: ElasticMBConv = make_elastic(widest.input_shape[0], **widest.attributes)
    return layer
