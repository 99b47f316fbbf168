"""A small strategy with a state: each round, distinct children of the best that it was told, and random ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import Architecture, SearchSpace
from hwnas.strategies import SearchStrategy
from hwnas.strategies.history import History, constrained_ranks


class ToyEvolution(SearchStrategy):
    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], *, rng: np.random.Generator, batch: int = 10
    ) -> None:
        self._space, self._rng, self._batch = space, rng, batch
        self._history = History(objectives)
        self.tells = 0

    def ask(self) -> list[Candidate]:
        asked: dict[Architecture, Candidate] = {}
        parents = self._parents()
        for _ in range(50 * self._batch):
            if len(asked) == self._batch:
                break
            parent = parents[self._rng.integers(len(parents))] if parents and self._rng.random() < 0.7 else None
            child = self._space.sample(self._rng) if parent is None else self._space.mutate(parent, rng=self._rng)
            if child.choices not in self._history:
                asked.setdefault(child, Candidate(child, parent))
        return list(asked.values())

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        self.tells += 1
        self._history.add(evaluations)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self._history.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._history.load_state_dict(state["history"])

    def _parents(self) -> list[Architecture]:
        if not len(self._history):
            return []
        ranks_N = constrained_ranks(self._history.values_NM, self._history.violations_N)
        return self._space.architectures(self._history.choices_NV[np.argsort(ranks_N, kind="stable")[:8]])
