"""By how much an architecture is expected to enlarge the hypervolume of a front, exactly.

What the front leaves undominated, up to a reference point, is cut into boxes. In each box the improvement is a product
over objectives, so that with independent normal predictions its expectation is a product of one-dimensional integrals in
closed form; an objective that is known exactly is one whose deviation is 0.

Suffixes: N architectures, B boxes, K of a front, M objectives.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from hwnas.front import non_dominated
from hwnas.objectives import Objective
from hwnas.strategies.history import violations

__all__ = ["Undominated", "worst_corner"]

FloatArray = npt.NDArray[np.float64]

ROOT_TWO_PI: Final = float(np.sqrt(2 * np.pi))
BEYOND: Final = 0.1
"""By how much of its extent the worst corner lies behind a front."""


class Undominated:
    """What a front leaves undominated below a reference point, as disjoint boxes.

    Local upper bounds, each with the points that define it, are updated point by point (Klamroth, Lacour & Vanderpooten,
    EJOR 2015); each is the corner of one box (Lacour, Klamroth & Fonseca, Computers & Operations Research 2017).

    Args:
        reference_M: the worst corner; points that do not lie below it in every objective change nothing.
        front_KM: points whose dominated part is taken away at once, dominated ones among them or not.

    Attributes:
        reference_M: the same.
    """

    def __init__(self, reference_M: FloatArray, front_KM: FloatArray) -> None:
        count = len(reference_M)
        self.reference_M = np.asarray(reference_M, dtype=np.float64)
        self._upper_BM = self.reference_M[None].copy()
        self._defining_BMM = np.full((1, count, count), -np.inf)
        self._defining_BMM[0, np.arange(count), np.arange(count)] = self.reference_M
        for point_M in front_KM[non_dominated(front_KM)] if len(front_KM) else front_KM:
            self.add(point_M)

    def add(self, point_M: FloatArray) -> None:
        """Takes away what `point_M` dominates."""
        if not (point_M < self.reference_M).all():
            return
        inside_B = (point_M < self._upper_BM).all(axis=1)
        if not inside_B.any():
            return
        upper_BM, defining_BMM = self._upper_BM[inside_B], self._defining_BMM[inside_B]
        uppers, definings = [self._upper_BM[~inside_B]], [self._defining_BMM[~inside_B]]
        for one in range(len(point_M)):
            others = [other for other in range(len(point_M)) if other != one]
            kept_B = point_M[one] >= defining_BMM[:, others, one].max(axis=1, initial=-np.inf)
            upper, defining = upper_BM[kept_B].copy(), defining_BMM[kept_B].copy()
            upper[:, one] = point_M[one]
            defining[:, one] = point_M
            uppers.append(upper)
            definings.append(defining)
        self._upper_BM, self._defining_BMM = np.concatenate(uppers), np.concatenate(definings)

    def boxes(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper corners, (B, M) each; the lower ones reach to minus infinity where nothing is better."""
        lower_BM = np.full_like(self._upper_BM, -np.inf)
        for one in range(1, lower_BM.shape[1]):
            lower_BM[:, one] = self._defining_BMM[:, :one, one].max(axis=1)
        full_B = (lower_BM < self._upper_BM).all(axis=1)
        return lower_BM[full_B], self._upper_BM[full_B]

    def expected_improvement(self, mean_NM: FloatArray, std_NM: FloatArray) -> FloatArray:
        """The expected gain of hypervolume of each architecture alone, (N,).

        Args:
            mean_NM: predicted values, the exact value where it is known.
            std_NM: their deviations, 0 where the value is known.
        """
        lower_BM, upper_BM = self.boxes()
        gain_NB = np.ones((len(mean_NM), len(upper_BM)))
        for one in range(mean_NM.shape[1]):
            edges, place = np.unique(np.concatenate([lower_BM[:, one], upper_BM[:, one]]), return_inverse=True)
            below_NE = _mean_below(edges, mean_NM[:, one], std_NM[:, one])
            lower, upper = place[: len(lower_BM)], place[len(lower_BM) :]
            gain_NB *= below_NE[:, upper] - below_NE[:, lower]
        found: FloatArray = gain_NB.sum(axis=1)
        return found

    def take(self, mean_NM: FloatArray, std_NM: FloatArray, *, count: int) -> list[int]:
        """Adds at most `count` architectures, each the one expected to gain most once those before came out as predicted.

        Args:
            mean_NM: as for `expected_improvement`.
            std_NM: likewise.
            count: at most.

        Returns:
            Their rows in that order; fewer where no other gains anything.
        """
        taken: list[int] = []
        while len(taken) < min(count, len(mean_NM)):
            gains_N = self.expected_improvement(mean_NM, std_NM)
            gains_N[taken] = 0.0
            best = int(gains_N.argmax())
            if gains_N[best] <= 0:
                break
            taken.append(best)
            self.add(mean_NM[best])
        return taken


def worst_corner(values_NM: FloatArray, objectives: Sequence[Objective], *, beyond: float = BEYOND) -> FloatArray:
    """The worst corner that a front is to be improved up to, (M,): the bounds, else a little behind the front.

    Where no row is within all bounds, or the front has no extent, all rows stand for the front.

    Args:
        values_NM: at least one row without NaN.
        objectives: whose values they are.
        beyond: how far behind the front the corner lies, as a share of the front's extent.
    """
    sound_NM = values_NM[np.isfinite(values_NM).all(axis=1)]
    within_NM = sound_NM[violations(sound_NM, objectives) == 0]
    front_NM = within_NM[non_dominated(within_NM)] if len(within_NM) else sound_NM
    found_M = np.empty(len(objectives))
    for column, objective in enumerate(objectives):
        values_N = front_NM[:, column] if np.ptp(front_NM[:, column]) > 0 else sound_NM[:, column]
        size = np.ptp(values_N) or abs(values_N[0]) or 1.0
        found_M[column] = values_N.max() + beyond * size if objective.bound is None else objective.bound
    return found_M


def _mean_below(edges_E: FloatArray, mean_N: FloatArray, std_N: FloatArray) -> FloatArray:
    """By how much values lie below each edge, in expectation, (N, E); 0 at minus infinity."""
    finite_E = np.where(np.isfinite(edges_E), edges_E, 0.0)
    gap_NE = finite_E - mean_N[:, None]
    if std_N.any():
        z_NE = gap_NE / np.maximum(std_N, 1e-12)[:, None]
        below_NE = gap_NE * ndtr(z_NE) + std_N[:, None] * np.exp(-z_NE * z_NE / 2) / ROOT_TWO_PI
    else:
        below_NE = np.maximum(gap_NE, 0.0)
    return np.where(np.isfinite(edges_E), below_NE, 0.0)
