"""Predicted latencies held against measured ones: how far the table's sum was off."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.reports.documents import ModelRecord

__all__ = ["Comparison", "compare_latencies", "median_error"]


@dataclass(frozen=True)
class Comparison:
    """One exported model's latency in ms on one device: predicted, measured, and the measured 95 % interval."""

    model: ModelRecord
    predicted_ms: float
    measured_ms: float
    low_ms: float
    high_ms: float

    @property
    def relative_error(self) -> float:
        """(predicted - measured) / measured: above 0 where the prediction was too slow."""
        return (self.predicted_ms - self.measured_ms) / self.measured_ms


def compare_latencies(models: Sequence[ModelRecord], device: str) -> tuple[Comparison, ...]:
    """One comparison a model that has both latencies on `device`."""
    found = []
    for model in models:
        record = model.latency_on(device)
        if record.predicted_ms is not None and record.measured_ms:
            low, high = record.ci95_ms or (record.measured_ms, record.measured_ms)
            found.append(Comparison(model, record.predicted_ms, record.measured_ms, low, high))
    return tuple(found)


def median_error(comparisons: Sequence[Comparison]) -> float:
    """The median of the relative errors' sizes, as a fraction. `comparisons` must not be empty."""
    return statistics.median(abs(comparison.relative_error) for comparison in comparisons)
