"""NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation, 2002) over architectures."""

from collections.abc import Mapping, Sequence
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
from hwnas.strategies.variation import Mating

__all__ = ["NSGA2"]


class NSGA2(SearchStrategy):
    """NSGA-II with uniform crossover, random-reset mutation and constraint domination.

    The first population holds the smallest and the largest architecture and random ones of every size. An offspring that
    was evaluated before, or that the cheap objectives show to be above a bound, is drawn anew and costs no evaluation;
    where few are new, more of their variables change.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on Evolutionary
    Computation 2002.

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        population_size: survivors of a generation, and its offspring.
        crossover_rate: share of the offspring that two parents make.
        mutation_rate: chance of each variable to change; None: one variable on average.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        population_size: int = 20,
        crossover_rate: float = 0.9,
        mutation_rate: float | None = None,
    ) -> None:
        self._size = require_count("population_size of nsga2", population_size, least=4)
        self._mating = Mating("nsga2", space, crossover_rate=crossover_rate, mutation_rate=mutation_rate, rng=rng)
        self._space, self._objectives = space, tuple(objectives)
        self._proposals = Proposals(space, objectives, rng)
        self._population: list[tuple[int, ...]] = []
        """The choices of the survivors, the fittest first."""

    def ask(self) -> list[Candidate]:
        """The first population, then offspring; empty once no offspring is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        if self._population:
            asked_NV = self._proposals.collect(self._size, self._offspring)
        else:
            asked_NV = self._proposals.of_every_size(self._size)
        return [Candidate(one) for one in self._space.architectures(asked_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Survival of the fittest among parents and offspring."""
        self._proposals.tell(evaluations)
        contestants = list(dict.fromkeys([*self._population, *(one.architecture.choices for one in evaluations)]))
        values_NM = self._proposals.history.values_at(contestants)
        order_N = fittest_first(values_NM, violations(values_NM, self._objectives))
        self._population = [contestants[index] for index in order_N[: self._size]]

    def _offspring(self, count: int, attempt: int) -> IntArray:
        parents_NV = np.array(self._population)
        return self._mating.offspring(parents_NV, np.arange(len(parents_NV)), count, attempt=attempt)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return {**self._proposals.state_dict(), "population": [list(one) for one in self._population]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        population = [tuple(map(int, one)) for one in state["population"]]
        self._proposals.load_state_dict(state)
        self._proposals.history.values_at(population)
        self._population = population
