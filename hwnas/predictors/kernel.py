"""How alike the errors of two architectures are expected to be: the covariance of a Gaussian process.

A constant, a linear function of every group of features (what each decision adds by itself), and a smooth function of all
groups together (what decisions do to each other), whose kernel is Matérn's of smoothness 5/2.

Suffixes: N, M architectures, G groups of features, F features, P parameters, R random features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Kernel", "KernelGradient", "RandomFunction"]

FloatArray = npt.NDArray[np.float64]
Groups = Sequence[FloatArray]


@dataclass(frozen=True)
class Kernel:
    """A covariance of warped errors, which have mean 0 and deviation 1.

    Attributes:
        linear_G: variance of the weights of each group.
        variance: of the smooth function.
        lengths_G: distance in each group over which it changes.
    """

    linear_G: FloatArray
    variance: float
    lengths_G: FloatArray

    @staticmethod
    def of(logarithms_P: FloatArray) -> "Kernel":
        """The kernel with these logarithms of its linear_G, variance and lengths_G, in that order."""
        groups = len(logarithms_P) // 2
        values_P = np.exp(logarithms_P)
        return Kernel(values_P[:groups], float(values_P[groups]), values_P[groups + 1 :])

    def covariance(self, first: Groups, second: Groups) -> FloatArray:
        """(N, M), of architectures with groups of features (N, F) and (M, F)."""
        lines_NF, lines_MF = self.lines(first), self.lines(second)
        places_NF, places_MF = self.places(first), self.places(second)
        smooth_NM, _ = matern(_squared_distances(places_NF, places_MF))
        smooth_NM *= self.variance
        smooth_NM += lines_NF @ lines_MF.T
        return smooth_NM

    def variances(self, groups: Groups) -> FloatArray:
        """The diagonal of `covariance(groups, groups)`, (N,)."""
        found: FloatArray = (self.lines(groups) ** 2).sum(axis=1) + self.variance
        return found

    def lines(self, groups: Groups) -> FloatArray:
        """Features (N, F), the constant first, whose scalar product is the constant and linear part."""
        scaled = [np.sqrt(weight) * group for weight, group in zip(self.linear_G, groups, strict=True)]
        return np.hstack([np.ones((len(groups[0]), 1)), *scaled])

    def places(self, groups: Groups) -> FloatArray:
        """Features (N, F) whose distance is that of the smooth part."""
        return np.hstack([group / length for length, group in zip(self.lengths_G, groups, strict=True)])


@dataclass(frozen=True)
class KernelGradient:
    """The covariance of some architectures, with its derivatives.

    Attributes:
        groups: the features of the architectures, (N, F) each.
    """

    groups: Groups

    @cached_property
    def _products_GNN(self) -> FloatArray:
        return np.array([group @ group.T for group in self.groups])

    @cached_property
    def _distances_GNN(self) -> FloatArray:
        return np.array([_squared_distances(group, group) for group in self.groups])

    def covariance(self, logarithms_P: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The covariance (N, N) of the kernel of `logarithms_P`, and what `slopes` wants."""
        kernel = Kernel.of(logarithms_P)
        smooth_NN, change_NN = matern(np.tensordot(kernel.lengths_G**-2, self._distances_GNN, 1))
        covariance_NN = 1.0 + np.tensordot(kernel.linear_G, self._products_GNN, 1) + kernel.variance * smooth_NN
        return covariance_NN, change_NN

    def slopes(
        self, logarithms_P: FloatArray, covariance_NN: FloatArray, change_NN: FloatArray, weights_NN: FloatArray
    ) -> FloatArray:
        """The derivatives (P,) of the sum of covariance * weights by `logarithms_P`."""
        kernel = Kernel.of(logarithms_P)
        linear_G = kernel.linear_G * np.tensordot(self._products_GNN, weights_NN, 2)
        smooth = (covariance_NN * weights_NN).sum() - weights_NN.sum() - linear_G.sum()
        by_distance_NN = kernel.variance * change_NN * weights_NN
        lengths_G = -2 * kernel.lengths_G**-2 * np.tensordot(self._distances_GNN, by_distance_NN, 2)
        return np.concatenate([linear_G, [smooth], lengths_G])


class RandomFunction:
    """Functions drawn from the process of a kernel, the smooth part through random Fourier features.

    Rahimi & Recht, NeurIPS 2007; the spectrum of Matérn's kernel is Student's distribution with 5 degrees of freedom.

    Args:
        kernel: of the process.
        groups: features of any architectures of the space, for their numbers.
        draws: how many functions.
        rng: for them.
        features: random features of each.
    """

    def __init__(
        self, kernel: Kernel, groups: Groups, *, draws: int, rng: np.random.Generator, features: int = 1024
    ) -> None:
        self._kernel = kernel
        lines, places = (sum(group.shape[1] for group in groups) + 1, sum(group.shape[1] for group in groups))
        tails_R = np.sqrt(rng.chisquare(5, features) / 5)
        self._frequencies_FR = rng.standard_normal((places, features)) / tails_R
        self._phases_R = rng.uniform(0, 2 * np.pi, features)
        self._weights_RD = rng.standard_normal((features, draws)) * np.sqrt(2 * kernel.variance / features)
        self._slopes_FD = rng.standard_normal((lines, draws))

    def __call__(self, groups: Groups) -> FloatArray:
        """The values (N, D) of the functions for architectures with these features."""
        waves_NR = np.cos(self._kernel.places(groups) @ self._frequencies_FR + self._phases_R)
        values_ND: FloatArray = self._kernel.lines(groups) @ self._slopes_FD + waves_NR @ self._weights_RD
        return values_ND


def matern(squared: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Matérn's correlation of smoothness 5/2 at squared distances, and its derivative by them."""
    root = np.sqrt(5 * squared)
    fall = np.exp(-root)
    return (1 + root + root * root / 3) * fall, -5 / 6 * (1 + root) * fall


def _squared_distances(first_NF: FloatArray, second_MF: FloatArray) -> FloatArray:
    squared_NM = -2 * (first_NF @ second_MF.T)
    squared_NM += (first_NF**2).sum(axis=1)[:, None]
    squared_NM += (second_MF**2).sum(axis=1)
    return np.maximum(squared_NM, 0.0, out=squared_NM)
