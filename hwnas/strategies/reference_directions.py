"""Survival by reference directions, which spreads a front of many objectives where crowding distances no longer do.

Deb & Jain, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting
approach, part I", IEEE Transactions on Evolutionary Computation 2014. Suffixes: N evaluations, M objectives, D directions.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.spaces import IntArray
from hwnas.strategies.history import constrained_ranks

__all__ = ["ReferenceDirections", "das_dennis"]

FloatArray = npt.NDArray[np.float64]

OFF_AXIS: Final = 1e6
"""What the achievement function that finds extreme points multiplies every objective but one by."""


def das_dennis(num_objectives: int, most: int) -> FloatArray:
    """Points evenly spread on the simplex, (D, M), each of sum 1: the finest such lattice of at most `most` points.

    Its M corners are always there. Das & Dennis, SIAM Journal on Optimization 1998.
    """
    partitions = 1
    while num_objectives > 1 and math.comb(partitions + num_objectives, num_objectives - 1) <= most:
        partitions += 1
    bars = itertools.combinations(range(partitions + num_objectives - 1), num_objectives - 1)
    edges = np.array([(-1, *places, partitions + num_objectives - 1) for places in bars])
    lattice_DM: FloatArray = (np.diff(edges, axis=1) - 1) / partitions
    return lattice_DM


class ReferenceDirections:
    """Chooses survivors so that each direction from the ideal point keeps about as many.

    Args:
        num_objectives: M.
        most: how many directions there may be.

    Attributes:
        directions_DM: points of the unit simplex that the directions lead to.
    """

    def __init__(self, num_objectives: int, most: int) -> None:
        self.directions_DM = das_dennis(num_objectives, most)
        self._ideal_M = np.full(num_objectives, np.inf)
        self._extreme_MM = np.empty((0, num_objectives))

    def survivors(
        self, values_NM: FloatArray, violations_N: FloatArray, count: int, *, rng: np.random.Generator
    ) -> IntArray:
        """Indices (count,), or of all where there are no more: whole fronts, then by niche.

        Args:
            values_NM: to be minimised; NaN where the evaluation failed.
            violations_N: how far each is above its bounds; those above come last, by how far.
            count: of survivors.
            rng: draws among equals.
        """
        ranks_N = constrained_ranks(values_NM, violations_N)
        order_N: IntArray = np.argsort(ranks_N, kind="stable")
        within = order_N[violations_N[order_N] == 0]
        if len(within) == 0:
            return order_N[:count]
        shares_NM = self._normalize(values_NM[within], front=values_NM[within[ranks_N[within] == 0]])
        if len(within) <= count:
            return order_N[:count]
        last = ranks_N[within[count - 1]]
        certain_N = ranks_N[within] < last
        contested = np.flatnonzero(ranks_N[within] == last)
        niche_N, distance_N = self._associate(shares_NM)
        chosen = self._fill(niche_N, distance_N, np.flatnonzero(certain_N), contested, count=count, rng=rng)
        survivors: IntArray = within[chosen]
        return survivors

    def _normalize(self, values_NM: FloatArray, *, front: FloatArray) -> FloatArray:
        """Each objective from the ideal point, at 0, to where the plane through the extreme points meets its axis, at 1."""
        self._ideal_M = np.minimum(self._ideal_M, values_NM.min(axis=0))
        seen_NM = np.concatenate([self._extreme_MM, front])
        weights_MM = np.where(np.eye(len(self._ideal_M), dtype=np.bool_), 1.0, OFF_AXIS)
        extent_M = np.ptp(front, axis=0)
        scale_M = np.where(extent_M > 0, extent_M, 1.0)
        scaled_NM = (seen_NM - self._ideal_M) / scale_M
        reach_MN = (scaled_NM[None] * weights_MM[:, None]).max(axis=2)
        self._extreme_MM = seen_NM[reach_MN.argmin(axis=1)]
        intercepts_M = _intercepts((self._extreme_MM - self._ideal_M) / scale_M)
        span_M = (front.max(axis=0) - self._ideal_M) if intercepts_M is None else intercepts_M * scale_M
        shares_NM: FloatArray = (values_NM - self._ideal_M) / np.where(span_M > 0, span_M, 1.0)
        return shares_NM

    def _associate(self, shares_NM: FloatArray) -> tuple[IntArray, FloatArray]:
        """The direction that each is nearest to and its distance from it, both (N,)."""
        unit_DM = self.directions_DM / np.linalg.norm(self.directions_DM, axis=1, keepdims=True)
        along_ND = shares_NM @ unit_DM.T
        across_ND = np.sqrt(np.maximum((shares_NM**2).sum(axis=1, keepdims=True) - along_ND**2, 0.0))
        nearest_N: IntArray = across_ND.argmin(axis=1)
        return nearest_N, across_ND[np.arange(len(shares_NM)), nearest_N]

    def _fill(
        self,
        niche_N: IntArray,
        distance_N: FloatArray,
        chosen: IntArray,
        contested: IntArray,
        *,
        count: int,
        rng: np.random.Generator,
    ) -> IntArray:
        """`chosen` and as many of the `contested` as make `count`, those of the emptiest niches."""
        found, waiting = chosen.tolist(), contested.tolist()
        crowd_D = np.bincount(niche_N[chosen], minlength=len(self.directions_DM))
        while len(found) < count:
            crowds = crowd_D[niche_N[waiting]]
            emptiest = np.unique(niche_N[waiting][crowds == crowds.min()])
            niche = int(rng.choice(emptiest))
            of_niche = [one for one in waiting if niche_N[one] == niche]
            nearest = int(np.argmin(distance_N[of_niche])) if crowd_D[niche] == 0 else int(rng.integers(len(of_niche)))
            found.append(of_niche[nearest])
            waiting.remove(of_niche[nearest])
            crowd_D[niche] += 1
        return np.array(found, dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The ideal point and the extreme points, as JSON."""
        ideal = self._ideal_M.tolist() if len(self._extreme_MM) else None
        return {"ideal": ideal, "extremes": self._extreme_MM.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave. Raises KeyError, TypeError or ValueError where it is none."""
        num_objectives = self.directions_DM.shape[1]
        extremes, ideal = state["extremes"], state["ideal"]
        self._extreme_MM = np.array(extremes, dtype=np.float64).reshape(len(extremes), num_objectives)
        self._ideal_M = np.array([np.inf] * num_objectives if ideal is None else ideal, dtype=np.float64)
        if self._ideal_M.shape != (num_objectives,):
            raise ValueError(f"the ideal point must have {num_objectives} values")


def _intercepts(extreme_MM: FloatArray) -> FloatArray | None:
    """Where the plane through M points meets the axes, (M,); None where they span none, or one that leaves the orthant."""
    try:
        inverse_M = np.linalg.solve(extreme_MM, np.ones(len(extreme_MM)))
    except np.linalg.LinAlgError:
        return None
    if not (np.isfinite(inverse_M).all() and (inverse_M > 1e-6).all()):
        return None
    intercepts_M: FloatArray = 1 / inverse_M
    return intercepts_M
