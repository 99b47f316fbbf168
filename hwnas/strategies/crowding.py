"""Who is fitter: the front that an evaluation is of, and how crowded it is there.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation
2002. Suffixes: N evaluations, M objectives.
"""

import numpy as np
import numpy.typing as npt

from hwnas.spaces import IntArray
from hwnas.strategies.history import constrained_ranks

__all__ = ["crowding_distances", "fittest_first"]

FloatArray = npt.NDArray[np.float64]


def crowding_distances(values_NM: FloatArray) -> FloatArray:
    """The crowding distance of each within one front, (N,): infinite at its ends.

    It is the mean over the objectives of the gap between the neighbours on both sides, as a share of the front's extent.
    """
    count, num_objectives = values_NM.shape
    distance_N = np.zeros(count)
    for values_N in values_NM.T:
        order_N = np.argsort(values_N, kind="stable")
        sorted_N = values_N[order_N]
        extent = sorted_N[-1] - sorted_N[0]
        distance_N[order_N[[0, -1]]] = np.inf
        if extent > 0:
            distance_N[order_N[1:-1]] += (sorted_N[2:] - sorted_N[:-2]) / extent
    mean_N: FloatArray = distance_N / num_objectives
    return mean_N


def fittest_first(values_NM: FloatArray, violations_N: FloatArray) -> IntArray:
    """Indices (N,) by front, those within all bounds first; within a front the least crowded first.

    Args:
        values_NM: to be minimised; NaN where the evaluation failed.
        violations_N: how far each is above its bounds, infinite where it failed.
    """
    ranks_N = constrained_ranks(values_NM, violations_N)
    distance_N = np.zeros(len(values_NM))
    for rank in np.unique(ranks_N[violations_N == 0]):
        members = np.flatnonzero(ranks_N == rank)
        distance_N[members] = crowding_distances(values_NM[members])
    order_N: IntArray = np.lexsort((-distance_N, ranks_N))
    return order_N
