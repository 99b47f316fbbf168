"""Spaces whose networks are a chain of operators, described once.

A chain is a list of slots. A slot says which operator runs there for each combination of a few variables, and whether it
runs at all. From that one description come the operators of an architecture, the operator indices of a population, the
canonical form of an encoding and the supernet. A space holds a Chain and asks it.

Suffixes: N architectures, V variables, L slots.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.layers import Elastic
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.search_space import IntArray, SuperNet

__all__ = ["Chain", "ChainSuperNet", "Slot"]


@dataclass(frozen=True)
class Slot:
    """One place of a chain.

    Attributes:
        operators: the operator for each combination of the options of `variables`, the last variable fastest.
        variables: positions of the variables that choose the operator; none where there is no choice.
        depth_variable: position of the variable that decides whether the slot runs; None: it always does.
        min_depth_choice: the slot runs where the depth variable's choice is at least this.
    """

    operators: tuple[Operator, ...]
    variables: tuple[int, ...] = ()
    depth_variable: int | None = None
    min_depth_choice: int = 0


class Chain:
    """A description of networks as a chain of slots.

    Args:
        variables: the variables of the space.
        slots: the slots in the order in which they run.
    """

    def __init__(self, variables: Sequence[Variable], slots: Sequence[Slot]) -> None:
        self.variables = tuple(variables)
        self.slots = tuple(slots)
        self.all_operators = tuple(dict.fromkeys(operator for slot in self.slots for operator in slot.operators))

    @cached_property
    def _positions(self) -> list[npt.NDArray[np.int32]]:
        """For each slot, where its operators stand in `all_operators`, an absent operator behind the last."""
        position = {operator: index for index, operator in enumerate(self.all_operators)}
        return [
            np.array([*(position[operator] for operator in slot.operators), len(position)], dtype=np.int32)
            for slot in self.slots
        ]

    def combinations(self, slot: Slot, choices_NV: IntArray) -> npt.NDArray[np.intp]:
        """For each architecture which of `slot.operators` runs, (N,); len(slot.operators) where none does."""
        narrow = np.uint8 if len(slot.operators) < 255 else np.intp
        combination_N: npt.NDArray[np.integer[Any]] = np.zeros(len(choices_NV), dtype=narrow)
        for variable in slot.variables:
            combination_N *= len(self.variables[variable].options)
            combination_N += choices_NV[:, variable].astype(combination_N.dtype, copy=False)
        if slot.depth_variable is not None and slot.min_depth_choice > 0:
            absent_N = choices_NV[:, slot.depth_variable] < slot.min_depth_choice
            combination_N[absent_N] = len(slot.operators)
        return combination_N.astype(np.intp)

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """(N, L) indices into `all_operators`, len(all_operators) where a slot does not run."""
        columns = [
            positions[self.combinations(slot, choices_NV)]
            for slot, positions in zip(self.slots, self._positions, strict=True)
        ]
        return np.stack(columns, axis=1)

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]], *, chunk: int = 8192
    ) -> list[npt.NDArray[np.float64]]:
        """Sums vectors of one cost an operator over each architecture: for each vector an array (N,).

        The indices of a slot are made once for all costs, in chunks that stay in the processor's cache.
        """
        tables = [[np.append(cost, 0.0)[positions] for positions in self._positions] for cost in costs]
        totals = [np.zeros(len(choices_NV)) for _ in costs]
        for start in range(0, len(choices_NV), chunk):
            part_VN = np.ascontiguousarray(choices_NV[start : start + chunk].T)
            for index, slot in enumerate(self.slots):
                combination_N = self.combinations(slot, part_VN.T)
                for total, table in zip(totals, tables, strict=True):
                    total[start : start + chunk] += table[index].take(combination_N)
        return totals

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """The operators that run, in order."""
        return tuple(operator for _, operator in self.running(architecture))

    def running(self, architecture: Architecture) -> list[tuple[int, Operator]]:
        """The slots that run, by position, each with its operator."""
        choices_NV = np.array([architecture.choices])
        found = []
        for index, slot in enumerate(self.slots):
            combination = int(self.combinations(slot, choices_NV)[0])
            if combination < len(slot.operators):
                found.append((index, slot.operators[combination]))
        return found

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """Sets every variable that no running slot reads to 0."""
        canonical_NV = np.array(choices_NV)
        for variable, (always, thresholds) in self._readers.items():
            if always:
                continue
            read_N = np.zeros(len(canonical_NV), dtype=bool)
            for depth_variable, min_depth_choice in thresholds:
                read_N |= choices_NV[:, depth_variable] >= min_depth_choice
            canonical_NV[~read_N, variable] = 0
        return canonical_NV

    @cached_property
    def _readers(self) -> dict[int, tuple[bool, list[tuple[int, int]]]]:
        """For each variable: whether it is always read, else the (depth variable, threshold) of the slots that read it."""
        readers: dict[int, tuple[bool, list[tuple[int, int]]]] = {}
        depths = {slot.depth_variable for slot in self.slots}
        for variable in range(len(self.variables)):
            slots = [slot for slot in self.slots if variable in slot.variables]
            thresholds = [(slot.depth_variable, slot.min_depth_choice) for slot in slots]
            always = variable in depths or any(depth is None or least == 0 for depth, least in thresholds)
            readers[variable] = (always, [(depth, least) for depth, least in thresholds if depth is not None])
        return readers


class ChainSuperNet(SuperNet):
    """A supernet with one elastic layer a slot.

    Args:
        chain: the description.
        layer: makes the layer of a slot: an nn.Module that is `Elastic`.
        assemble: makes a network from the modules of its operators.
    """

    def __init__(
        self, chain: Chain, layer: Callable[[Slot], nn.Module], assemble: Callable[[list[nn.Module]], nn.Module]
    ) -> None:
        super().__init__()
        self._chain = chain
        self._assemble = assemble
        self.slots = nn.ModuleList(layer(slot) for slot in chain.slots)
        self._active = list(range(len(chain.slots)))

    def _elastic(self, index: int) -> Elastic:
        layer = self.slots[index]
        if not isinstance(layer, Elastic):
            raise TypeError(f"the layer of slot {index} must have activate and extract, but it is {layer}")
        return layer

    def activate(self, architecture: Architecture) -> None:
        """Makes `forward` run the path of `architecture`."""
        running = self._chain.running(architecture)
        for index, operator in running:
            self._elastic(index).activate(operator.attributes)
        self._active = [index for index, _ in running]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes) by the active path."""
        for index in self._active:
            x_BCHW = self.slots[index](x_BCHW)
        return x_BCHW

    @torch.no_grad()
    def subnet(self, architecture: Architecture) -> nn.Module:
        """The plain network of `architecture` with its own copy of the shared weights."""
        running = self._chain.running(architecture)
        network = self._assemble([self._elastic(index).extract(operator.attributes) for index, operator in running])
        return network.train(self.training)


def option_product(variables: Sequence[Variable]) -> list[tuple[int | str, ...]]:
    """All combinations of the options of `variables`, the last fastest: the order of `Slot.operators`."""
    return list(itertools.product(*(variable.options for variable in variables)))
