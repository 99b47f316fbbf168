"""Local search: looks around the best that it has found, one step away at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.crowding import fittest_first
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["LocalSearch"]


class LocalSearch(SearchStrategy):
    """Pareto local search: a neighbour of each of the least crowded members of the front that have unknown ones.

    A neighbour differs in one variable. It is accepted by dominance, not by a weighted sum, so one search covers the
    whole front. A member whose neighbours are all known is a local optimum and is left for the next; when the front is a
    local optimum as a whole, the search goes on around the second front, and so on, and from random architectures once
    there is nothing unknown around any.

    Paquete, Chiarandini & Stützle, "Pareto local optimum sets in the biobjective traveling salesman problem", 2004; in
    architecture search White et al., "Local search is state of the art for neural architecture search benchmarks", and den
    Ottelander et al., "Local search is a remarkably strong baseline for neural architecture search", both 2021.

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        num_starts: architectures of every size that it begins with.
        batch_size: neighbours of a round, each of another member.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        num_starts: int = 20,
        batch_size: int = 10,
    ) -> None:
        self._num_starts = require_count("num_starts of local_search", num_starts)
        self._batch_size = require_count("batch_size of local_search", batch_size)
        self._space, self._rng = space, rng
        self._proposals = Proposals(space, objectives, rng)

    def ask(self) -> list[Candidate]:
        """The starts, then neighbours; empty once a bounded number of random draws finds nothing unknown.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        asked_NV = self._neighbors_of_the_fittest()
        if not len(asked_NV):
            start = self._proposals.uniform if len(self._proposals.history) else self._proposals.of_every_size
            asked_NV = start(self._num_starts)
        return [Candidate(one) for one in self._space.architectures(asked_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Remembers what was evaluated: whatever it does next follows from that."""
        self._proposals.tell(evaluations)

    def _neighbors_of_the_fittest(self) -> IntArray:
        history = self._proposals.history
        choices_NV = history.choices_NV
        found: dict[tuple[int, ...], None] = {}
        for index in fittest_first(history.values_NM, history.violations_N):
            around_NV = self._proposals.worthwhile(self._space.neighbor_choices(choices_NV[index]))
            unknown = [row for row in map(tuple, around_NV.tolist()) if row not in found]
            if unknown:
                found[unknown[self._rng.integers(len(unknown))]] = None
            if len(found) == self._batch_size:
                break
        return np.array(list(found), dtype=np.int64).reshape(len(found), len(self._space.variables))

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return self._proposals.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._proposals.load_state_dict(state)
