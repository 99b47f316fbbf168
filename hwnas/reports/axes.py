"""Which objectives the picture of the front draws, in which unit, and how much of the plane it shows at first."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwnas.reports.baselines import BaselineRecord
from hwnas.reports.documents import EvaluationRecord, ObjectiveRecord, Run
from hwnas.reports.quantities import Scale, objective_title, scale_for
from hwnas.reports.verifications import ModelRecord

__all__ = [
    "Axis",
    "FrontPlane",
    "baseline_value",
    "front_planes",
    "model_value",
    "primary_device",
    "staircase",
]

LOG_FROM_RATIO = 10.0  # an axis whose emphasised values span more than this is logarithmic
CLOUD_SHARE = 0.6  # how far, in spans of the front, the first view reaches beyond it to show the other architectures
PADDING = 0.08


@dataclass(frozen=True)
class Axis:
    """One axis: its objective, the scale its values are written in, logarithmic or not, and the first view's ends."""

    objective: ObjectiveRecord
    scale: Scale
    log: bool
    view: tuple[float, float]

    @property
    def title(self) -> str:
        """The objective's title with its unit: "Error (%)"."""
        unit = f" ({self.scale.axis_unit})" if self.scale.axis_unit else ""
        return objective_title(self.objective) + unit

    @property
    def plotly_range(self) -> tuple[float, float]:
        """The first view as plotly wants it: scaled, and in powers of ten on a logarithmic axis."""
        low, high = (end * self.scale.factor for end in self.view)
        return (math.log10(low), math.log10(high)) if self.log else (low, high)

    @property
    def ticks(self) -> list[float]:
        """Round values in the first view, scaled, for a logarithmic axis: 1, 2, 5, 10 …, closer where it is short."""
        low, high = (end * self.scale.factor for end in self.view)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if high / low > 12 else (1, 1.5, 2, 3, 4, 5, 7)
        return [step * _power_of_ten(power) for power in powers for step in steps if low <= step * 10.0**power <= high]

    def shows(self, value: float) -> bool:
        """Whether the first view reaches `value`."""
        return self.view[0] <= value <= self.view[1]


@dataclass(frozen=True)
class FrontPlane:
    """Two objectives to draw against each other, and the objective that sets the markers' area, if any."""

    x: Axis
    y: Axis
    size: ObjectiveRecord | None

    @property
    def key(self) -> str:
        """What the plane is for: the device on its x axis, or the x objective's name."""
        return self.x.objective.device or self.x.objective.name

    def outside(self, evaluations: Iterable[EvaluationRecord]) -> int:
        """How many of `evaluations` lie beyond the first view."""
        points = (_point(evaluation, self.x.objective, self.y.objective) for evaluation in evaluations)
        return sum(not (self.x.shows(point[0]) and self.y.shows(point[1])) for point in points if point is not None)


def primary_device(run: Run) -> str | None:
    """The device the report speaks of first: the verification's, else the first with a latency objective."""
    searched = [objective.device for objective in run.objectives if objective.device is not None]
    if run.verification is not None and (run.verification.device in searched or run.verification.devices):
        return run.verification.device
    return searched[0] if searched else None


def front_planes(run: Run) -> tuple[FrontPlane, ...]:
    """One plane a device with a latency objective (the primary first); without one, a single plane.

    The y axis is the error, else the first objective. Without a latency the x axis is the MACs, else the first
    objective left. With fewer than two objectives there is nothing to draw, so there is no plane.
    """
    if len(run.objectives) < 2:
        return ()
    y = run.objective("error") or run.objectives[0]
    others = [objective for objective in run.objectives if objective.name != y.name]
    latencies = [objective for objective in others if objective.device is not None]
    latencies.sort(key=lambda objective: objective.device != primary_device(run))
    if latencies:
        return tuple(_plane(run, x, y) for x in latencies)
    return (_plane(run, next((other for other in others if other.name == "macs"), others[0]), y),)


def model_value(model: ModelRecord, objective: ObjectiveRecord, run: Run) -> float | None:
    """What an exported model was measured to have of `objective`, or what is counted; None where it was not measured."""
    if objective.name == "error":
        return None if model.accuracy is None else 1 - model.accuracy
    if objective.device is not None:
        return run.measured_ms(model, objective.device)
    found = {"macs": model.macs, "parameters": model.parameters}.get(objective.name)
    if found is not None:
        return found
    records = (record for record in run.front if run.model_of(record.architecture) is model)
    return next((record.values[objective.name] for record in records if objective.name in record.values), None)


def baseline_value(baseline: BaselineRecord, objective: ObjectiveRecord) -> float | None:
    """What a baseline was measured to have of `objective`."""
    if objective.name == "error":
        return None if baseline.test_accuracy is None else 1 - baseline.test_accuracy
    if objective.device is not None:
        return baseline.latency_on(objective.device).measured_ms
    return {"macs": baseline.macs, "parameters": baseline.parameters}.get(objective.name)


def staircase(
    points: Iterable[tuple[float, float]], *, maximize_x: bool = False, maximize_y: bool = False
) -> list[tuple[float, float]]:
    """The points that no other point beats in these two objectives, from small x to large.

    Example:
        >>> staircase([(1.0, 9.0), (2.0, 5.0), (3.0, 7.0)])
        [(1.0, 9.0), (2.0, 5.0)]
    """
    sign_x, sign_y = (-1 if maximize_x else 1), (-1 if maximize_y else 1)
    kept: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (sign_x * point[0], sign_y * point[1])):
        if not kept or sign_y * y < sign_y * kept[-1][1]:
            kept.append((x, y))
    return sorted(kept)


def _plane(run: Run, x: ObjectiveRecord, y: ObjectiveRecord) -> FrontPlane:
    sizes = (run.objective(name) for name in ("macs", "parameters"))
    size = next((objective for objective in sizes if objective is not None and objective not in (x, y)), None)
    front = [point for point in (_point(member, x, y) for member in run.front) if point is not None]
    cloud = [point for point in (_point(record, x, y) for record in run.evaluations) if point is not None]
    placed = [(model_value(model, x, run), model_value(model, y, run)) for model in run.models]
    placed += [(baseline_value(one, x), baseline_value(one, y)) for one in run.baselines]
    front += [(a, b) for a, b in placed if a is not None and b is not None]
    return FrontPlane(
        _axis(x, [point[0] for point in front], [point[0] for point in cloud]),
        _axis(y, [point[1] for point in front], [point[1] for point in cloud]),
        size,
    )


def _axis(objective: ObjectiveRecord, emphasised: Sequence[float], others: Sequence[float]) -> Axis:
    shown = emphasised or others or [0.0, 1.0]
    log = min(shown) > 0 and max(shown) / min(shown) > LOG_FROM_RATIO
    to_line, from_line = (math.log10, _power_of_ten) if log else (float, float)
    low, high = to_line(min(shown)), to_line(max(shown))
    span = (high - low) or abs(high) or 1.0
    reach = [to_line(other) for other in others if not log or other > 0]
    start = max(min([low, *reach]), low - CLOUD_SHARE * span)
    end = min(max([high, *reach]), high + CLOUD_SHARE * span)
    start, end = start - PADDING * span, end + PADDING * span
    if not log and min([low, *reach]) >= 0:
        start = max(start, -0.04 * span)  # no more below zero than half a marker needs
    view = (from_line(start), from_line(end))
    return Axis(objective, scale_for(objective.unit, shown), log, view)


def _power_of_ten(exponent: float) -> float:
    return math.pow(10.0, exponent)


def _point(record: EvaluationRecord, x: ObjectiveRecord, y: ObjectiveRecord) -> tuple[float, float] | None:
    if x.name not in record.values or y.name not in record.values:
        return None
    return record.values[x.name], record.values[y.name]
