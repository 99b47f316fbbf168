"""LEMONADE: Lamarckian evolution for multi-objective search (Elsken, Metzen & Hutter, ICLR 2019).

Expensive objectives are asked for where cheap ones, which cost nothing, say that the front is thin: parents, and of their
many children those to evaluate, are drawn in inverse proportion to the density of the cheap objectives. A child is one
network morphism away from its parent, whose trained weights it may inherit.

Suffixes: N architectures, V variables, M objectives, P points.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, score_choices
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import constrained_ranks
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.morphing import candidates_from, logarithmic, steps_from
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["LEMONADE"]

LEAST_DENSITY: Final = 0.02
"""As a share of the greatest: far from all points it would else be 0, and the largest network always drawn."""

FloatArray = npt.NDArray[np.float64]


class LEMONADE(SearchStrategy):
    """Evolution of the front of all evaluations, by network morphisms, sampled by the density of the cheap objectives.

    Where steps from the whole front are spent, it goes on from the next front; it asks for nothing twice.

    Args:
        space: to search; the steps of one that knows no morphisms are changes of one variable.
        objectives: to minimise, within their bounds; the density is uniform where none is cheap.
        rng: of everything random.
        first_networks: small networks to begin with.
        proposals: children made in a generation, of which only the cheap objectives are looked at.
        children: those of them that are evaluated.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        first_networks: int = 8,
        proposals: int = 100,
        children: int = 10,
    ) -> None:
        self._space = space
        self._objectives = tuple(objectives)
        self._rng = rng
        self._first_networks = require_count("first_networks of lemonade", first_networks)
        self._children = require_count("children of lemonade", children)
        self._num_proposals = require_count("proposals of lemonade", proposals, least=self._children)
        self._proposals = Proposals(space, objectives, rng)

    def ask(self) -> list[Candidate]:
        """Small networks, then children of the front; none once a bounded number of random draws finds nothing new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        history = self._proposals.history
        ranks_N = constrained_ranks(history.values_NM, history.violations_N)
        for rank in np.unique(ranks_N):
            parents = self._propose(np.flatnonzero(ranks_N == rank))
            if parents:
                return candidates_from(self._space, history, self._accept(parents, ranks_N == 0))
        first_NV = (
            self._proposals.uniform(self._children) if len(history) else self._proposals.small(self._first_networks)
        )
        return [Candidate(one) for one in self._space.architectures(first_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes note of them: the population is the front of all."""
        self._proposals.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return self._proposals.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._proposals.load_state_dict(state)

    def _propose(self, parents_N: IntArray) -> dict[tuple[int, ...], int]:
        """New children of the evaluations in these rows, each with the row of its parent; half of either kind of step."""
        choices_NV = self._proposals.history.choices_NV[parents_N]
        chances_N = self._rarity(choices_NV, choices_NV)
        drawn_N = self._rng.choice(len(parents_N), size=self._num_proposals, p=chances_N)
        steps = {row: steps_from(self._space, self._proposals, choices_NV[row]) for row in np.unique(drawn_N).tolist()}
        if not any(steps.values()):
            steps = {row: steps_from(self._space, self._proposals, one_V) for row, one_V in enumerate(choices_NV)}
            drawn_N = np.array(list(steps), dtype=np.int64)
        found: dict[tuple[int, ...], int] = {}
        for row in drawn_N.tolist():
            if kinds := steps[row]:
                child_V = self._rng.choice(kinds[self._rng.integers(len(kinds))])
                found.setdefault(tuple(child_V.tolist()), int(parents_N[row]))
        return found

    def _accept(
        self, parents: Mapping[tuple[int, ...], int], population_N: npt.NDArray[np.bool_]
    ) -> dict[tuple[int, ...], int]:
        """Those of the children to evaluate, drawn by their cheap objectives."""
        proposed = list(parents)
        chances_N = self._rarity(np.array(proposed), self._proposals.history.choices_NV[population_N])
        count = min(self._children, len(proposed))
        chosen_N = self._rng.choice(len(proposed), size=count, replace=False, p=chances_N)
        return {proposed[number]: parents[proposed[number]] for number in chosen_N.tolist()}

    def _rarity(self, choices_NV: IntArray, population_PV: IntArray) -> FloatArray:
        """Chances (N,) in inverse proportion to the density of the population's cheap objectives."""
        cheap = [one for one in self._objectives if one.cost == "cheap"]
        if not cheap:
            return np.full(len(choices_NV), 1 / len(choices_NV))
        both_NV = np.concatenate([choices_NV, population_PV])
        values_NM = np.column_stack([*score_choices(self._space, cheap, both_NV).values()])
        values_NM = np.where(np.isfinite(values_NM), values_NM, np.nanmax(values_NM, axis=0, initial=0.0))
        scaled_NM = logarithmic(values_NM)
        inverse_N = 1 / density(scaled_NM[len(choices_NV) :], scaled_NM[: len(choices_NV)])
        chances_N: FloatArray = inverse_N / inverse_N.sum()
        return chances_N


def density(points_PM: FloatArray, at_NM: FloatArray) -> FloatArray:
    """A kernel density estimate from `points_PM` at `at_NM`, (N,), as a share of its greatest value there or at a point.

    Gaussian kernels, whose width is Scott's rule a dimension; never below a fiftieth.
    """
    spread_M = points_PM.std(axis=0)
    width_M = np.where(spread_M > 0, spread_M, 1.0) * len(points_PM) ** (-1 / (points_PM.shape[1] + 4))
    both_NM = np.concatenate([at_NM, points_PM])
    found_N = np.exp(-0.5 * (((both_NM[:, None] - points_PM[None]) / width_M) ** 2).sum(axis=2)).sum(axis=1)
    share_N: FloatArray = np.maximum(found_N / found_N.max(), LEAST_DENSITY)[: len(at_NM)]
    return share_N
