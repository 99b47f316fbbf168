"""Predicted latencies held against measured ones: how far the table's sum was off."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.reports.verifications import LatencyRecord, ModelRecord

__all__ = ["Comparison", "compare_latencies", "median_error"]


@dataclass(frozen=True)
class Comparison:
    """One exported file's latency in ms on one device.

    Attributes:
        model: whose file it is.
        predicted_ms: by the table.
        measured_ms: end to end.
        low_ms: lower end of the measured 95 % interval.
        high_ms: its upper end.
        predicted_interval_ms: the prediction interval, None where it is not known.
    """

    model: ModelRecord
    predicted_ms: float
    measured_ms: float
    low_ms: float
    high_ms: float
    predicted_interval_ms: tuple[float, float] | None = None

    @property
    def relative_error(self) -> float:
        """(predicted - measured) / measured: above 0 where the prediction was too slow."""
        return (self.predicted_ms - self.measured_ms) / self.measured_ms


def compare_latencies(
    models: Sequence[ModelRecord], device: str, precision: str | None = None
) -> tuple[Comparison, ...]:
    """One comparison a model that has both latencies on `device`: of its file of `precision`, or of its own (None)."""
    found = []
    for model in models:
        file = model.own if precision is None else model.in_precision(precision)
        record = LatencyRecord() if file is None else file.latency_on(device)
        if record.predicted_ms is not None and record.measured_ms:
            low, high = record.ci95_ms or (record.measured_ms, record.measured_ms)
            found.append(
                Comparison(model, record.predicted_ms, record.measured_ms, low, high, record.predicted_interval_ms)
            )
    return tuple(found)


def median_error(comparisons: Sequence[Comparison]) -> float:
    """The median of the relative errors' sizes, as a fraction. `comparisons` must not be empty."""
    return statistics.median(abs(comparison.relative_error) for comparison in comparisons)
