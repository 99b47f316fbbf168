"""Regularized evolution (Real et al., AAAI 2019): the oldest die, whatever they are worth."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.crowding import fittest_first
from hwnas.strategies.history import violations
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.strategies.variation import change_one, tournament

__all__ = ["RegularizedEvolution"]


class RegularizedEvolution(SearchStrategy):
    """Aging evolution: the winner of a tournament has a child with one variable changed, and the oldest of the queue dies.

    For several objectives a tournament is won by front, then by crowding distance, as among the parents of NSGA-II. A
    child that was evaluated before, or that the cheap objectives show to be above a bound, is drawn anew; where few are
    new, more variables change.

    Real et al., "Regularized evolution for image classifier architecture search", AAAI 2019.

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        population_size: length of the queue, which begins with architectures of every size.
        sample_size: contestants of a tournament, drawn with replacement.
        batch_size: children of a round; 1 is the paper's, more can be evaluated at the same time.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        population_size: int = 40,
        sample_size: int = 15,
        batch_size: int = 5,
    ) -> None:
        self._size = require_count("population_size of regularized_evolution", population_size)
        self._sample_size = require_count("sample_size of regularized_evolution", sample_size)
        self._batch_size = require_count("batch_size of regularized_evolution", batch_size)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._proposals = Proposals(space, objectives, rng)
        self._queue: list[tuple[int, ...]] = []
        """The choices of those alive, the oldest first."""

    def ask(self) -> list[Candidate]:
        """The first population, then children; empty once no child is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        if not self._queue:
            asked_NV = self._proposals.of_every_size(self._size)
        else:
            values_NM = self._proposals.history.values_at(self._queue)
            order_N = fittest_first(values_NM, violations(values_NM, self._objectives))
            asked_NV = self._proposals.collect(self._batch_size, partial(self._children, np.argsort(order_N)))
        return [Candidate(one) for one in self._space.architectures(asked_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """The youngest join the queue and the oldest leave it."""
        self._proposals.tell(evaluations)
        self._queue = [*self._queue, *(one.architecture.choices for one in evaluations)][-self._size :]

    def _children(self, places_N: IntArray, count: int, attempt: int) -> IntArray:
        winners = tournament(places_N, count, size=self._sample_size, rng=self._rng)
        parents_NV = np.array(self._queue)[winners]
        return change_one(parents_NV, self._space.num_options_V, attempt=attempt, rng=self._rng)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return {**self._proposals.state_dict(), "queue": [list(one) for one in self._queue]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        queue = [tuple(map(int, one)) for one in state["queue"]]
        self._proposals.load_state_dict(state)
        self._proposals.history.values_at(queue)
        self._queue = queue
