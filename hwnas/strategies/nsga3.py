"""NSGA-III (Deb & Jain, IEEE Transactions on Evolutionary Computation, 2014) over architectures, for many objectives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.generations import Generations
from hwnas.strategies.reference_directions import ReferenceDirections
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["NSGA3"]

FloatArray = npt.NDArray[np.float64]


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
        self._generations = Generations(
            "nsga3",
            space,
            objectives,
            rng=rng,
            survive=self._survive,
            population_size=population_size,
            crossover_rate=crossover_rate,
            mutation_rate=mutation_rate,
        )
        self._directions = ReferenceDirections(len(objectives), population_size)
        self._rng = rng

    def ask(self) -> list[Candidate]:
        """The first population, then offspring; empty once no offspring is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        return self._generations.ask()

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Survival among parents and offspring, by front and then by reference direction."""
        self._generations.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return {**self._generations.state_dict(), **self._directions.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._directions.load_state_dict(state)
        self._generations.load_state_dict(state)

    def _survive(self, values_NM: FloatArray, violations_N: FloatArray, size: int) -> tuple[IntArray, IntArray]:
        """Those of the best fronts and then of the emptiest directions; who is less above its bounds wins a tournament."""
        survivors_S = self._directions.survivors(values_NM, violations_N, size, rng=self._rng)
        return survivors_S, np.unique(violations_N[survivors_S], return_inverse=True)[1]
