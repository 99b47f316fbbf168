"""AccuracyPredictor: what every predictor of errors offers, however it works.

Suffixes: N architectures, V variables, D draws.
"""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from hwnas.predictors.encoding import Encoding
from hwnas.spaces import IntArray

__all__ = ["AccuracyPredictor"]

FloatArray = npt.NDArray[np.float64]


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

    @abstractmethod
    def predict(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """The error that evaluating each architecture would find: its mean and its standard deviation, (N,) each."""

    @abstractmethod
    def interval(self, choices_NV: IntArray, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """The ends, (N,) each, of intervals that hold that error with probability `level`."""

    @abstractmethod
    def sample(self, choices_NV: IntArray, draws: int, *, rng: np.random.Generator) -> FloatArray:
        """Errors (D, N) of which each draw is one joint guess at what evaluating all of them would find."""
