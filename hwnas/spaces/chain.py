"""Spaces whose networks are a chain of operators, described once.

A chain is a list of slots. A slot says which operator runs there for each combination of a few variables, and whether it
runs at all. From that one description come the operators of an architecture, the operator indices of a population, the
canonical form of an encoding and the supernet. A ChainSpace writes the chain, and inherits all that follows from it.

Suffixes: N architectures, V variables, L slots.
"""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.errors import SpaceError
from hwnas.layers import Elastic, ElasticInput, make_identity, morph
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.search_space import IntArray, SearchSpace, SuperNet

__all__ = ["Chain", "ChainSpace", "ChainSuperNet", "Slot"]


@dataclass(frozen=True)
class Slot:
    """One place of a chain.

    Attributes:
        operators: the operator for each combination of the options of `variables`, the last variable fastest; None
            where nothing runs, as for a skip.
        variables: positions of the variables that choose the operator; none where there is no choice.
        depth_variable: position of the variable that decides whether the slot runs; None: it always does.
        min_depth_choice: the slot runs where the depth variable's choice is at least this.
    """

    operators: tuple[Operator | None, ...]
    variables: tuple[int, ...] = ()
    depth_variable: int | None = None
    min_depth_choice: int = 0

    @property
    def present(self) -> tuple[Operator, ...]:
        """The operators without None."""
        return tuple(operator for operator in self.operators if operator is not None)


class Chain:
    """A description of networks as a chain of slots.

    Args:
        variables: the variables of the space.
        slots: the slots in the order in which they run.
    """

    def __init__(self, variables: Sequence[Variable], slots: Sequence[Slot]) -> None:
        self.variables = tuple(variables)
        self.slots = tuple(slots)
        self.all_operators = tuple(dict.fromkeys(operator for slot in self.slots for operator in slot.present))

    @cached_property
    def _positions(self) -> list[npt.NDArray[np.int32]]:
        """For each slot, where its operators stand in `all_operators`, an absent operator behind the last."""
        position: dict[Operator | None, int] = {one: index for index, one in enumerate(self.all_operators)}
        position[None] = len(self.all_operators)
        return [
            np.array([position[operator] for operator in (*slot.operators, None)], dtype=np.int32)
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
            operator = (*slot.operators, None)[int(self.combinations(slot, choices_NV)[0])]
            if operator is not None:
                found.append((index, operator))
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
    def first_operators(self) -> frozenset[Operator]:
        """The operators that take what comes into the chain."""
        leading = list(itertools.takewhile(lambda slot: None in slot.operators or slot.min_depth_choice, self.slots))
        beginning = Chain(self.variables, self.slots[: len(leading) + 1])
        deciding = {one for slot in beginning.slots for one in (*slot.variables, slot.depth_variable)}
        counts = [len(variable.options) if i in deciding else 1 for i, variable in enumerate(self.variables)]
        every = (Architecture("", choices) for choices in itertools.product(*map(range, counts)))
        return frozenset(operator for one in every for operator in beginning.operators(one)[:1])

    def probabilities(self, slot: Slot, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """How likely a slot's operators are where each variable's options are drawn independently.

        Args:
            slot: of this chain.
            weights: for each variable the probability of each option, (options,).

        Returns:
            Of each of `slot.operators`, (combinations,); and that the slot runs at all, a scalar, None where it always does.
        """
        probability_C = torch.ones(1, device=weights[0].device, dtype=weights[0].dtype)
        for variable in slot.variables:
            probability_C = (probability_C[:, None] * weights[variable]).flatten()
        if slot.depth_variable is None or slot.min_depth_choice == 0:
            return probability_C, None
        return probability_C, weights[slot.depth_variable][slot.min_depth_choice :].sum()

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """See SearchSpace.expected_cost."""
        padded = torch.cat([cost, cost.new_zeros(1)])
        total = cost.new_zeros(())
        for slot, positions in zip(self.slots, self._positions, strict=True):
            probability_C, runs = self.probabilities(slot, weights)
            expected = (probability_C * padded[torch.as_tensor(positions[:-1], device=cost.device)]).sum()
            total = total + (expected if runs is None else runs * expected)
        return total

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


class ChainSpace(SearchSpace):
    """A space whose networks are a chain: it writes `chain`, `elastic_layer`, `options` and `describe`."""

    @property
    @abstractmethod
    def chain(self) -> Chain:
        """The one description that operators, networks and supernet are read from; made once."""

    @abstractmethod
    def elastic_layer(self, slot: Slot) -> nn.Module:
        """The layer of a slot in a supernet, which must be `Elastic`.

        It is told of an operator by the attributes alone, so those of the slot's operators must differ.
        """

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Those of the chain."""
        return self.chain.variables

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """The operators of the slots that run, in order."""
        return self.chain.operators(architecture)

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """See SearchSpace.operator_indices; L is the number of slots."""
        return self.chain.operator_indices(choices_NV)

    def all_operators(self) -> tuple[Operator, ...]:
        """Every distinct operator, in the order of the slots."""
        return self.chain.all_operators

    @property
    def first_operators(self) -> frozenset[Operator]:
        """See SearchSpace.first_operators."""
        return self.chain.first_operators

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """Sets to 0 what no running slot reads."""
        return self.chain.canonicalize(choices_NV)

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """See SearchSpace.total_costs."""
        return self.chain.total_costs(choices_NV, costs)

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """See SearchSpace.expected_cost."""
        return self.chain.expected_cost(weights, cost)

    def inherit(self, network: nn.Module, parent: Architecture, child: Architecture) -> nn.Module:
        """See SearchSpace.inherit: layers of the same slot take over each other's weights, others begin as the identity."""
        old = [(index, self.build_operator(operator)) for index, operator in self.chain.running(parent)]
        self.assemble(layer for _, layer in old).load_state_dict(network.state_dict())
        sources = dict(old)
        layers, carried_C = [], None
        for index, operator in self.chain.running(child):
            layer = self.build_operator(operator)
            if index in sources:
                carried_C = morph(layer, sources[index], carried_C)
            else:
                make_identity(layer)
            layers.append(layer)
        return self.assemble(layers)

    def supernet(self) -> "ChainSuperNet":
        """A new supernet: one elastic layer a slot."""
        return ChainSuperNet(self.chain, self.elastic_layer, self.assemble)


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
        self._mixture: list[Tensor] | None = None

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
        self._mixture = None

    def mix(self, weights: Sequence[Tensor]) -> None:
        """See SuperNet.mix: the output of a slot is the sum of its operators' outputs, each by the product of the weights.

        An operator whose weight is 0 without a gradient is not run.

        Raises:
            SpaceError: not one weight for each option of each variable.
        """
        for variable, weight in itertools.zip_longest(self._chain.variables, weights):
            options = 0 if variable is None else len(variable.options)
            if weight is None or weight.shape != (options,):
                raise SpaceError(
                    f"The weights of {'a variable too many' if variable is None else variable.name}",
                    f"must be of shape ({options},)",
                    came="none came" if weight is None else f"their shape is {tuple(weight.shape)}",
                )
        self._mixture = list(weights)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes) by the active path, or by all that are mixed.

        Raises:
            SpaceError: mixed outputs are of different shapes.
        """
        if self._mixture is None:
            for index in self._active:
                x_BCHW = self.slots[index](x_BCHW)
            return x_BCHW
        for index in range(len(self.slots)):
            x_BCHW = self._mixed(index, x_BCHW, self._mixture)
        return x_BCHW

    def _mixed(self, index: int, x_BCHW: Tensor, weights: Sequence[Tensor]) -> Tensor:
        slot = self._chain.slots[index]
        probability_C, runs = self._chain.probabilities(slot, weights)
        outputs = [] if runs is None else [(1 - runs, x_BCHW)]
        for combination, operator in enumerate(slot.operators):
            weight = probability_C[combination] if runs is None else runs * probability_C[combination]
            if not weight.requires_grad and weight == 0:
                continue
            if operator is not None:
                self._elastic(index).activate(operator.attributes)
            outputs.append((weight, x_BCHW if operator is None else self.slots[index](x_BCHW)))
        shapes = {tuple(output.shape[1:]) for _, output in outputs}
        if len(shapes) > 1:
            deciding = [*slot.variables, *([] if slot.depth_variable is None else [slot.depth_variable])]
            names = ", ".join(self._chain.variables[one].name for one in deciding)
            raise SpaceError(
                f"Place {index} of the network, which {names} decide",
                "must give outputs of one shape to be mixed",
                came=" and ".join(str(shape) for shape in sorted(shapes)) + " came",
                do="Leave these variables one option each, or train by another method",
            )
        if len(outputs) == 1:
            return outputs[0][1]
        mixed = outputs[0][0] * outputs[0][1]
        for weight, output in outputs[1:]:
            mixed = mixed + weight * output
        return mixed

    @torch.no_grad()
    def subnet(self, architecture: Architecture) -> nn.Module:
        """The plain network of `architecture` with its own copy of the shared weights."""
        running = self._chain.running(architecture)
        network = self._assemble([self._extracted(index, operator) for index, operator in running])
        return network.train(self.training)

    def _extracted(self, index: int, operator: Operator) -> nn.Module:
        layer = self._elastic(index)
        if isinstance(layer, ElasticInput):
            return layer.extract_from(operator.input_shape[0], operator.attributes)
        return layer.extract(operator.attributes)


def option_product(variables: Sequence[Variable]) -> list[tuple[int | float | str, ...]]:
    """All combinations of the options of `variables`, the last fastest: the order of `Slot.operators`."""
    return list(itertools.product(*(variable.options for variable in variables)))
