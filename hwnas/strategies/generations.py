"""What NSGA-II and NSGA-III have in common: survivors, their offspring, and who survives among both.

Suffixes: N architectures, V variables, M objectives, S survivors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import violations
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.variation import Mating

__all__ = ["Generations", "Survival"]

FloatArray = npt.NDArray[np.float64]

Survival = Callable[[FloatArray, FloatArray, int], tuple[IntArray, IntArray]]
"""Of values (N, M), violations (N,) and how many may stay: the rows that do, (S,), and the place of each in a tournament."""


class Generations:
    """A population whose survivors mate. The first one holds the smallest, the largest and random architectures.

    Args:
        strategy: whose hyperparameters these are, for the errors.
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        survive: who goes on.
        population_size: survivors of a generation, and its offspring.
        crossover_rate: see `Mating`.
        mutation_rate: likewise.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        strategy: str,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        survive: Survival,
        population_size: int,
        crossover_rate: float,
        mutation_rate: float | None,
    ) -> None:
        self._size = require_count(f"population_size of {strategy}", population_size, least=4)
        self._mating = Mating(strategy, space, crossover_rate=crossover_rate, mutation_rate=mutation_rate, rng=rng)
        self._space, self._objectives, self._survive = space, tuple(objectives), survive
        self._proposals = Proposals(space, objectives, rng)
        self._population: list[tuple[int, ...]] = []
        """The choices of the survivors."""
        self._places_S: IntArray = np.empty(0, dtype=np.int64)

    def ask(self) -> list[Candidate]:
        """The first population, then offspring; empty once no offspring is new. Raises InfeasibleError."""
        if self._population:
            asked_NV = self._proposals.collect(self._size, self._offspring)
        else:
            asked_NV = self._proposals.of_every_size(self._size)
        return [Candidate(one) for one in self._space.architectures(asked_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Survival among parents and offspring."""
        self._proposals.tell(evaluations)
        contestants = list(dict.fromkeys([*self._population, *(one.architecture.choices for one in evaluations)]))
        values_NM = self._proposals.history.values_at(contestants)
        survivors_S, places_S = self._survive(values_NM, violations(values_NM, self._objectives), self._size)
        self._population, self._places_S = [contestants[row] for row in survivors_S], places_S

    def _offspring(self, count: int, attempt: int) -> IntArray:
        return self._mating.offspring(np.array(self._population), self._places_S, count, attempt=attempt)

    def state_dict(self) -> dict[str, Any]:
        """What was told, the generator and the survivors, as JSON."""
        return {
            **self._proposals.state_dict(),
            "population": [list(one) for one in self._population],
            "places": self._places_S.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave. Raises KeyError, TypeError or ValueError where it is none."""
        population = [tuple(map(int, one)) for one in state["population"]]
        places_S = np.array(state["places"], dtype=np.int64)
        if places_S.shape != (len(population),):
            raise ValueError("the state must have a place for each of the population")
        self._proposals.load_state_dict(state)
        self._proposals.history.values_at(population)
        self._population, self._places_S = population, places_S
