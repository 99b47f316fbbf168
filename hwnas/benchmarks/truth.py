"""Truth: the front of all recorded architectures, and which share of it a search has found.

Suffixes: N recorded architectures, V variables, M objectives.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from hwnas.benchmarks.benchmark import Benchmark, BoolArray, FloatArray, Scale
from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Candidate, Evaluation, ParetoFront, hypervolume, pareto_front
from hwnas.objectives import Objective
from hwnas.spaces import IntArray

__all__ = ["Truth"]


class Truth:
    """What exhaustion says of a benchmark.

    The considered architectures are those of `Benchmark.considered` that meet all bounds. A hypervolume is of values
    scaled to [0, 1] over the considered architectures, bounds aside, with 1 as the reference point.

    Args:
        benchmark: whose architectures.
        objectives: of this benchmark, to be minimised within their bounds.

    Raises:
        SettingsError: no true front is known, or no architecture is considered.
        InfeasibleError: no architecture meets the bounds.
    """

    def __init__(self, benchmark: Benchmark, objectives: Sequence[Objective]) -> None:
        if benchmark.computed:
            must = "must have recorded all architectures of its space for a true front to be known"
            raise SettingsError(f"The benchmark {benchmark.name}", must, came="it foretells most of them")
        self.benchmark = benchmark
        self.objectives = tuple(objectives)
        self.scale: Scale = benchmark.scale(objectives)
        self.values_NM: FloatArray = benchmark.values_NM(objectives)
        bounds_M = [np.inf if one.bound is None else one.bound for one in objectives]
        self.considered_N: BoolArray = benchmark.considered(objectives) & (self.values_NM <= bounds_M).all(axis=1)
        if not self.considered_N.any():
            bounds = " and ".join(f"{o.name} <= {o.bound:.12g} {o.unit}" for o in objectives if o.bound is not None)
            came = f"none of those recorded on {benchmark.data} does"
            raise InfeasibleError(
                f"The bounds {bounds}", f"must be met by an architecture of {benchmark.name}", came=came
            )

    @cached_property
    def front(self) -> ParetoFront:
        """The architectures that no other dominates; of equal values the first recorded."""
        considered = np.flatnonzero(self.considered_N)
        architectures = self.benchmark.space.architectures(self.benchmark.choices_NV[considered])
        names = [objective.name for objective in self.objectives]
        evaluations = [
            Evaluation(Candidate(architecture), dict(zip(names, values, strict=True)))
            for architecture, values in zip(architectures, self.values_NM[considered].tolist(), strict=True)
        ]
        return pareto_front(evaluations, self.objectives)

    @cached_property
    def hypervolume(self) -> float:
        """Of the true front."""
        return self._hypervolume(self.considered_N)

    def share(self, choices_NV: IntArray) -> float:
        """The hypervolume of these evaluated architectures as a share of the true one, from 0 to 1.

        Args:
            choices_NV: canonical; those that are not recorded, or not considered, add nothing.
        """
        found_N = np.zeros_like(self.considered_N)
        positions = self.benchmark.positions(choices_NV)
        found_N[positions[positions >= 0]] = True
        found = self._hypervolume(found_N & self.considered_N)
        return found / self.hypervolume if self.hypervolume > 0 else float((found_N & self.considered_N).any())

    def _hypervolume(self, rows_N: BoolArray) -> float:
        return hypervolume(self.scale(self.values_NM[rows_N]), [1.0] * len(self.objectives))
