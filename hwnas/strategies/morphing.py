"""The steps by which lemonade and nash come from one architecture to the next.

A step changes one variable. In spaces that know network morphisms it either keeps the function of the parent's network (to
widen, to deepen, to add a skip connection) or comes near it (to prune, to replace by a cheaper block); half of the steps are
drawn from either, since there are usually many more of one.

Suffixes: N architectures, V variables.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import SettingsError
from hwnas.front import Candidate
from hwnas.objectives import Objective, check_feasible, score_choices
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import History

__all__ = ["Steps", "candidates_from", "require_count", "small_choices", "within_cheap_bounds"]

MOST_GROWN: Final = 0.5
"""How far the options of the largest of the first networks are from the smallest, on average and as a share."""


class Steps:
    """The steps from one architecture to others that were not told of.

    Args:
        space: of the architecture.
        parent_V: its choices.
        history: what was told.
    """

    def __init__(self, space: SearchSpace, parent_V: IntArray, history: History) -> None:
        self.children_NV = history.new(space.neighbor_choices(parent_V))
        parent, *children = space.architectures(np.concatenate([parent_V[None], self.children_NV]))
        keeps_N = np.array([space.keeps_function(parent, child) for child in children], dtype=bool)
        self._kinds = [kind for kind in (np.flatnonzero(keeps_N), np.flatnonzero(~keeps_N)) if len(kind)]

    def __len__(self) -> int:
        return len(self.children_NV)

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The choices of a random child: a kind of step that there is, then one of that kind."""
        kind = self._kinds[rng.integers(len(self._kinds))]
        return tuple(self.children_NV[rng.choice(kind)].tolist())


def small_choices(
    space: SearchSpace, objectives: Sequence[Objective], count: int, *, rng: np.random.Generator
) -> IntArray:
    """Canonical choices of up to `count` networks to begin with, (n, V), each once, from which the others are grown.

    The smallest, some that meet the bounds of the cheap objectives where there are such, and small random ones.

    Raises:
        InfeasibleError: none was found that meets the bounds.
    """
    chances_N = MOST_GROWN * rng.random(4 * count)  # some repeat others, or exceed a bound
    rest_NV = rng.binomial(space.num_options_V - 1, chances_N[:, None])
    smallest_1V = np.array([space.smallest().choices], dtype=np.int64)
    found = [smallest_1V, space.canonicalize(rest_NV)]
    if any(one.bound is not None for one in objectives):
        found.insert(0, check_feasible(space, objectives, rng=rng, starts=max(2, count // 2)))
    choices_NV = np.concatenate(found)
    choices_NV = choices_NV[within_cheap_bounds(space, objectives, choices_NV)]
    _, first_N = np.unique(choices_NV, axis=0, return_index=True)
    return choices_NV[np.sort(first_N)[:count]]


def within_cheap_bounds(
    space: SearchSpace, objectives: Sequence[Objective], choices_NV: IntArray
) -> npt.NDArray[np.bool_]:
    """Which have all their cheap values and exceed no bound of these, (N,); all where that is none."""
    within_N = np.ones(len(choices_NV), dtype=bool)
    for objective in objectives:
        if objective.cost == "cheap":
            values_N = score_choices(space, [objective], choices_NV)[objective.name]
            within_N &= np.isfinite(values_N) & (values_N <= (np.inf if objective.bound is None else objective.bound))
    return within_N if within_N.any() else ~within_N


def candidates_from(
    space: SearchSpace, history: History, children: Sequence[tuple[int, ...]], parents: Sequence[int]
) -> list[Candidate]:
    """Candidates with these choices and parents, the latter as rows of `history`; without one whose evaluation failed."""
    if not children:
        return []
    failed = set(np.flatnonzero(np.isnan(history.values_NM).any(axis=1)).tolist())
    made = space.architectures(np.array(children, dtype=np.int64))
    known = space.architectures(history.choices_NV[list(parents)])
    return [
        Candidate(child, None if row in failed else parent)
        for child, parent, row in zip(made, known, parents, strict=True)
    ]


def require_count(name: str, value: Any, *, least: int = 1) -> int:
    """The hyperparameter `name`, a whole number. Raises SettingsError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(name, f"must be a whole number from {least} up", came=f"{value!r} came")
    return value
