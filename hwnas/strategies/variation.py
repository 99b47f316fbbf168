"""The operators of evolution on arrays of choices: how parents are found, combined and changed.

Suffixes: N architectures, V variables.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.hyperparameters import require_share

__all__ = ["Mating", "change_one", "cross", "reset_some", "tournament"]

PATIENCE: Final = 4
"""Attempts after which variation becomes twice as strong, because what it makes is known already."""


class Mating:
    """Offspring by binary tournament, uniform crossover and random-reset mutation.

    Args:
        strategy: whose hyperparameters these are, for the errors.
        space: of the parents.
        crossover_rate: share of the offspring that two parents make.
        mutation_rate: chance of each variable to change; None: one variable on average.
        rng: of everything random.

    Raises:
        SettingsError: a rate that is not from 0 to 1.
    """

    def __init__(
        self,
        strategy: str,
        space: SearchSpace,
        *,
        crossover_rate: float,
        mutation_rate: float | None,
        rng: np.random.Generator,
    ) -> None:
        rate = 1 / len(space.variables) if mutation_rate is None else mutation_rate
        self._crossover_rate = require_share(f"crossover_rate of {strategy}", crossover_rate)
        self._mutation_rate = require_share(f"mutation_rate of {strategy}", rate)
        self._options_V = space.num_options_V
        self._rng = rng

    def offspring(self, parents_NV: IntArray, places_N: IntArray, count: int, *, attempt: int = 0) -> IntArray:
        """Choices of `count` children, (count, V), not canonical.

        Args:
            parents_NV: to mate.
            places_N: of each parent in a tournament, the fittest has 0.
            count: of children.
            attempt: counted from 0; more variables change in later ones.
        """
        first_N, second_N = tournament(places_N, 2 * count, rng=self._rng).reshape(2, count)
        children_NV = cross(parents_NV[first_N], parents_NV[second_N], rate=self._crossover_rate, rng=self._rng)
        rate = min(1.0, self._mutation_rate * 2 ** (attempt // PATIENCE))
        return reset_some(children_NV, self._options_V, rate=rate, rng=self._rng)


def tournament(places_N: IntArray, count: int, *, rng: np.random.Generator, size: int = 2) -> IntArray:
    """The winners of `count` tournaments among `size` contestants each, indices (count,).

    Args:
        places_N: of each contestant, the best has 0; a draw is won by who was drawn first.
        count: of tournaments.
        rng: draws the contestants, with replacement.
        size: contestants of a tournament.
    """
    drawn_CS = rng.integers(len(places_N), size=(count, size))
    winners_C: IntArray = drawn_CS[np.arange(count), places_N[drawn_CS].argmin(axis=1)]
    return winners_C


def cross(first_NV: IntArray, second_NV: IntArray, *, rate: float, rng: np.random.Generator) -> IntArray:
    """Uniform crossover: each variable from one of two parents; with a chance of 1 - `rate` all from the first."""
    crossed_N1 = rng.random((len(first_NV), 1)) < rate
    from_second_NV = (rng.random(first_NV.shape) < 0.5) & crossed_N1
    return np.where(from_second_NV, second_NV, first_NV)


def reset_some(choices_NV: IntArray, options_V: IntArray, *, rate: float, rng: np.random.Generator) -> IntArray:
    """Random-reset mutation: each variable takes another of its options with a chance of `rate`."""
    changed_NV = rng.random(choices_NV.shape) < rate
    return _reset(choices_NV, options_V, changed_NV, rng)


def change_one(choices_NV: IntArray, options_V: IntArray, *, rng: np.random.Generator, attempt: int = 0) -> IntArray:
    """One variable of each, of those that have several options, takes another of its options; in later attempts more."""
    free = np.flatnonzero(options_V > 1)
    changed_NV = np.zeros(choices_NV.shape, dtype=np.bool_)
    for _ in range(2 ** (attempt // PATIENCE) if len(free) else 0):
        changed_NV[np.arange(len(choices_NV)), rng.choice(free, size=len(choices_NV))] = True
    return _reset(choices_NV, options_V, changed_NV, rng)


def _reset(
    choices_NV: IntArray, options_V: IntArray, changed_NV: npt.NDArray[np.bool_], rng: np.random.Generator
) -> IntArray:
    shift_NV = rng.integers(1, np.maximum(options_V, 2), size=choices_NV.shape)
    return np.where(changed_NV & (options_V > 1), (choices_NV + shift_NV) % options_V, choices_NV)
