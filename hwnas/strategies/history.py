"""What a strategy has been told, as arrays, and how constraints enter the comparison of two evaluations.

Suffixes: N evaluations, V variables, M objectives.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt

from hwnas.front import Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace

__all__ = ["History", "constrained_ranks", "require_choices_of", "violations"]

FloatArray = npt.NDArray[np.float64]


class History:
    """Evaluations in the order in which they were told; of an architecture told repeatedly the first counts.

    Args:
        objectives: whose values were found.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self._values: dict[tuple[int, ...], tuple[float, ...] | None] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, choices: Iterable[int]) -> bool:
        return tuple(choices) in self._values

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes in what was told."""
        for one in evaluations:
            sound = one.failure is None
            found = tuple(float(one.values[o.name]) for o in self.objectives) if sound else None
            self._values.setdefault(one.architecture.choices, found)

    @property
    def choices_NV(self) -> IntArray:
        """The choices of all, failed ones included."""
        return np.array(list(self._values), dtype=np.int64)

    @property
    def values_NM(self) -> FloatArray:
        """Their values, NaN for those that failed."""
        return self._rows(self._values.values())

    def values_at(self, choices: Iterable[tuple[int, ...]]) -> FloatArray:
        """The values of those with these choices, (N, M), NaN for those that failed. Raises KeyError: one was not told."""
        return self._rows(self._values[one] for one in choices)

    @property
    def violations_N(self) -> FloatArray:
        """How far each is above its bounds, see `violations`."""
        return violations(self.values_NM, self.objectives)

    def new(self, choices_NV: IntArray) -> IntArray:
        """The rows of canonical `choices_NV` that were not told, each once, in their order."""
        rows = [row for row in dict.fromkeys(map(tuple, choices_NV.tolist())) if row not in self._values]
        return np.array(rows, dtype=np.int64).reshape(len(rows), choices_NV.shape[1])

    def state_dict(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "choices": [list(choices) for choices in self._values],
            "values": [None if values is None else list(values) for values in self._values.values()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave. Raises KeyError, TypeError or ValueError where it is none."""
        pairs = zip(state["choices"], state["values"], strict=True)
        found = {
            tuple(map(int, choices)): None if values is None else tuple(map(float, values)) for choices, values in pairs
        }
        self._rows(found.values())
        self._values = found

    def _rows(self, values: Iterable[tuple[float, ...] | None]) -> FloatArray:
        failed = (float("nan"),) * len(self.objectives)
        rows = [failed if one is None else one for one in values]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.objectives))


def require_choices_of(space: SearchSpace, told: Sequence[Sequence[int]]) -> None:
    """Raises TypeError or ValueError where these choices, of a stored history, are none of `space`."""
    options_V = space.num_options_V
    choices_NV = np.array(told).reshape(len(told), len(options_V))
    if ((choices_NV < 0) | (choices_NV >= options_V)).any():
        raise ValueError(f"the state is of another space than {space.name}")


def violations(values_NM: FloatArray, objectives: Sequence[Objective]) -> FloatArray:
    """The sum of what is above each bound, relative to the bound, (N,): 0 where all are met, infinite where it failed."""
    total_N = np.where(np.isfinite(values_NM).all(axis=1), 0.0, np.inf)
    for values_N, objective in zip(values_NM.T, objectives, strict=True):
        if objective.bound is not None:
            total_N += np.nan_to_num(np.maximum(values_N - objective.bound, 0.0)) / max(abs(objective.bound), 1e-12)
    return total_N


def constrained_ranks(values_NM: FloatArray, violations_N: FloatArray) -> npt.NDArray[np.int64]:
    """The non-dominated front that each is of, (N,), from 0: those within all bounds before those above, these by how far.

    Constraint domination, Deb et al., IEEE Transactions on Evolutionary Computation 2002.
    """
    ranks_N = np.zeros(len(values_NM), dtype=np.int64)
    within_N = violations_N == 0
    count = 0
    if within_N.any():
        ranks_N[within_N] = moocore.pareto_rank(values_NM[within_N])
        count = int(ranks_N[within_N].max()) + 1
    _, order_N = np.unique(violations_N[~within_N], return_inverse=True)
    ranks_N[~within_N] = count + order_N.reshape(-1)
    return ranks_N
