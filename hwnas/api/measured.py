"""What `verify` has measured of a run's winners, put to the architectures that the search knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hwnas.api.run_folder import RunFolder
from hwnas.errors import ArchitectureError, StoredFileError
from hwnas.files import read_json
from hwnas.spaces import Architecture, MixedPrecision

__all__ = ["VERIFICATION_SCHEMA", "MeasuredLatency", "MeasuredWinner", "lie_apart", "measured_winners"]

VERIFICATION_SCHEMA: Final = 2


@dataclass(frozen=True)
class MeasuredLatency:
    """A winner's latency on a device.

    Attributes:
        predicted_ms: what the search went by.
        interval_ms: the ends of the 90 % prediction interval; None where the table was never calibrated.
        measured_ms: what was measured.
        ci95_ms: the ends of the 95 % confidence interval of the measurement.
    """

    predicted_ms: float
    interval_ms: tuple[float, float] | None
    measured_ms: float
    ci95_ms: tuple[float, float]

    @property
    def error(self) -> float:
        """How far the prediction is off, as a share of what was measured."""
        return abs(self.predicted_ms / self.measured_ms - 1)

    @property
    def is_outside(self) -> bool:
        """Whether the prediction missed by more than its interval; one without an interval missed if it missed at all."""
        return lie_apart(self.interval_ms or (self.predicted_ms, self.predicted_ms), self.ci95_ms)


@dataclass(frozen=True)
class MeasuredWinner:
    """A winner as it was verified, in the precision that the search gave it.

    Attributes:
        architecture: of the run's space.
        precision: its own.
        test_accuracy: of the exported file.
        latency: by device, where it was measured.
    """

    architecture: Architecture
    precision: str
    test_accuracy: float
    latency: Mapping[str, MeasuredLatency]


def lie_apart(predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> bool:
    """Whether a prediction interval and the confidence interval of what was measured have nothing in common."""
    return measured_ms[1] < predicted_ms[0] or predicted_ms[1] < measured_ms[0]


def measured_winners(run: RunFolder) -> list[MeasuredWinner]:
    """What verification.json says of the winners of `run`; nothing where they were not verified.

    Raises:
        StoredFileError: it is broken.
    """
    if not run.verification.exists():
        return []
    document = read_json(run.verification, kind="verification", schema_version=VERIFICATION_SCHEMA)
    try:
        return [_winner(run, entry) for entry in document["models"]]
    except (KeyError, TypeError, ValueError, StopIteration, ArchitectureError) as error:
        raise StoredFileError(
            str(run.verification),
            "must say what was measured",
            came=f"reading it says: {error!r}",
            do=f"Verify again: hwnas verify {run.path}",
        ) from error


def _winner(run: RunFolder, entry: Mapping[str, Any]) -> MeasuredWinner:
    precision = entry["precision"]
    own = next(one for one in entry["files"] if one["precision"] == precision and not one["image_input"])
    latency = {
        device: _latency(found) for device, found in own["latency"].items() if found.get("measured_ms") is not None
    }
    architecture = _searched(run, entry["architecture"], precision)
    return MeasuredWinner(architecture, precision, float(own["test_accuracy"]), latency)


def _searched(run: RunFolder, document: Mapping[str, Any], precision: str) -> Architecture:
    """The architecture of the run's space, whether `document` is of that space or of its networks."""
    space = run.space
    if isinstance(space, MixedPrecision) and document.get("space") == space.networks.name:
        return space.join(space.networks.from_json(document), precision)
    return space.from_json(document)


def _latency(entry: Mapping[str, Any]) -> MeasuredLatency:
    interval, (low, high) = entry["predicted_interval_ms"], entry["measured_ci95_ms"]
    return MeasuredLatency(
        float(entry["predicted_ms"]),
        None if interval is None else (float(interval[0]), float(interval[1])),
        float(entry["measured_ms"]),
        (float(low), float(high)),
    )
