"""What a strategy expects of architectures before they are evaluated: cheap objectives exactly, expensive ones predicted.

Suffixes: N architectures, V variables, M objectives.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.objectives import Objective, score_choices
from hwnas.predictors import AccuracyPredictor, Encoding, make_predictor
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import History
from hwnas.strategies.improvement import worst_corner

__all__ = ["Foresight"]

FloatArray = npt.NDArray[np.float64]

BAD: Final = 0.3
"""By how much of the way from the best to the worst corner values beyond it are still told apart."""


class Foresight:
    """Predictors of the expensive objectives, fitted on what a search was told, beside the exact cheap ones.

    An evaluation that failed counts as one of the worst that were found, so that its like are avoided. What lies far beyond
    the worst corner, and is worse than half of all, is taken as alike: the predictors need not tell bad from worse.

    Args:
        space: of the architectures.
        objectives: to be foreseen.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective]) -> None:
        self._space = space
        self._objectives = tuple(objectives)
        encoding = Encoding.of(space)
        self._predictors: dict[str, AccuracyPredictor] = {
            one.name: make_predictor(encoding) for one in objectives if one.cost == "expensive"
        }
        self._lowest: dict[str, float] = {}

    def fit(self, history: History, *, anew: bool) -> None:
        """Learns from what was told, at least one evaluation that did not fail; `anew`: hyperparameters included."""
        values_NM, reference_M = history.values_NM, worst_corner(history.values_NM, self._objectives)
        choices_NV = history.choices_NV
        for values_N, worst, objective in zip(values_NM.T, reference_M, self._objectives, strict=True):
            predictor = self._predictors.get(objective.name)
            if predictor is None:
                continue
            sound_N = values_N[np.isfinite(values_N)]
            self._lowest[objective.name] = min(float(sound_N.min()), 0.0)
            most = max(worst + BAD * (worst - float(sound_N.min())), float(np.median(sound_N)))
            known_N = np.minimum(np.where(np.isfinite(values_N), values_N, sound_N.max()), most)
            (predictor.fit if anew else predictor.update)(choices_NV, known_N - self._lowest[objective.name])

    def expected(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values of canonical choices and by how much they may be lower, (N, M) each; the latter 0 where they are exact."""
        exact = score_choices(self._space, self._objectives, choices_NV)
        values_NM = np.empty((len(choices_NV), len(self._objectives)))
        spread_NM = np.zeros_like(values_NM)
        for column, objective in enumerate(self._objectives):
            if objective.name in exact:
                values_NM[:, column] = exact[objective.name]
            else:
                values_NM[:, column], spread_NM[:, column] = self._predictors[objective.name].lower_tail(choices_NV)
                values_NM[:, column] += self._lowest[objective.name]
        return values_NM, spread_NM
