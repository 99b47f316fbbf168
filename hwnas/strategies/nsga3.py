"""NSGA-III (Deb & Jain, IEEE Transactions on Evolutionary Computation, 2014) over architectures, for many objectives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import violations
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.reference_directions import ReferenceDirections
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.strategies.variation import Mating

__all__ = ["NSGA3"]


class NSGA3(SearchStrategy):
    """NSGA-III: the survivors of a crowded front are those of the reference directions that have fewest.

    Parents are drawn at random, but one within the bounds before one above them. The first population and the offspring
    are NSGA2's. There are as many directions, of a Das-Dennis lattice, as the population has room for.

    Deb & Jain, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting
    approach, part I", and Jain & Deb, part II (constraints), IEEE Transactions on Evolutionary Computation 2014.

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
        self._size = require_count("population_size of nsga3", population_size, least=4)
        self._mating = Mating("nsga3", space, crossover_rate=crossover_rate, mutation_rate=mutation_rate, rng=rng)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._proposals = Proposals(space, objectives, rng)
        self._directions = ReferenceDirections(len(objectives), population_size)
        self._population: list[tuple[int, ...]] = []

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
        """Survival among parents and offspring, by front and then by reference direction."""
        self._proposals.tell(evaluations)
        contestants = list(dict.fromkeys([*self._population, *(one.architecture.choices for one in evaluations)]))
        values_NM = self._proposals.history.values_at(contestants)
        violations_N = violations(values_NM, self._objectives)
        survivors = self._directions.survivors(values_NM, violations_N, self._size, rng=self._rng)
        self._population = [contestants[index] for index in survivors]

    def _offspring(self, count: int, attempt: int) -> IntArray:
        parents_NV = np.array(self._population)
        violations_N = violations(self._proposals.history.values_at(self._population), self._objectives)
        places_N = np.unique(violations_N, return_inverse=True)[1]
        return self._mating.offspring(parents_NV, places_N, count, attempt=attempt)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        population = [list(one) for one in self._population]
        return {**self._proposals.state_dict(), **self._directions.state_dict(), "population": population}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        population = [tuple(map(int, one)) for one in state["population"]]
        self._directions.load_state_dict(state)
        self._proposals.load_state_dict(state)
        self._proposals.history.values_at(population)
        self._population = population
