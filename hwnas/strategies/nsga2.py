"""NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation, 2002) by pymoo.

The only file that knows pymoo: its letters (X, F, G) do not leave it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import NSGA2 as PymooNSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UX
from pymoo.problems.static import StaticProblem

from hwnas.errors import SettingsError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, check_feasible
from hwnas.spaces import SearchSpace
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["NSGA2"]

Matrix = npt.NDArray[Any]

FAILED = 1e30
"""The violation that stands for a failed evaluation, so that it survives only where all others failed too."""


class NSGA2(SearchStrategy):
    """NSGA-II with uniform crossover, random-reset mutation and constraint domination.

    The first population holds the smallest and the largest architecture, where there are bounds some that meet them, and
    random ones of every size: uniform choices would all cost about the same, far from both ends of the front.

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
        population_size: int = 40,
        crossover_rate: float = 0.9,
        mutation_rate: float | None = None,
    ) -> None:
        if not isinstance(population_size, int) or population_size < 4:
            raise SettingsError(
                "population_size of nsga2", "must be an integer of at least 4", came=f"{population_size} came"
            )
        for name, rate in (("crossover_rate", crossover_rate), ("mutation_rate", mutation_rate)):
            if rate is not None and not 0 <= rate <= 1:
                raise SettingsError(f"{name} of nsga2", "must be from 0 to 1", came=f"{rate} came")
        self._space = space
        self._objectives = tuple(objectives)
        self._constrained = [objective for objective in objectives if objective.bound is not None]
        self._problem = Problem(
            n_var=len(space.variables),
            n_obj=len(self._objectives),
            n_ieq_constr=len(self._constrained),
            xl=np.zeros(len(space.variables), dtype=int),
            xu=space.num_options_V - 1,
            vtype=int,
        )
        self._algorithm = PymooNSGA2(
            pop_size=population_size,
            sampling=_FirstPopulation(space, objectives, rng),
            crossover=UX(prob=crossover_rate),
            mutation=_RandomReset(space, 1 / len(space.variables) if mutation_rate is None else mutation_rate),
            repair=_Canonical(space),
        )
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=int(rng.integers(2**31)))
        self._population: Any = None

    def ask(self) -> list[Candidate]:
        """The first population, then offspring; empty once no offspring is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        self._population = self._algorithm.ask()
        if self._population is None or len(self._population) == 0:
            return []
        return [Candidate(a) for a in self._space.architectures(self._population.get("X").astype(np.int64))]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Survival of the fittest among parents and offspring."""
        values = np.array([[self._value(one, objective) for objective in self._objectives] for one in evaluations])
        data = {"F": values}
        if self._constrained:
            violations = [[self._violation(one, objective) for objective in self._constrained] for one in evaluations]
            data["G"] = np.array(violations)
        Evaluator().eval(StaticProblem(self._problem, **data), self._population)
        self._algorithm.tell(infills=self._population)

    def _value(self, evaluation: Evaluation, objective: Objective) -> float:
        return FAILED if evaluation.failure is not None else evaluation.values[objective.name]

    def _violation(self, evaluation: Evaluation, objective: Objective) -> float:
        if evaluation.failure is not None:
            return FAILED
        bound = objective.bound if objective.bound is not None else np.inf
        return float((evaluation.values[objective.name] - bound) / max(abs(bound), 1e-12))


class _FirstPopulation(Sampling):  # type: ignore[misc]
    """The smallest, the largest, some that meet the bounds, and random architectures of every size."""

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], rng: np.random.Generator) -> None:
        super().__init__()
        self._space, self._objectives, self._rng = space, objectives, rng

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Matrix:  # noqa: ARG002  pymoo's signature
        extremes = np.array([self._space.smallest().choices, self._space.largest().choices])
        first = extremes
        if any(objective.bound is not None for objective in self._objectives):
            feasible = check_feasible(self._space, self._objectives, rng=self._rng, starts=max(2, n_samples // 2))
            first = np.concatenate([extremes, feasible])[:n_samples]
        sizes_N = self._rng.random(4 * n_samples)  # some repeat others, mostly near the ends
        rest = self._rng.binomial(self._space.num_options_V - 1, sizes_N[:, None])
        drawn = np.concatenate([first, self._space.canonicalize(rest)])
        _, distinct = np.unique(drawn, axis=0, return_index=True)
        return drawn[np.sort(distinct)[:n_samples]]


class _RandomReset(Mutation):  # type: ignore[misc]
    """Each variable takes another of its options with a given chance."""

    def __init__(self, space: SearchSpace, rate: float) -> None:
        super().__init__()
        self._space, self._rate = space, rate

    def _do(self, problem: Any, X: Matrix, *args: Any, random_state: Any, **kwargs: Any) -> Matrix:  # noqa: ARG002
        options_V = self._space.num_options_V
        changed = (random_state.random(X.shape) < self._rate) & (options_V > 1)
        shift = random_state.integers(1, np.maximum(options_V, 2), size=X.shape)
        return np.where(changed, (X + shift) % options_V, X)


class _Canonical(Repair):  # type: ignore[misc]
    """Gives encodings of the same network the same choices, so that duplicates are seen."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, X: Matrix, **kwargs: Any) -> Matrix:  # noqa: ARG002
        return self._space.canonicalize(X.astype(np.int64))
