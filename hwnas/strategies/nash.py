"""NASH: neural architecture search by hill climbing over network morphisms (Elsken, Metzen & Hutter, 2017).

In each step a handful of children of the best network so far are trained for a short while from its weights, by an annealed
learning rate, and the best of all goes on. With several objectives "best" is the best by weights that are drawn anew for
each step, so that the hills of all trade-offs are climbed in turns.

Suffixes: N architectures, M objectives.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation, non_dominated
from hwnas.objectives import Objective
from hwnas.spaces import SearchSpace
from hwnas.strategies.history import History, require_choices_of
from hwnas.strategies.morphing import Steps, candidates_from, require_count, small_choices, within_cheap_bounds
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["NASH"]

AUGMENTATION: Final = 0.05
"""Weight of the sum beside the maximum, so that of networks with one maximum the better is best."""

FloatArray = npt.NDArray[np.float64]


class NASH(SearchStrategy):
    """Hill climbing by network morphisms, by an augmented Chebyshev scalarisation where there are several objectives.

    Where all neighbours of the best were told, it climbs from the next best; it asks for nothing twice.

    Args:
        space: to search; the steps of one that knows no morphisms are changes of one variable.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        children: of the best, evaluated in a step.
        morphisms: the most steps between a child and its parent, whose number is drawn for each child.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        children: int = 4,
        morphisms: int = 3,
    ) -> None:
        self._space = space
        self._objectives = tuple(objectives)
        self._rng = rng
        self._children = require_count("children of nash", children)
        self._morphisms = require_count("morphisms of nash", morphisms)
        self._history = History(objectives)

    def ask(self) -> list[Candidate]:
        """A small network, then children of the best; none once every architecture was told.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        space, history = self._space, self._history
        if not len(history):
            first_NV = small_choices(space, self._objectives, 1, rng=self._rng)
            return [Candidate(one) for one in space.architectures(first_NV)]
        weights_M = self._rng.dirichlet(np.ones(len(self._objectives)))
        scalars_N = scalarized(history.values_NM, weights_M)
        for row in np.lexsort((scalars_N, history.violations_N)).tolist():
            steps = Steps(space, history.choices_NV[row], history)
            if len(steps):
                chosen = self._draw(steps)
                return candidates_from(space, history, chosen, [row] * len(chosen))
        return []

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes note of them."""
        self._history.add(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return {"history": self._history.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        require_choices_of(self._space, state["history"]["choices"])
        self._history.load_state_dict(state["history"])
        self._rng.bit_generator.state = state["rng"]

    def _draw(self, steps: Steps) -> list[tuple[int, ...]]:
        """Up to so many different children, those within the bounds of the cheap objectives first."""
        drawn = list(dict.fromkeys(self._child(steps) for _ in range(4 * self._children)))
        within_N = within_cheap_bounds(self._space, self._objectives, np.array(drawn, dtype=np.int64))
        return [child for child, within in zip(drawn, within_N, strict=True) if within][: self._children]

    def _child(self, steps: Steps) -> tuple[int, ...]:
        """The choices of a child that was not told, some steps away."""
        child = steps.draw(self._rng)
        for _ in range(self._rng.integers(self._morphisms)):
            further = Steps(self._space, np.array(child), self._history)
            child = further.draw(self._rng) if len(further) else child
        return child


def scalarized(values_NM: FloatArray, weights_M: FloatArray) -> FloatArray:
    """The augmented Chebyshev distance to the best values, (N,), infinite where a value is missing.

    Each objective is scaled to [0, 1] over the non-dominated rows (Steuer & Choo, Mathematical Programming 1983).
    """
    scalars_N = np.full(len(values_NM), np.inf)
    sound_N = np.isfinite(values_NM).all(axis=1)
    if sound_N.any():
        sound_NM = values_NM[sound_N]
        front_NM = sound_NM[non_dominated(sound_NM)]
        span_M = np.ptp(front_NM, axis=0)
        weighted_NM = weights_M * (sound_NM - front_NM.min(axis=0)) / np.where(span_M > 0, span_M, 1.0)
        scalars_N[sound_N] = weighted_NM.max(axis=1) + AUGMENTATION * weighted_NM.sum(axis=1)
    return scalars_N
