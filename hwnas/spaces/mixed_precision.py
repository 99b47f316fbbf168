"""Search among architectures and precisions at once: the space of another's networks, each in one of several precisions.

Precision is the last variable. It changes no weight and no layer, only what an operator costs on a device, so an operator
of this space is one of the networks' with its precision, and a cost vector has a block for each precision.

Suffixes: N architectures, V variables, L places in a network, O operators of the networks.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.errors import SpaceError, UnknownNameError
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.counting import OperatorCounts
from hwnas.spaces.search_space import IntArray, SearchSpace, SuperNet

__all__ = ["MixedPrecision"]

BITS: Final = {"int8": 8, "fp16": 16, "fp32": 32}
PRECISION: Final = "precision"


class MixedPrecision(SearchSpace):
    """The networks of a space, each in one of several precisions.

    Example::

        space = MixedPrecision(MobileNetV3((1, 8, 8), 10), ["fp32", "int8"])
        network, precision = space.split(space.largest())   # the largest MobileNetV3, "fp32"

    Args:
        networks: the space of the networks.
        precisions: two or more of "fp32", "fp16" and "int8", in any order; the options go from few bits to many.

    Attributes:
        networks: the space of the networks.
        precisions: the options of the last variable.

    Raises:
        UnknownNameError: no such precision.
        SpaceError: fewer than two, one twice, or networks that are of mixed precision themselves.
    """

    def __init__(self, networks: SearchSpace, precisions: Sequence[str]) -> None:
        for precision in precisions:
            if precision not in BITS:
                raise UnknownNameError("precision", precision, BITS)
        if isinstance(networks, MixedPrecision) or not len(set(precisions)) == len(precisions) >= 2:
            raise SpaceError(
                "A space of mixed precision",
                "must be of a space of networks and of two or more precisions, each once",
                came=f"{networks.name} and {', '.join(precisions) or 'none'} came",
            )
        self.networks = networks
        self.precisions = tuple(sorted(precisions, key=BITS.__getitem__))
        self.name = "-".join((networks.name, *self.precisions))  # type: ignore[misc]  # each has its own
        self.layers = networks.layers  # type: ignore[misc]
        self.input_shape = networks.input_shape
        self.num_classes = networks.num_classes

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Those of the networks, and "precision"."""
        return (*self.networks.variables, Variable(PRECISION, self.precisions))

    @property
    def options(self) -> Mapping[str, float | Sequence[float]]:
        """Those of the networks."""
        return self.networks.options

    def split(self, architecture: Architecture) -> tuple[Architecture, str]:
        """The network of an architecture, as one of `networks`, and its precision."""
        *choices, precision = architecture.choices
        return Architecture(self.networks.name, tuple(choices)), self.precisions[precision]

    def join(self, network: Architecture, precision: str) -> Architecture:
        """The architecture that `split` takes apart."""
        return Architecture(self.name, (*network.choices, self.precisions.index(precision)))

    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """Those of the network, each with its precision."""
        network, precision = self.split(architecture)
        in_precision = self._in_precision[precision]
        return tuple(in_precision[operator] for operator in self.networks.operators(network))

    def all_operators(self) -> tuple[Operator, ...]:
        """All of the networks' in the first precision, then in the second, …"""
        return tuple(operator for operators in self._in_precision.values() for operator in operators.values())

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """See SearchSpace."""
        count = len(self.networks.all_operators())
        indices_NL = self.networks.operator_indices(choices_NV[:, :-1])
        shifted_NL = indices_NL + count * choices_NV[:, -1:]
        return np.where(indices_NL == count, count * len(self.precisions), shifted_NL)

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """See SearchSpace."""
        blocks = [block for cost in costs for block in np.split(cost, len(self.precisions))]
        totals = self.networks.total_costs(choices_NV[:, :-1], blocks)
        chosen_1N = np.asarray(choices_NV[None, :, -1], dtype=np.intp)
        every = np.reshape(totals, (len(costs), len(self.precisions), len(choices_NV)))
        return [np.take_along_axis(totals_PN, chosen_1N, axis=0)[0] for totals_PN in every]

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """See SearchSpace. Raises SpaceError where the networks' space does."""
        blocks = cost.chunk(len(self.precisions))
        each = [self.networks.expected_cost(weights[:-1], block) for block in blocks]
        return (weights[-1] * torch.stack(each)).sum()

    def build_operator(self, operator: Operator) -> nn.Module:
        """A new layer for `operator`, in float: precision is of the exported file."""
        return self.networks.build_operator(self._network_operator(operator))

    def build(self, architecture: Architecture) -> nn.Module:
        """See SearchSpace."""
        return self.networks.build(self.split(architecture)[0])

    def inherit(self, network: nn.Module, parent: Architecture, child: Architecture) -> nn.Module:
        """See SearchSpace."""
        return self.networks.inherit(network, self.split(parent)[0], self.split(child)[0])

    def keeps_function(self, parent: Architecture, child: Architecture) -> bool:
        """Whether it is the same network, or the networks' space says so; precision is not of the function."""
        before, after = self.split(parent)[0], self.split(child)[0]
        return before == after or self.networks.keeps_function(before, after)

    @cached_property
    def counts(self) -> dict[Operator, OperatorCounts]:
        """Those of the networks' operators."""
        of_network = self.networks.counts
        return {
            operator: of_network[plain]
            for operators in self._in_precision.values()
            for plain, operator in operators.items()
        }

    @cached_property
    def first_operators(self) -> frozenset[Operator]:
        """Those of the networks, in each precision."""
        first = self.networks.first_operators
        return frozenset(operators[plain] for operators in self._in_precision.values() for plain in first)

    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """That of the network; each precision is its own."""
        return np.hstack([self.networks.canonicalize(choices_NV[:, :-1]), choices_NV[:, -1:]])

    def supernet(self) -> SuperNet:
        """Raises SpaceError: weights are of networks, whatever precision these run in."""
        raise SpaceError(
            f"The space {self.name}",
            "must be trained as networks",
            came="a supernet of it was asked for",
            do=f"Train that of {self.networks.name}, its `networks`",
        )

    def describe(self, architecture: Architecture) -> str:
        """The network in a few words, and its precision."""
        network, precision = self.split(architecture)
        return f"{self.networks.describe(network)} in {precision}"

    def path_encoding(self, choices_NV: IntArray) -> npt.NDArray[np.float64]:
        """That of the networks, and which precision."""
        return np.hstack(
            [self.networks.path_encoding(choices_NV[:, :-1]), np.eye(len(self.precisions))[choices_NV[:, -1]]]
        )

    def is_connected(self, choices_NV: IntArray) -> npt.NDArray[np.bool_]:
        """See SearchSpace."""
        return self.networks.is_connected(choices_NV[:, :-1])

    def identity(self) -> dict[str, Any]:
        """What tells this space from another: besides what every space says, its networks' name and the precisions."""
        return {**super().identity(), "networks": self.networks.name, "precisions": list(self.precisions)}

    @cached_property
    def _in_precision(self) -> dict[str, dict[Operator, Operator]]:
        """For each precision and each operator of the networks the operator of this space."""
        return {
            precision: {
                one: Operator(one.kind, one.input_shape, {**one.attributes, PRECISION: precision})
                for one in self.networks.all_operators()
            }
            for precision in self.precisions
        }

    @staticmethod
    def _network_operator(operator: Operator) -> Operator:
        attributes = {name: value for name, value in operator.attributes.items() if name != PRECISION}
        return Operator(operator.kind, operator.input_shape, attributes)
