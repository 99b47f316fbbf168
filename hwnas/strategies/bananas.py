"""BANANAS (White, Neiswanger & Savani, AAAI 2021), for any number of objectives.

Suffixes: N architectures, V variables, F features, M objectives, P parents, K of a front.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, score_choices
from hwnas.predictors import NeuralEnsemble
from hwnas.predictors.encoding import standardized
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import constrained_ranks, violations
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.improvement import Undominated, worst_corner
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.strategies.variation import change_one

__all__ = ["BANANAS"]

FloatArray = npt.NDArray[np.float64]

LEAST_TOLD: Final = 2
"""Evaluations that did not fail, before an ensemble is trained."""
RANDOM_SHARE: Final = 0.1
"""Random architectures that are drawn beside mutants, as a share of these."""
BEYOND: Final = 1.0
"""How far beyond the worst values of the front its hypervolume reaches, as a share of their range: its ends count, too."""
MOST_MEMBERS: Final = 100
MOST_UNITS: Final = 1024


class BANANAS(SearchStrategy):
    """Mutants of the best architectures, chosen by what an ensemble of neural networks guesses of them.

    For every expensive objective an ensemble learns its values from the architecture's path encoding and from the cheap
    objectives, which are exact. Of each candidate one value is drawn from each ensemble's mean and deviation
    (independent Thompson sampling); of the values so drawn, a batch takes one after another the one that adds most to the
    hypervolume of the front.

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        initial_size: random architectures before anything is learned.
        batch_size: architectures asked for at a time.
        parents: how many of the best, at least, are mutated.
        mutants: new architectures among which a batch is chosen.
        ensemble_size: networks of an ensemble.
        hidden_width: neurons in each of their two hidden layers.
        training_steps: with which an ensemble is trained before each batch.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        initial_size: int = 20,
        batch_size: int = 10,
        parents: int = 20,
        mutants: int = 500,
        ensemble_size: int = 5,
        hidden_width: int = 32,
        training_steps: int = 400,
    ) -> None:
        self._initial_size = require_count("initial_size of bananas", initial_size)
        self._batch_size = require_count("batch_size of bananas", batch_size)
        self._parents = require_count("parents of bananas", parents)
        self._mutants = require_count("mutants of bananas", mutants)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._ensemble = NeuralEnsemble(
            members=require_count("ensemble_size of bananas", ensemble_size, least=2, most=MOST_MEMBERS),
            hidden_width=require_count("hidden_width of bananas", hidden_width, most=MOST_UNITS),
            steps=require_count("training_steps of bananas", training_steps),
        )
        self._proposals = Proposals(space, objectives, rng)

    def ask(self) -> list[Candidate]:
        """Random architectures of every size at first, then batches; fewer, and at last none, where little is new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        history = self._proposals.history
        if np.isfinite(history.violations_N).sum() < LEAST_TOLD:
            chosen_NV = self._proposals.of_every_size(self._initial_size)
        else:
            chosen_NV = self._proposals.collect(self._mutants, self._draw)
            if len(chosen_NV):
                chosen_NV = chosen_NV[self._choose(self._sample(chosen_NV))]
        return [Candidate(one) for one in self._space.architectures(chosen_NV)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Keeps them; the ensembles learn them when it is asked next."""
        self._proposals.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """What was told, and the generator: the ensembles are trained anew from these for each batch."""
        return self._proposals.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy.load_state_dict."""
        self._proposals.load_state_dict(state)

    def _draw(self, count: int, attempt: int) -> IntArray:
        """Mutants of the best-ranked, and some random architectures, so that no part of the space is out of reach."""
        history, rng, space = self._proposals.history, self._rng, self._space
        ranks_N = constrained_ranks(history.values_NM, history.violations_N)
        worst = np.sort(ranks_N)[: self._parents][-1]
        parents_PV = history.choices_NV[ranks_N <= worst]
        drawn_NV = parents_PV[rng.integers(len(parents_PV), size=count)]
        mutants_NV = change_one(drawn_NV, space.num_options_V, rng=rng, attempt=attempt)
        return np.concatenate([space.sample_choices(math.ceil(RANDOM_SHARE * count), rng=rng), mutants_NV])

    def _exact(self, choices_NV: IntArray) -> FloatArray:
        """The values of the cheap objectives, (N, M), 0 for the others."""
        cheap = score_choices(self._space, self._objectives, choices_NV)
        return np.stack([cheap.get(one.name, np.zeros(len(choices_NV))) for one in self._objectives], axis=1)

    def _sample(self, choices_NV: IntArray) -> FloatArray:
        """Values of each, (N, M): exact where that is cheap, drawn from what the ensembles know elsewhere."""
        history = self._proposals.history
        sound_N = np.isfinite(history.violations_N)
        told_NV, told_NM = history.choices_NV[sound_N], history.values_NM[sound_N]
        both_NV = np.concatenate([told_NV, choices_NV])
        exact_NM = self._exact(both_NV)
        features_NF = np.hstack([self._space.path_encoding(both_NV), standardized(exact_NM, exact_NM)])
        told_NF, new_NF = np.split(features_NF, [len(told_NV)])
        values_NM = exact_NM[len(told_NV) :]
        for index, objective in enumerate(self._objectives):
            if objective.cost == "expensive":
                self._ensemble.fit(told_NF, told_NM[:, index], rng=self._rng)
                values_NM[:, index] = self._ensemble.sample(new_NF, rng=self._rng)
        return values_NM

    def _choose(self, sampled_NM: FloatArray) -> npt.NDArray[np.intp]:
        """A batch of those whose sampled values add most to the front's hypervolume, and then of those of best rank."""
        history = self._proposals.history
        violations_N = violations(sampled_NM, self._objectives)
        within = np.flatnonzero(violations_N == 0)
        front_KM = history.values_NM[history.violations_N == 0]
        within_NM = sampled_NM[within]
        corner_M = worst_corner(np.concatenate([front_KM, sampled_NM]), self._objectives, beyond=BEYOND)
        undominated = Undominated(corner_M, front_KM)
        taken = undominated.take(within_NM, np.zeros_like(within_NM), count=self._batch_size)
        ranked = np.argsort(constrained_ranks(sampled_NM, violations_N), kind="stable")
        return np.array(list(dict.fromkeys([*within[taken], *ranked]))[: self._batch_size])
