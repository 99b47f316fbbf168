"""NSGA-II over predictions: only what promises to enlarge the front is evaluated.

Suffixes: N architectures, V variables, M objectives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, choices_of, every_choice, score_choices
from hwnas.predictors import Encoding
from hwnas.predictors.encoding import standardized
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.crowding import fittest_first
from hwnas.strategies.foresight import Foresight
from hwnas.strategies.history import violations
from hwnas.strategies.hyperparameters import require_count, require_share
from hwnas.strategies.improvement import Undominated, worst_corner
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.strategies.variation import Mating

__all__ = ["SurrogateNSGA2"]

FloatArray = npt.NDArray[np.float64]

ENUMERABLE: Final = 2**15
"""Architectures of a space all of which are looked at, in place of a population that evolves."""
CANDIDATES: Final = 1024
"""The most promising architectures, which are looked at again before each batch until the predictors are fitted anew."""
SLACK: Final = 0.01
"""By which share the worst corner lies beyond the costliest architecture, so that this one counts too."""


@dataclass(frozen=True)
class _Fit:
    """When the predictors were fitted anew: after how many evaluations, and what the generator's state was."""

    told: int
    rng: Mapping[str, Any]


class SurrogateNSGA2(SearchStrategy):
    """Expensive objectives are predicted, cheap ones are exact; what is evaluated is chosen by expected hypervolume.

    The first evaluations differ as much as possible, as a predictor sees them. From then on a Gaussian process predicts each
    expensive objective, NSGA-II evolves a population over predictions and exact values (a space of up to 32,768
    architectures is looked at whole), and of all that it came by, those are evaluated that are expected to enlarge the
    hypervolume the most: exactly, in closed form, one after the other, each as if those chosen before had come out as
    predicted. Bounds of cheap objectives are kept at once; those of expensive ones are the corner that hypervolume is
    counted from.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on Evolutionary
    Computation 2002; Lu et al., "NSGANetV2: Evolutionary multi-objective surrogate-assisted neural architecture search",
    ECCV 2020; Yang et al., "Efficient computation of expected hypervolume improvement using box decomposition algorithms",
    Journal of Global Optimization 2019.

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        first_evaluations: before anything is predicted.
        batch_size: evaluations between two predictions.
        refit_growth: by which share the evaluations must have grown for the predictors' hyperparameters to be fitted anew.
        population_size: of the evolution over predictions.
        generations: of that evolution, each time that the predictors are fitted anew.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        first_evaluations: int = 16,
        batch_size: int = 5,
        refit_growth: float = 0.15,
        population_size: int = 100,
        generations: int = 20,
    ) -> None:
        self._first = require_count("first_evaluations of surrogate_nsga2", first_evaluations)
        self._batch_size = require_count("batch_size of surrogate_nsga2", batch_size)
        self._refit_growth = require_share("refit_growth of surrogate_nsga2", refit_growth)
        self._size = require_count("population_size of surrogate_nsga2", population_size, least=4)
        self._generations = require_count("generations of surrogate_nsga2", generations, least=0)
        self._mating = Mating("surrogate_nsga2", space, crossover_rate=0.9, mutation_rate=None, rng=rng)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._proposals = Proposals(space, objectives, rng)
        self._foresight = Foresight(space, objectives)
        self._fit: _Fit | None = None
        self._candidates_NV: IntArray = np.empty((0, len(space.variables)), dtype=np.int64)

    def ask(self) -> list[Candidate]:
        """The first evaluations, then batches of what promises most; empty once nothing is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        history = self._proposals.history
        if not np.isfinite(history.values_NM).all(axis=1).any():
            return self._asked(self._different(self._first))
        self._candidates_NV = self._proposals.worthwhile(self._candidates_NV)
        grown = self._fit is None or len(history) >= self._fit.told * (1 + self._refit_growth)
        if grown or len(self._candidates_NV) < self._batch_size:
            self._refit()
        else:
            self._foresight.fit(history, anew=False)
        return self._asked(self._most_promising(self._candidates_NV, self._batch_size))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes in what was evaluated."""
        self._proposals.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        fit = None if self._fit is None else {"told": self._fit.told, "rng": self._fit.rng}
        return {**self._proposals.state_dict(), "fit": fit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy. The predictors are fitted again, on what they were fitted on."""
        fit = state["fit"]
        self._fit, self._candidates_NV = None, self._candidates_NV[:0]
        if fit is not None:
            told = int(fit["told"])
            before = {name: state["history"][name][:told] for name in ("choices", "values")}
            self._proposals.load_state_dict({"history": before, "rng": fit["rng"]})
            self._refit()
        self._proposals.load_state_dict(state)

    def _asked(self, choices_NV: IntArray) -> list[Candidate]:
        return [Candidate(one) for one in self._space.architectures(choices_NV)]

    def _different(self, count: int) -> IntArray:
        """New architectures that differ much, drawn one by one in proportion to their squared distance from those drawn.

        Arthur & Vassilvitskii, "k-means++", SODA 2007; the distance is that of a predictor's features.
        """
        drawn_NV = (
            self._proposals.of_every_size(CANDIDATES) if self._grid is None else self._proposals.worthwhile(self._grid)
        )
        if not len(drawn_NV):
            return self._proposals.of_every_size(count)  # none; it says why where nothing meets the bounds
        if len(drawn_NV) <= count:
            return drawn_NV
        features_NF = _scaled(Encoding.of(self._space).groups(drawn_NV))
        chosen = [int(self._rng.integers(len(drawn_NV)))]
        gap_N = np.full(len(drawn_NV), np.inf)
        while len(chosen) < count:
            gap_N = np.minimum(gap_N, ((features_NF - features_NF[chosen[-1]]) ** 2).sum(axis=1))
            gap_N[chosen] = 0.0
            shares_N = gap_N if gap_N.sum() > 0 else np.isin(np.arange(len(gap_N)), chosen, invert=True).astype(float)
            chosen.append(int(self._rng.choice(len(gap_N), p=shares_N / shares_N.sum())))
        return drawn_NV[chosen]

    def _refit(self) -> None:
        """Fits the predictors anew and looks for candidates anew."""
        history = self._proposals.history
        self._fit = _Fit(len(history), dict(self._rng.bit_generator.state))
        self._foresight.fit(history, anew=True)
        found_NV = self._evolved() if self._grid is None else self._proposals.worthwhile(self._grid)
        self._candidates_NV = found_NV[np.argsort(-self._gains(found_NV), kind="stable")[:CANDIDATES]]

    def _evolved(self) -> IntArray:
        """All new architectures that an evolution over predictions comes by."""
        history = self._proposals.history
        order_N = fittest_first(history.values_NM, history.violations_N)
        random_NV = self._proposals.of_every_size(self._size)
        population_NV = np.concatenate([history.choices_NV[order_N[: self._size]], random_NV])
        seen = [random_NV]
        for _ in range(self._generations):
            values_NM, spread_NM = self._foresight.expected(population_NV)
            hoped_NM = values_NM - spread_NM
            fittest_N = fittest_first(hoped_NM, violations(hoped_NM, self._objectives))[: self._size]
            parents_NV = population_NV[fittest_N]
            drawn_NV = self._mating.offspring(parents_NV, np.arange(len(parents_NV)), 2 * self._size)
            children_NV = self._proposals.worthwhile(self._space.canonicalize(drawn_NV))[: self._size]
            seen.append(children_NV)
            population_NV = np.unique(np.concatenate([parents_NV, children_NV]), axis=0)
        return np.unique(np.concatenate(seen), axis=0)

    def _gains(self, choices_NV: IntArray) -> FloatArray:
        """The expected gain of hypervolume of each, (N,); where there is none at all, how near the corner it comes."""
        if not len(choices_NV):
            return np.empty(0)
        values_NM, spread_NM = self._foresight.expected(choices_NV)
        undominated = self._undominated()
        gains_N = undominated.expected_improvement(values_NM, spread_NM)
        if gains_N.max() > 0:
            return gains_N
        excess_NM = np.maximum(values_NM - undominated.reference_M, 0.0) / np.maximum(
            np.abs(undominated.reference_M), 1e-12
        )
        lack_N: FloatArray = -excess_NM.sum(axis=1)
        return lack_N

    def _most_promising(self, choices_NV: IntArray, count: int) -> IntArray:
        """The rows that together enlarge the hypervolume the most, chosen one after the other; then the first."""
        if not len(choices_NV):
            return choices_NV
        taken = self._undominated().take(*self._foresight.expected(choices_NV), count=count)
        return choices_NV[list(dict.fromkeys([*taken, *range(len(choices_NV))]))[:count]]

    def _undominated(self) -> Undominated:
        """What the evaluations within all bounds leave to be gained."""
        history = self._proposals.history
        found_M = worst_corner(history.values_NM, self._objectives)
        reference_M = np.where(np.isnan(self._costliest_M), found_M, self._costliest_M)
        return Undominated(reference_M, history.values_NM[history.violations_N == 0])

    @cached_property
    def _costliest_M(self) -> FloatArray:
        """The bound of each cheap objective, or a little more than it can be, (M,); NaN for the expensive ones."""
        some_NV = self._grid
        if some_NV is None:
            ends_NV = choices_of([self._space.smallest(), self._space.largest()])
            drawn_NV = self._space.sample_choices(CANDIDATES, rng=np.random.default_rng(0))
            some_NV = np.concatenate([ends_NV, drawn_NV])
        scores = score_choices(self._space, self._objectives, some_NV)
        found_M = np.full(len(self._objectives), np.nan)
        for column, objective in enumerate(self._objectives):
            if objective.name in scores:
                scored_N = scores[objective.name]
                most = float(scored_N[np.isfinite(scored_N)].max(initial=0.0))
                found_M[column] = most + SLACK * (abs(most) or 1.0) if objective.bound is None else objective.bound
        return found_M

    @cached_property
    def _grid(self) -> IntArray | None:
        """All architectures of a small space, canonical, with repeats."""
        return every_choice(self._space, most=ENUMERABLE)


def _scaled(groups: Sequence[FloatArray]) -> FloatArray:
    """A predictor's features side by side, (N, F), its costs of the size of the others."""
    *others, costs_NK = groups
    return np.hstack([*others, standardized(costs_NK, costs_NK) / 2])
