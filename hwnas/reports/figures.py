"""The front drawn in one plane: what was evaluated, what the search found, what was exported, what it is compared with."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import plotly.graph_objects as go

from hwnas.reports.axes import Axis, FrontPlane, baseline_value, model_value, staircase
from hwnas.reports.baselines import BaselineRecord
from hwnas.reports.candidates import Candidate, candidates_of
from hwnas.reports.canvas import empty_figure, error_bars
from hwnas.reports.documents import ObjectiveRecord, Run
from hwnas.reports.hovers import baseline_hover, candidate_hover, model_hover
from hwnas.reports.networks import Networks
from hwnas.reports.quantities import wilson_interval
from hwnas.reports.verifications import LatencyRecord, ModelRecord

__all__ = ["badges", "front_figure", "marker_diameter"]

LARGEST_DIAMETER: Final = 22.0
SMALLEST_DIAMETER: Final = 6.0
PLAIN_DIAMETER: Final = 10.0
FRONT_SYMBOLS: Final = {"fp32": "circle", "int8": "diamond", "fp16": "triangle-up"}
BADGES: Final = {"fp32": ("square", 19.0), "int8": ("diamond", 24.0), "fp16": ("triangle-up", 27.0)}
MAX_CHOICES_SHOWN: Final = 60

Measured = TypeVar("Measured", ModelRecord, BaselineRecord)
Reach = tuple[float, float]
"""How far an error bar reaches above and below a value."""


def front_figure(run: Run, plane: FrontPlane, networks: Networks | None = None) -> go.Figure:
    """The front in `plane`: everything evaluated behind, the front as a staircase, the exported models as badges.

    Error bars are 95 % intervals: of measured latencies, and of errors as shares of the images that they were seen on
    (Wilson 1927); those of predicted latencies are the tables' 90 % prediction intervals.
    """
    figure = empty_figure(plane.x.title, plane.y.title)
    figure.update_xaxes(**_axis_settings(plane.x))
    figure.update_yaxes(**_axis_settings(plane.y))
    drawn = [one for one in candidates_of(run) if _lies_in(one, plane)]
    members = [one for one in drawn if one.number is not None]
    _add_cloud(figure, plane, [one for one in drawn if one.number is None], networks)
    _add_intervals(figure, plane, members, run, networks)
    _add_staircase(figure, plane, members)
    for precision in dict.fromkeys(one.precision for one in members):
        _add_front(figure, plane, members, precision, networks, several=len(run.precisions) > 1)
    _add_baselines(figure, plane, run)
    _add_winners(figure, plane, run, members)
    return figure


def marker_diameter(value: float | None, largest: float) -> float:
    """The diameter in px of a marker whose area stands for `value`, where `largest` has the largest."""
    if value is None or value <= 0 or largest <= 0:
        return SMALLEST_DIAMETER
    return max(SMALLEST_DIAMETER, LARGEST_DIAMETER * math.sqrt(value / largest))


def badges(models: Sequence[ModelRecord]) -> dict[str, Any]:
    """The looks of exported models: a shape for each precision with the model's number, which the table repeats."""
    looks = [BADGES.get(model.precision, BADGES["fp32"]) for model in models]
    return {
        "mode": "markers+text",
        "marker": {
            "symbol": [symbol for symbol, _ in looks],
            "color": "var(--winner)",
            "size": [size for _, size in looks],
            "opacity": 1,
            "line": {"color": "var(--surface)", "width": 1.5},
        },
        "text": [f"<b>{model.number}</b>" for model in models],
        "textposition": "middle center",
        "textfont": {"color": "var(--on-winner)", "size": 11},
        "hoverinfo": "text",
        "cliponaxis": False,
        "meta": {"role": "winner"},
    }


def _axis_settings(axis: Axis) -> dict[str, object]:
    if not axis.log:
        return {"type": "linear", "range": axis.plotly_range}
    ticks = axis.ticks
    return {
        "type": "log",
        "range": axis.plotly_range,
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
        "minor": {"showgrid": False},
    }


def _add_cloud(figure: go.Figure, plane: FrontPlane, cloud: Sequence[Candidate], networks: Networks | None) -> None:
    if not cloud:
        return
    figure.add_scatter(
        x=_column(cloud, plane.x),
        y=_column(cloud, plane.y),
        mode="markers",
        marker={"color": "var(--cloud)", "size": 6, "opacity": 0.5, "line": {"width": 0}},
        customdata=[one.key for one in cloud],
        hovertext=[candidate_hover(one, plane, _description(one, networks)) for one in cloud],
        hoverinfo="text",
        name="evaluated, off the front",
        meta={"role": "cloud"},
    )


def _add_intervals(
    figure: go.Figure, plane: FrontPlane, members: Sequence[Candidate], run: Run, networks: Networks | None
) -> None:
    """The intervals of the search's estimates, as far as the run knows them, behind the front."""

    def reaches(axis: Axis) -> list[Reach] | None:
        device, images = axis.objective.device, run.validation_images
        if axis.objective.name == "error" and images:
            return [
                _reach(one.record.values["error"], wilson_interval(one.record.values["error"], images), axis)
                for one in members
            ]
        if device is None or networks is None:
            return None
        found = [networks.interval_ms(one.record.architecture, device, one.precision) for one in members]
        return [
            _reach(one.record.values[axis.objective.name], low_high, axis)
            for one, low_high in zip(members, found, strict=True)
        ]

    x, y = reaches(plane.x), reaches(plane.y)
    if not members or (x is None and y is None):
        return
    figure.add_scatter(
        x=_column(members, plane.x),
        y=_column(members, plane.y),
        mode="markers",
        marker={"color": "var(--whisker)", "size": 1, "opacity": 0},
        error_x=_bars(x, "var(--whisker)"),
        error_y=_bars(y, "var(--whisker)"),
        customdata=[one.key for one in members],
        hoverinfo="skip",
        name="intervals of the estimates",
        meta={"role": "interval"},
    )


def _add_staircase(figure: go.Figure, plane: FrontPlane, members: Sequence[Candidate]) -> None:
    """The border of what the search reached, drawn on to the edges of the view."""
    x, y = plane.x, plane.y
    if not members:
        return
    points = [(one.record.values[x.objective.name], one.record.values[y.objective.name]) for one in members]
    steps = staircase(points, maximize_x=x.objective.maximize, maximize_y=y.objective.maximize)
    worst_y = y.view[0] if y.objective.maximize else y.view[1]
    if x.objective.maximize:
        steps = [(x.view[0], steps[0][1]), *steps, (steps[-1][0], worst_y)]
    else:
        steps = [(steps[0][0], worst_y), *steps, (x.view[1], steps[-1][1])]
    figure.add_scatter(
        x=[point[0] * x.scale.factor for point in steps],
        y=[point[1] * y.scale.factor for point in steps],
        mode="lines",
        line={"color": "var(--front)", "width": 2, "shape": "vh" if x.objective.maximize else "hv"},
        hoverinfo="skip",
        name="border of the front",
        meta={"role": "step"},
    )


def _add_front(
    figure: go.Figure,
    plane: FrontPlane,
    members: Sequence[Candidate],
    precision: str,
    networks: Networks | None,
    *,
    several: bool,
) -> None:
    """The members of one precision; their area stands for the plane's size objective."""
    diameters: float | list[float] = PLAIN_DIAMETER
    drawn = [one for one in members if one.precision == precision]
    if plane.size is not None:
        name = plane.size.name
        largest = max((one.record.values.get(name, 0.0) for one in members), default=0.0)
        # drawn from large to small, so that no marker hides another
        drawn.sort(key=lambda one: -one.record.values.get(name, 0.0))
        diameters = [marker_diameter(one.record.values.get(name), largest) for one in drawn]
    figure.add_scatter(
        x=_column(drawn, plane.x),
        y=_column(drawn, plane.y),
        mode="markers",
        marker={
            "symbol": FRONT_SYMBOLS.get(precision, "circle"),
            "color": "var(--front)",
            "size": diameters,
            "opacity": 0.85,
            "line": {"color": "var(--surface)", "width": 1.2},
        },
        customdata=[one.key for one in drawn],
        hovertext=[candidate_hover(one, plane, _description(one, networks)) for one in drawn],
        hoverinfo="text",
        name=f"on the front{f', {precision}' if several else ''}, estimated",
        meta={"role": f"front-{precision}" if precision in FRONT_SYMBOLS else "front-fp32"},
    )


def _add_baselines(figure: go.Figure, plane: FrontPlane, run: Run) -> None:
    placed = _placed(run.baselines, plane, baseline_value)
    if not placed:
        return
    figure.add_scatter(
        **_measured(placed, plane, run, lambda one: one.test_accuracy, "var(--baseline)"),
        mode="markers+text",
        marker={
            "symbol": "circle",
            "color": "var(--surface)",
            "size": 18,
            "line": {"color": "var(--baseline)", "width": 2},
        },
        text=[f"<b>{one.letter}</b>" for one, *_ in placed],
        textposition="middle center",
        textfont={"color": "var(--baseline)", "size": 11},
        customdata=[f"baseline-{one.letter}" for one, *_ in placed],
        hovertext=[baseline_hover(one, {plane.x: x, plane.y: y}) for one, x, y in placed],
        hoverinfo="text",
        cliponaxis=False,
        name="known network, measured",
        meta={"role": "baseline"},
    )


def _add_winners(figure: go.Figure, plane: FrontPlane, run: Run, members: Sequence[Candidate]) -> None:
    placed = _placed(run.models, plane, lambda model, objective: model_value(model, objective, run))
    if not placed:
        return
    found = {one.model.number: one for one in members if one.model is not None}
    shifts: list[tuple[float | None, float | None]] = []
    for model, x, y in placed:
        if model.number in found:
            (from_x,), (from_y,) = _column([found[model.number]], plane.x), _column([found[model.number]], plane.y)
            shifts += [(from_x, from_y), (x * plane.x.scale.factor, y * plane.y.scale.factor), (None, None)]
    if shifts:
        figure.add_scatter(
            x=[x for x, _ in shifts],
            y=[y for _, y in shifts],
            mode="lines",
            line={"color": "var(--winner)", "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
            name="from estimate to export",
            meta={"role": "shift"},
        )
    keys = {number: one.key for number, one in found.items()}
    figure.add_scatter(
        **_measured(placed, plane, run, lambda model: model.accuracy, "var(--winner)"),
        **badges([model for model, *_ in placed]),
        customdata=[keys.get(model.number, f"model-{model.number}") for model, *_ in placed],
        hovertext=[model_hover(model, {plane.x: x, plane.y: y}) for model, x, y in placed],
        name="exported model, measured",
    )


def _placed(
    records: Sequence[Measured], plane: FrontPlane, value: Callable[[Measured, ObjectiveRecord], float | None]
) -> list[tuple[Measured, float, float]]:
    """Those of `records` that have a value on both axes, with the values."""
    rows = [(one, value(one, plane.x.objective), value(one, plane.y.objective)) for one in records]
    return [(one, x, y) for one, x, y in rows if x is not None and y is not None]


def _measured(
    placed: Sequence[tuple[Measured, float, float]],
    plane: FrontPlane,
    run: Run,
    accuracy: Callable[[Measured], float | None],
    colour: str,
) -> dict[str, Any]:
    """Where measured networks lie, with the intervals of what was measured."""
    images = run.verification.test_images if run.verification is not None else None

    def reach(one: Measured, value: float, axis: Axis) -> Reach:
        if axis.objective.name == "error" and images and accuracy(one) is not None:
            return _reach(value, wilson_interval(value, images), axis)
        latency = one.latency_on(axis.objective.device) if axis.objective.device is not None else LatencyRecord()
        return _reach(value, latency.ci95_ms if latency.measured_ms is not None else None, axis)

    return {
        "x": [x * plane.x.scale.factor for _, x, _ in placed],
        "y": [y * plane.y.scale.factor for _, _, y in placed],
        "error_x": _bars([reach(one, x, plane.x) for one, x, _ in placed], colour),
        "error_y": _bars([reach(one, y, plane.y) for one, _, y in placed], colour),
    }


def _reach(value: float, interval: tuple[float, float] | None, axis: Axis) -> Reach:
    low, high = interval or (value, value)
    return max(high - value, 0.0) * axis.scale.factor, max(value - low, 0.0) * axis.scale.factor


def _bars(reaches: Sequence[Reach] | None, colour: str) -> dict[str, Any] | None:
    if reaches is None or not any(above or below for above, below in reaches):
        return None
    return error_bars([above for above, _ in reaches], [below for _, below in reaches], colour, width=0)


def _lies_in(candidate: Candidate, plane: FrontPlane) -> bool:
    return all(axis.objective.name in candidate.record.values for axis in (plane.x, plane.y))


def _column(candidates: Sequence[Candidate], axis: Axis) -> list[float]:
    return [one.record.values[axis.objective.name] * axis.scale.factor for one in candidates]


def _description(candidate: Candidate, networks: Networks | None) -> str:
    if networks is not None:
        return networks.describe(candidate.record.architecture)
    choices = candidate.record.architecture.choices
    more = " …" if len(choices) > MAX_CHOICES_SHOWN else ""
    return "choices " + " ".join(str(choice) for choice in choices[:MAX_CHOICES_SHOWN]) + more
