"""What is said of a point of the front when it is pointed at."""

import html
import textwrap
from collections.abc import Mapping
from typing import Final

from hwnas.reports.axes import Axis, FrontPlane
from hwnas.reports.baselines import BaselineRecord
from hwnas.reports.candidates import Candidate
from hwnas.reports.quantities import objective_title, scale_for, with_half_width
from hwnas.reports.verifications import LatencyRecord, ModelRecord

__all__ = ["baseline_hover", "candidate_hover", "model_hover"]

WIDTH: Final = 46


def candidate_hover(candidate: Candidate, plane: FrontPlane, description: str) -> str:
    """The search's values of an architecture, and what it consists of."""
    heading = "Evaluated, off the front" if candidate.number is None else candidate.name
    lines = [f"<b>{heading}</b> · {html.escape(candidate.precision)}, as the search estimated it"]
    shown = [plane.x.objective, plane.y.objective] + ([] if plane.size is None else [plane.size])
    for objective in shown:
        if objective.name in candidate.record.values:
            value = candidate.record.values[objective.name]
            lines.append(
                html.escape(f"{objective_title(objective)}: {scale_for(objective.unit, [value]).write(value)}")
            )
    return "<br>".join(lines + _wrapped(description))


def model_hover(model: ModelRecord, values: Mapping[Axis, float]) -> str:
    """What was measured of an exported model."""
    lines = [f"<b>{model.number} · {html.escape(model.name)}</b> · {html.escape(model.precision)}, measured"]
    lines += [_value_line(axis, value, model.latency_on(axis.objective.device or "")) for axis, value in values.items()]
    if model.macs is not None:
        lines.append(f"MACs: {scale_for('MACs', [model.macs]).write(model.macs)}")
    return "<br>".join(lines + _wrapped(model.description))


def baseline_hover(baseline: BaselineRecord, values: Mapping[Axis, float]) -> str:
    """What was measured of a network to compare with."""
    lines = [f"<b>{baseline.letter} · {html.escape(baseline.name)}</b>, measured"]
    for axis, value in values.items():
        lines.append(_value_line(axis, value, baseline.latency_on(axis.objective.device or "")))
    return "<br>".join(lines)


def _value_line(axis: Axis, value: float, latency: LatencyRecord) -> str:
    written = axis.scale.write(value)
    if axis.objective.device is not None and latency.ci95_ms is not None:
        written = f"{with_half_width(value, *latency.ci95_ms, decimals=axis.scale.decimals)} ms"
    return html.escape(f"{objective_title(axis.objective)}: {written}")


def _wrapped(text: str) -> list[str]:
    return [html.escape(line) for line in textwrap.wrap(text, WIDTH, max_lines=4, placeholder=" …")]
