"""Accuracy predictors: what evaluations would find, foretold from some that were made, and how sure that is."""

from typing import Any, Final

from hwnas.plugins import find_member
from hwnas.predictors.accuracy_predictor import AccuracyPredictor
from hwnas.predictors.encoding import Encoding
from hwnas.predictors.gaussian_process import GaussianProcess
from hwnas.predictors.neural_ensemble import NeuralEnsemble
from hwnas.predictors.quality import HeldOut, PredictorQuality, cross_validate
from hwnas.spaces import SearchSpace

__all__ = [
    "DEFAULT_PREDICTOR",
    "PREDICTORS",
    "AccuracyPredictor",
    "Encoding",
    "GaussianProcess",
    "HeldOut",
    "NeuralEnsemble",
    "PredictorQuality",
    "cross_validate",
    "make_predictor",
]

PREDICTORS: Final[dict[str, type[AccuracyPredictor]]] = {
    "gaussian_process": GaussianProcess,
}
"""The built-in predictors by name. Plug-ins add theirs through the entry-point group "hwnas.predictors"."""

DEFAULT_PREDICTOR: Final = "gaussian_process"


def make_predictor(space: SearchSpace | Encoding, name: str = DEFAULT_PREDICTOR) -> AccuracyPredictor:
    """A predictor for the architectures of `space`, not fitted yet. Raises UnknownNameError."""
    make: Any = find_member("predictor", name, PREDICTORS, group="hwnas.predictors")
    predictor: AccuracyPredictor = make(space if isinstance(space, Encoding) else Encoding.of(space))
    return predictor
