"""AccuracyPredictor: what every predictor of errors offers, however it works.

Suffixes: N architectures, V variables, D draws.
"""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.predictors.encoding import Encoding
from hwnas.spaces import IntArray

__all__ = ["AccuracyPredictor"]

FloatArray = npt.NDArray[np.float64]

ONE_DEVIATION: Final = 0.6827
"""The share of a normal distribution within one standard deviation of its mean."""


class AccuracyPredictor(ABC):
    """Foretells what evaluations of architectures would find, from some that were made.

    The same architectures and errors, in any order, give the same predictions.

    Args:
        encoding: of the space's architectures.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding

    @abstractmethod
    def fit(self, choices_NV: IntArray, errors_N: FloatArray) -> None:
        """Learns from evaluated architectures; what was learned before is forgotten.

        Args:
            choices_NV: canonical choices; of one that comes repeatedly the mean error counts.
            errors_N: the error of each, from 0 up.

        Raises:
            SettingsError: no architecture, or an error that is not a number from 0 up.
        """

    def update(self, choices_NV: IntArray, errors_N: FloatArray) -> None:
        """As `fit`, with evaluations that those of the last fit are among; what is slow to learn may stay as it was."""
        self.fit(choices_NV, errors_N)

    @abstractmethod
    def predict(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """The error that evaluating each architecture would find: its mean and its standard deviation, (N,) each."""

    @abstractmethod
    def interval(self, choices_NV: IntArray, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """The ends, (N,) each, of intervals that hold that error with probability `level`."""

    def lower_tail(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """The median of that error, and how far below it one standard deviation reaches, (N,) each.

        What a search may hope for: of a skewed error the mean and the deviation are those of its upper tail.
        """
        median_N = np.mean(self.interval(choices_NV, 0.02), axis=0)
        return median_N, median_N - self.interval(choices_NV, ONE_DEVIATION)[0]

    @abstractmethod
    def sample(self, choices_NV: IntArray, draws: int, *, rng: np.random.Generator) -> FloatArray:
        """Errors (D, N) of which each draw is one joint guess at what evaluating all of them would find."""
