"""Benchmark: a space and what was recorded of its architectures.

Suffixes: N recorded architectures, V variables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwnas.errors import ArchitectureError, UnknownNameError
from hwnas.objectives import Objective
from hwnas.spaces import Architecture, IntArray, SearchSpace

__all__ = ["Benchmark"]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A space and what was recorded of its architectures.

    Attributes:
        name: of the benchmark ("nas_bench_macro").
        data: that its networks were trained and scored on ("CIFAR-10").
        space: whose architectures were recorded.
        choices_NV: their choices, canonical, each once.
        records: for each recorded quantity its values (N,), in that order; accuracies and errors are fractions.
    """

    name: str
    data: str
    space: SearchSpace
    choices_NV: IntArray
    records: Mapping[str, npt.NDArray[np.float64]]

    def values(self, record: str, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """What was recorded of `architectures`, one value each.

        Raises:
            UnknownNameError: no such record.
            ArchitectureError: one that was not recorded, or of another space.
        """
        if record not in self.records:
            raise UnknownNameError(f"record of {self.name}", record, self.records)
        positions = [self._position(architecture) for architecture in architectures]
        found: npt.NDArray[np.float64] = self.records[record][np.array(positions, dtype=np.intp)]
        return found

    def objective(self, record: str, *, unit: str) -> Objective:
        """The record, to be minimised, as an objective of that name. Raises UnknownNameError."""
        self.values(record, [])
        return Objective(record, unit, lambda architectures: self.values(record, architectures).tolist())

    @cached_property
    def _positions(self) -> dict[tuple[int, ...], int]:
        return {tuple(choices): position for position, choices in enumerate(self.choices_NV.tolist())}

    def _position(self, architecture: Architecture) -> int:
        position = self._positions.get(architecture.choices)
        if position is None or architecture.space != self.space.name:
            raise ArchitectureError(
                f"An architecture of {self.name}",
                f"must be one of the {len(self.choices_NV)} of {self.space.name} that were recorded",
                came=f"{architecture.to_json()} came",
            )
        return position
