"""NAS-Bench-201 (Dong & Yang, ICLR 2020): networks of one cell, repeated.

Every one of its 15,625 architectures was trained alone on CIFAR-10, CIFAR-100 and ImageNet16-120, so what a search finds
can be held against the truth: see hwnas.benchmarks. A cell is a graph and no chain, so the space says itself how its
networks are walked.

Suffixes: N architectures, V variables, L places in a network, O options. Shapes: B batch, C channels, H height, W width.
"""

import copy
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.errors import SettingsError, SpaceError
from hwnas.layers import (
    AveragePool,
    Cell,
    ConvBNAct,
    NormClassifier,
    ReLUConvBN,
    ResidualReduction,
    Skip,
    Zero,
)
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.scaling import Shape, kept_strides, strided
from hwnas.spaces.search_space import IntArray, SearchSpace, SuperNet

__all__ = ["NASBench201", "NASBench201SuperNet"]

NODES: Final = 4
EDGES: Final = tuple((source, node) for node in range(1, NODES) for source in range(node))
OPTIONS: Final = ("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
NONE: Final = OPTIONS.index("none")
KERNEL_SIZES: Final = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
STAGES: Final = 3


class NASBench201(SearchSpace):
    """NAS-Bench-201: a cell of four nodes, each of whose six edges is nothing, a skip, a 3x3 average, or a 1x1 or 3x3
    convolution; 15,625 architectures, whose accuracies on three data sets are published. Options: cells (5) and channels
    (16).

    The variables are the edges in the order of the published names; the options go from small to large. At 3x32x32 with 10
    or 100 classes, and at 3x16x16 with 120, the networks are the published ones: a 3x3 convolution, three stages of five
    cells, residual blocks of stride 2 between them that double the channels, and a linear classifier. Small images keep
    their resolution: the first of these strides is dropped where the last stage would see fewer than 3 pixels a side, then
    the second.

    No encoding is canonicalised, since each was trained: cells that compute the same function are different architectures,
    and some (341) lead nothing from their input to their output, see `is_connected`. An edge that is nothing and one that
    is a skip are operators too, without MACs or parameters.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        cells: in each stage.
        channels: of the first stage.

    Raises:
        SettingsError: an argument out of range.
    """

    name: ClassVar = "nas_bench_201"
    layers: ClassVar = {
        "conv_bn_act": ConvBNAct,
        "none": Zero,
        "skip_connect": Skip,
        "avg_pool_3x3": AveragePool,
        "relu_conv_bn": ReLUConvBN,
        "residual_reduction": ResidualReduction,
        "norm_classifier": NormClassifier,
    }

    def __init__(
        self, input_shape: Shape = (3, 32, 32), num_classes: int = 10, *, cells: int = 5, channels: int = 16
    ) -> None:
        for option, value, most in (("cells", cells, 64), ("channels", channels, 4096)):
            if not 1 <= value <= most or value != int(value):
                must = f"must be a whole number from 1 to {most}"
                raise SettingsError(f"{option} of nas_bench_201", must, came=f"{value} came")
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.cells = int(cells)
        self.channels = int(channels)

    @property
    def options(self) -> dict[str, float]:
        """{"cells": int, "channels": int}."""
        return {"cells": self.cells, "channels": self.channels}

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The edges of the cell: 0>1, 0>2, 1>2, 0>3, 1>3, 2>3."""
        return tuple(Variable(f"edge{source}>{node}", OPTIONS) for source, node in EDGES)

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """Stem; the six edges of each cell, with a residual block between stages; classifier."""
        indices_NL = self.operator_indices(np.array([architecture.choices]))
        return tuple(self.all_operators()[index] for index in indices_NL[0])

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """See SearchSpace.operator_indices; L is 18 a cell and 4, and no place is empty."""
        indices_NL = np.tile(self._first_options_L, (len(choices_NV), 1))
        indices_NL[:, self._is_edge_L] += np.tile(choices_NV, STAGES * self.cells).astype(np.int32)
        return indices_NL

    def all_operators(self) -> tuple[Operator, ...]:
        """Stem, and for each stage the options of an edge and the residual block or classifier behind it: 19."""
        return self._all_operators

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """A copy: every encoding is canonical."""
        return np.array(choices_NV)

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """See SearchSpace.total_costs: what all have in common, and what each option of an edge adds in all cells."""
        edge_SO = self._edges_SO
        totals = []
        for cost in costs:
            common = cost.sum() - cost[edge_SO].sum()
            totals.append(common + self.cells * cost[edge_SO].sum(axis=0)[choices_NV].sum(axis=1))
        return totals

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """See SearchSpace.expected_cost."""
        edge_SO = torch.as_tensor(self._edges_SO, device=cost.device)
        added_O = self.cells * cost[edge_SO].sum(dim=0)
        common = cost.sum() - cost[edge_SO].sum()
        return common + torch.stack([weight @ added_O for weight in weights]).sum()

    def path_encoding(self, choices_NV: IntArray) -> npt.NDArray[np.float64]:
        """Which sequences of operations lead from a cell's input to its output, as 0s and 1s (N, 84).

        A sequence may lead along several paths; one with an edge that is nothing leads nowhere. White et al., BANANAS,
        AAAI 2021.
        """
        operations = len(OPTIONS) - 1
        found = [np.zeros((len(choices_NV), operations**length)) for length in range(1, NODES)]
        for along_NE in self._along(choices_NV):
            leads_N, length = (along_NE != NONE).all(axis=1), along_NE.shape[1]
            code_N = (along_NE[leads_N] - 1) @ operations ** np.arange(length)
            found[length - 1][np.flatnonzero(leads_N), code_N] = 1.0
        return np.hstack(found)

    def is_connected(self, choices_NV: IntArray) -> npt.NDArray[np.bool_]:
        """Whether anything leads from the input of a cell to its output, (N,); where nothing does all images are one."""
        leads = [(along_NE != NONE).all(axis=1) for along_NE in self._along(choices_NV)]
        connected_N: npt.NDArray[np.bool_] = np.any(leads, axis=0)
        return connected_N

    def describe(self, architecture: Architecture) -> str:
        """The published name: for each node the operations that lead to it, and from which node."""
        named = zip(EDGES, architecture.choices, strict=True)
        nodes = itertools.groupby(named, key=lambda edge: edge[0][1])
        return "+".join(
            "|" + "".join(f"{OPTIONS[choice]}~{source}|" for (source, _), choice in edges) for _, edges in nodes
        )

    @staticmethod
    def assemble(modules: Iterable[nn.Module]) -> nn.Module:
        """The network of the modules of its operators: every six edges are a cell."""
        stem, *between, head = modules
        cells = (len(between) - STAGES + 1) // (STAGES * len(EDGES))
        parts, rest = [("stem", stem)], iter(between)
        for stage in range(1, STAGES + 1):
            if stage > 1:
                parts.append((f"reduction{stage - 1}", next(rest)))
            for cell in range(1, cells + 1):
                parts.append((f"stage{stage}_cell{cell}", Cell(list(itertools.islice(rest, len(EDGES))))))
        return nn.Sequential(OrderedDict([*parts, ("head", head)]))

    def supernet(self) -> "NASBench201SuperNet":
        """A new supernet: each edge of each cell has every option, with weights of its own."""
        return NASBench201SuperNet(self)

    @cached_property
    def _all_operators(self) -> tuple[Operator, ...]:
        stem: dict[str, int | str] = {"out_channels": self.channels, "kernel_size": 3, "activation": "identity"}
        found = [Operator("conv_bn_act", self.input_shape, stem)]
        shape = (self.channels, *self.input_shape[1:])
        strides = kept_strides([2] * (STAGES - 1), min(self.input_shape[1:]))
        for stride in strides:
            found += [_edge(option, shape) for option in OPTIONS]
            attributes = {"out_channels": 2 * shape[0], "stride": stride}
            found.append(Operator("residual_reduction", shape, attributes))
            shape = (2 * shape[0], strided(shape[1], stride), strided(shape[2], stride))
        found += [_edge(option, shape) for option in OPTIONS]
        return (*found, Operator("norm_classifier", shape, {"num_classes": self.num_classes}))

    @cached_property
    def _edges_SO(self) -> npt.NDArray[np.intp]:
        """Where the options of an edge stand in `all_operators`, by stage."""
        firsts = 1 + (len(OPTIONS) + 1) * np.arange(STAGES)
        return firsts[:, None] + np.arange(len(OPTIONS))

    @cached_property
    def _first_options_L(self) -> npt.NDArray[np.int32]:
        """The operator at each place, that of the first option on edges."""
        stages = [[first] * (len(EDGES) * self.cells) + [last + 1] for first, *_, last in self._edges_SO.tolist()]
        return np.array([0, *itertools.chain(*stages)], dtype=np.int32)

    @cached_property
    def _is_edge_L(self) -> npt.NDArray[np.bool_]:
        return np.isin(self._first_options_L, self._edges_SO)

    @staticmethod
    def _along(choices_NV: IntArray) -> Iterator[IntArray]:
        """The choices along each path of edges from the first node to the last, (N, length of the path) each."""
        for stops in range(NODES - 1):
            for between in itertools.combinations(range(1, NODES - 1), stops):
                nodes = (0, *between, NODES - 1)
                yield choices_NV[:, [EDGES.index(edge) for edge in itertools.pairwise(nodes)]]


class NASBench201SuperNet(SuperNet):
    """The supernet of NASBench201: each edge of each cell has every option, with weights of its own.

    Args:
        space: whose architectures it holds.
    """

    def __init__(self, space: NASBench201) -> None:
        super().__init__()
        self._space = space
        every = space.all_operators()
        ends = space.operator_indices(np.array([space.smallest().choices, space.largest().choices]))
        modules = [
            _Edge([space.build_operator(operator) for operator in every[first : last + 1]])
            if first < last
            else space.build_operator(every[first])
            for first, last in ends.T.tolist()
        ]
        self._modules_L = modules
        self.network = space.assemble(modules)

    def activate(self, architecture: Architecture) -> None:
        """Makes `forward` run the path of `architecture`."""
        for edge, choice in zip(self._edges, itertools.cycle(architecture.choices), strict=False):
            edge.active, edge.weights = choice, None

    def mix(self, weights: Sequence[Tensor]) -> None:
        """See SuperNet.mix: an edge gives the sum of what its options give, each by its weight.

        An option whose weight is 0 without a gradient is not run.

        Raises:
            SpaceError: not one weight for each option of each variable.
        """
        shapes = [tuple(weight.shape) for weight in weights]
        if shapes != [(len(OPTIONS),)] * len(EDGES):
            must = f"must be one of shape ({len(OPTIONS)},) for each of its {len(EDGES)} variables"
            raise SpaceError(f"The weights of {self._space.name}", must, came=f"the shapes {shapes} came")
        for edge, weight in zip(self._edges, itertools.cycle(weights), strict=False):
            edge.weights = weight

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes) by the active path, or by all that are mixed."""
        logits: Tensor = self.network(x_BCHW)
        return logits

    def subnet(self, architecture: Architecture) -> nn.Module:
        """The plain network of `architecture` with its own copy of the weights."""
        choices = itertools.cycle(architecture.choices)
        chosen = [one.options[next(choices)] if isinstance(one, _Edge) else one for one in self._modules_L]
        return self._space.assemble(copy.deepcopy(module) for module in chosen).train(self.training)

    @property
    def _edges(self) -> list["_Edge"]:
        return [module for module in self._modules_L if isinstance(module, _Edge)]


class _Edge(nn.Module):
    """All options of an edge: `forward` runs the active one, or all, weighted.

    Args:
        options: the layers.
    """

    def __init__(self, options: Sequence[nn.Module]) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)
        self.active = len(options) - 1
        self.weights: Tensor | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.weights is None:
            out: Tensor = self.options[self.active](x_BCHW)
            return out
        run = [index for index, weight in enumerate(self.weights) if weight.requires_grad or weight != 0]
        return torch.stack([self.weights[index] * self.options[index](x_BCHW) for index in run]).sum(dim=0)


def _edge(option: str, shape: Shape) -> Operator:
    if option not in KERNEL_SIZES:
        return Operator(option, shape, {})
    return Operator("relu_conv_bn", shape, {"out_channels": shape[0], "kernel_size": KERNEL_SIZES[option]})
