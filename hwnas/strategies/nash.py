"""NASH: neural architecture search by hill climbing over network morphisms (Elsken, Metzen & Hutter, 2017).

In each step a few children of the best network so far are trained for a short while from its weights, by an annealed
learning rate, and the best of all goes on. Children keep the function of their parent where the space knows morphisms, so
that a climb only grows; they are one, two, four or more morphisms away, so that a step is as long as it pays. With several
objectives "best" is the best by weights that are drawn anew for each step, so that the hills of all trade-offs are climbed
in turns.

Suffixes: N architectures, V variables, M objectives.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation, non_dominated
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.morphing import candidates_from, logarithmic, steps_from
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["NASH"]

AUGMENTATION: Final = 0.05
"""Weight of the sum beside the maximum, so that of networks with one maximum the better is best."""
CONCENTRATION: Final = 0.5
"""Of the Dirichlet distribution of weights: below 1, one objective often counts for nearly all, and the ends grow too."""
PATIENCE: Final = 4
"""Children drawn for each that is asked for: some may come twice."""

FloatArray = npt.NDArray[np.float64]


class NASH(SearchStrategy):
    """Hill climbing by network morphisms, by an augmented Chebyshev scalarisation where there are several objectives.

    Where all neighbours of the best were told, it climbs from the next best; it asks for nothing twice.

    Args:
        space: to search; the steps of one that knows no morphisms are changes of one variable.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        children: of the best, evaluated in a step.
        morphisms: the most between a child and its parent; how many is drawn for each child, and 1 is as likely as 2 or 3,
            or 4 to 7.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        children: int = 2,
        morphisms: int = 8,
    ) -> None:
        self._children = require_count("children of nash", children)
        self._morphisms = require_count("morphisms of nash", morphisms)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._proposals = Proposals(space, objectives, rng)

    def ask(self) -> list[Candidate]:
        """The smallest network, then children of the best; none once a bounded number of random draws finds nothing new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        space, history = self._space, self._proposals.history
        weights_M = self._rng.dirichlet(np.full(len(self._objectives), CONCENTRATION))
        scalars_N = scalarized(history.values_NM, weights_M)
        for row in np.lexsort((scalars_N, history.violations_N)).tolist():
            children = self._children_of(history.choices_NV[row])
            if children:
                return candidates_from(space, history, dict.fromkeys(children, row))
        start_NV = self._proposals.uniform(1) if len(history) else self._proposals.small(1)
        return [Candidate(one) for one in space.architectures(start_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes note of them."""
        self._proposals.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return self._proposals.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._proposals.load_state_dict(state)

    def _children_of(self, parent_V: IntArray) -> list[tuple[int, ...]]:
        """The choices of up to so many different children; none at a dead end."""
        found: dict[tuple[int, ...], None] = {}
        for _ in range(PATIENCE * self._children):
            child_V = parent_V
            for _ in range(int((self._morphisms + 1) ** self._rng.random())):
                kinds = steps_from(self._space, self._proposals, child_V)
                child_V = self._rng.choice(kinds[0]) if kinds else child_V
            if child_V is not parent_V:
                found[tuple(child_V.tolist())] = None
            if child_V is parent_V or len(found) == self._children:
                break
        return list(found)


def scalarized(values_NM: FloatArray, weights_M: FloatArray) -> FloatArray:
    """The augmented Chebyshev distance to the best values, (N,), infinite where a value is missing.

    Each objective is scaled to [0, 1] over the non-dominated rows, as a logarithm where all its values are positive (Steuer
    & Choo, Mathematical Programming 1983).
    """
    scalars_N = np.full(len(values_NM), np.inf)
    sound_N = np.isfinite(values_NM).all(axis=1)
    if sound_N.any():
        sound_NM = logarithmic(values_NM[sound_N])
        front_NM = sound_NM[non_dominated(sound_NM)]
        span_M = np.ptp(front_NM, axis=0)
        weighted_NM = weights_M * (sound_NM - front_NM.min(axis=0)) / np.where(span_M > 0, span_M, 1.0)
        scalars_N[sound_N] = weighted_NM.max(axis=1) + AUGMENTATION * weighted_NM.sum(axis=1)
    return scalars_N
