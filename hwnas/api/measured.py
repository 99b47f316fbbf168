"""What `verify` has measured of a run's winners, put to the architectures that the search knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hwnas.api.run_folder import RunFolder
from hwnas.errors import ArchitectureError, StoredFileError
from hwnas.files import read_json
from hwnas.spaces import Architecture

__all__ = ["VERIFICATION_SCHEMA", "MeasuredLatency", "MeasuredWinner", "lie_apart", "measured_winners"]

VERIFICATION_SCHEMA: Final = 2


@dataclass(frozen=True)
class MeasuredLatency:
    """A winner's latency on a device.

    Attributes:
        predicted_ms: what the search went by; None where nothing has foretold it.
        interval_ms: the ends of the 90 % prediction interval; None where the table was never calibrated.
        measured_ms: what was measured.
        ci95_ms: the ends of the 95 % confidence interval of the measurement.
    """

    predicted_ms: float | None
    interval_ms: tuple[float, float] | None
    measured_ms: float
    ci95_ms: tuple[float, float]

    @property
    def error(self) -> float | None:
        """How far the prediction is off, as a share of what was measured; None without a prediction."""
        return None if self.predicted_ms is None else abs(self.predicted_ms / self.measured_ms - 1)

    @property
    def is_outside(self) -> bool:
        """Whether the prediction missed by more than its interval; one without an interval missed if it missed at all."""
        if self.predicted_ms is None:
            return False
        return lie_apart(self.interval_ms or (self.predicted_ms, self.predicted_ms), self.ci95_ms)


@dataclass(frozen=True)
class MeasuredWinner:
    """A winner as it was verified, in the precision that the search gave it.

    Attributes:
        architecture: of the run's space.
        precision: its own.
        test_accuracy: of the exported file.
        latency: by device, where it was measured on as many images at once as the search speaks of.
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
    own = next(one for one in entry["files"] if one["file"].rpartition("/")[2] == f"{precision}.onnx")
    comparable = own["batch_size"] == run.settings.batch_size
    latency = {
        device: _latency(found)
        for device, found in own["latency"].items()
        if comparable and found["measured_ms"] is not None
    }
    return MeasuredWinner(run.space.from_json(entry["architecture"]), precision, float(own["test_accuracy"]), latency)


def _latency(entry: Mapping[str, Any]) -> MeasuredLatency:
    interval, (low, high) = entry["predicted_interval_ms"], entry["measured_ci95_ms"]
    return MeasuredLatency(
        None if entry["predicted_ms"] is None else float(entry["predicted_ms"]),
        None if interval is None else (float(interval[0]), float(interval[1])),
        float(entry["measured_ms"]),
        (float(low), float(high)),
    )
