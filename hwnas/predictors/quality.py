"""How good a predictor is on networks that it does not know: cross-validation on those that a search has evaluated.

Suffixes: N architectures, V variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import SettingsError, StoredFileError
from hwnas.files import read_json, write_json
from hwnas.predictors.accuracy_predictor import AccuracyPredictor
from hwnas.ranking import RankAgreement, rank_agreement
from hwnas.spaces import IntArray

__all__ = ["HeldOut", "PredictorQuality", "cross_validate"]

SCHEMA_VERSION: Final = 1
LEVEL: Final = 0.9
FOLDS: Final = 10

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """One network, foretold by a predictor that was fitted without it.

    Attributes:
        choices: of its architecture.
        error: as evaluated.
        predicted: the predicted mean.
        low: lower end of the 90 % interval.
        high: its upper end.
    """

    choices: tuple[int, ...]
    error: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class PredictorQuality:
    """What cross-validation says of a predictor.

    Attributes:
        predictor: its name.
        folds: of the cross-validation.
        ranking: of the predictions against the errors.
        macs: of MACs alone, the larger the better, against the errors.
        mean_absolute_error: of the predictions, in the errors' unit.
        coverage: share of the errors that lie in their 90 % interval.
        networks: each of them.
    """

    predictor: str
    folds: int
    ranking: RankAgreement
    macs: RankAgreement
    mean_absolute_error: float
    coverage: float
    networks: tuple[HeldOut, ...]

    def save(self, path: Path) -> None:
        """Writes it as JSON, atomically. Raises StoredFileError."""
        document = {
            **asdict(self),
            "ranking": self.ranking.to_json(),
            "macs": self.macs.to_json(),
            "networks": [asdict(one) for one in self.networks],
        }
        write_json(path, {"schema_version": SCHEMA_VERSION, **document}, indent=None)

    @staticmethod
    def load(path: Path) -> "PredictorQuality":
        """Reads what `save` wrote. Raises StoredFileError."""
        document = read_json(path, kind="predictor's quality", schema_version=SCHEMA_VERSION)
        try:
            return PredictorQuality(
                str(document["predictor"]),
                int(document["folds"]),
                RankAgreement.from_json(document["ranking"]),
                RankAgreement.from_json(document["macs"]),
                float(document["mean_absolute_error"]),
                float(document["coverage"]),
                tuple(_held_out(one) for one in document["networks"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoredFileError(
                str(path), "must be a predictor's quality", came=f"reading it says: {error!r}", do="Delete it"
            ) from error


def cross_validate(
    make: Callable[[], AccuracyPredictor],
    choices_NV: IntArray,
    *,
    errors_N: FloatArray,
    name: str,
    folds: int = FOLDS,
    seed: int = 0,
) -> PredictorQuality:
    """Foretells each network by a predictor that is fitted without it and the rest of its fold.

    Args:
        make: a new predictor.
        choices_NV: canonical choices, each architecture once.
        errors_N: the error of each.
        name: of the predictor.
        folds: into how many parts the networks are split; as many as there are networks, at most.
        seed: of the split.

    Raises:
        SettingsError: fewer than 4 networks, or fewer than 2 folds.
    """
    count = len(choices_NV)
    if count < 4 or folds < 2:
        raise SettingsError(
            "Cross-validation",
            "must have at least 4 networks and 2 folds",
            came=f"{count} networks and {folds} folds came",
        )
    folds = min(folds, count)
    fold_N = np.random.default_rng(seed).permutation(count) % folds
    predicted_N, low_N, high_N = np.empty(count), np.empty(count), np.empty(count)
    for fold in range(folds):
        held_N = fold_N == fold
        predictor = make()
        predictor.fit(choices_NV[~held_N], errors_N[~held_N])
        predicted_N[held_N] = predictor.predict(choices_NV[held_N])[0]
        low_N[held_N], high_N[held_N] = predictor.interval(choices_NV[held_N], LEVEL)
    macs_N = make().encoding.costs(choices_NV)[:, 0]
    rows = zip(choices_NV.tolist(), errors_N, predicted_N, low_N, high_N, strict=True)
    return PredictorQuality(
        name,
        folds,
        rank_agreement(predicted_N, errors_N),
        rank_agreement(-macs_N, errors_N),
        float(np.abs(predicted_N - errors_N).mean()),
        float(((low_N <= errors_N) & (errors_N <= high_N)).mean()),
        tuple(HeldOut(tuple(choices), *map(float, numbers)) for choices, *numbers in rows),
    )


def _held_out(document: Mapping[str, Any]) -> HeldOut:
    names = ("error", "predicted", "low", "high")
    return HeldOut(tuple(map(int, document["choices"])), *(float(document[name]) for name in names))
