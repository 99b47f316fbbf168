"""NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation, 2002) over architectures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.crowding import fittest_first
from hwnas.strategies.generations import Generations
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["NSGA2"]

FloatArray = npt.NDArray[np.float64]


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
        self._generations = Generations(
            "nsga2",
            space,
            objectives,
            rng=rng,
            survive=self._survive,
            population_size=population_size,
            crossover_rate=crossover_rate,
            mutation_rate=mutation_rate,
        )

    def ask(self) -> list[Candidate]:
        """The first population, then offspring; empty once no offspring is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        return self._generations.ask()

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Survival of the fittest among parents and offspring."""
        self._generations.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return self._generations.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._generations.load_state_dict(state)

    @staticmethod
    def _survive(values_NM: FloatArray, violations_N: FloatArray, size: int) -> tuple[IntArray, IntArray]:
        """Those of the best fronts, of a front the least crowded; the fitter wins a tournament."""
        survivors_S = fittest_first(values_NM, violations_N)[:size]
        return survivors_S, np.arange(len(survivors_S))
