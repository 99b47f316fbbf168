"""The drawings, one function each: records in, plotly figure out.

Colours and fonts are names of CSS custom properties ("var(--front)"). The page's script looks them up when it draws,
and again when the reader's colour scheme changes, so that one drawing serves light, dark and print. A trace's
`meta.role` says what it shows; the page makes its legend from that.
"""

import html
import math
import textwrap
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from hwnas.reports.axes import Axis, FrontPlane, model_value, staircase
from hwnas.reports.documents import EvaluationRecord, ModelRecord, ProgressRecord, Run
from hwnas.reports.quantities import objective_title, scale_for, significant, with_half_width

__all__ = ["badges", "empty_figure", "front_figure", "hypervolume_figure", "marker_diameter"]

LARGEST_DIAMETER = 22.0
SMALLEST_DIAMETER = 5.0
PLAIN_DIAMETER = 10.0
BADGE_DIAMETER = 21.0
MAX_CHOICES_SHOWN = 60


def front_figure(run: Run, plane: FrontPlane) -> go.Figure:
    """The front in `plane`: everything evaluated behind, the front as a staircase, the exported models as badges."""
    figure = empty_figure(plane.x.title, plane.y.title)
    figure.update_xaxes(**_axis_settings(plane.x))
    figure.update_yaxes(**_axis_settings(plane.y))
    on_front = {member.architecture for member in run.front}
    cloud = [record for record in run.evaluations if record.architecture not in on_front]
    _add_cloud(figure, plane, cloud)
    _add_staircase(figure, plane, run.front)
    _add_front(figure, plane, run.front)
    _add_winners(figure, plane, run)
    return figure


def hypervolume_figure(progress: Sequence[ProgressRecord]) -> go.Figure:
    """The hypervolume of the front against the number of evaluations made."""
    figure = empty_figure("Evaluations", "Hypervolume")
    figure.update_xaxes(rangemode="tozero")
    figure.add_scatter(
        x=[record.evaluations for record in progress],
        y=[record.hypervolume for record in progress],
        mode="lines+markers" if len(progress) < 60 else "lines",
        line={"color": "var(--front)", "width": 2.5, "shape": "hv"},
        marker={"color": "var(--front)", "size": 6},
        hovertext=[_progress_hover(record) for record in progress],
        hoverinfo="text",
        name="hypervolume of the front",
        meta={"role": "progress"},
    )
    return figure


def marker_diameter(value: float | None, largest: float) -> float:
    """The diameter in px of a marker whose area stands for `value`, where `largest` has the largest."""
    if value is None or value <= 0 or largest <= 0:
        return SMALLEST_DIAMETER
    return max(SMALLEST_DIAMETER, LARGEST_DIAMETER * math.sqrt(value / largest))


def empty_figure(x_title: str, y_title: str) -> go.Figure:
    """A figure with the looks of all of them and nothing drawn; the y axis has its title above it."""
    axis = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "tickcolor": "var(--line)",
        "tickfont": {"color": "var(--muted)", "size": 12},
        "automargin": True,
        "fixedrange": False,
    }
    above = {
        "text": html.escape(y_title),
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 8,
        "showarrow": False,
        "font": {"color": "var(--ink)", "size": 13},
    }
    return go.Figure(
        layout={
            "template": "none",
            "autosize": True,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "var(--font)", "color": "var(--ink)", "size": 13},
            "margin": {"l": 44, "r": 14, "t": 34, "b": 48},
            "showlegend": False,
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": "var(--surface)",
                "bordercolor": "var(--line)",
                "align": "left",
                "font": {"family": "var(--font)", "color": "var(--ink)", "size": 13},
            },
            "xaxis": {
                **axis,
                "showline": True,
                "ticks": "outside",
                "title": {"text": html.escape(x_title), "standoff": 10, "font": {"color": "var(--ink)", "size": 13}},
            },
            "yaxis": axis,
            "annotations": [above],
        }
    )


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


def _add_cloud(figure: go.Figure, plane: FrontPlane, cloud: Sequence[EvaluationRecord]) -> None:
    drawn = _drawable(cloud, plane)
    if not drawn:
        return
    figure.add_scatter(
        x=_column(drawn, plane.x),
        y=_column(drawn, plane.y),
        mode="markers",
        marker={"color": "var(--cloud)", "size": 6, "opacity": 0.55, "line": {"width": 0}},
        hovertext=[_evaluation_hover("Evaluated", record, plane) for record in drawn],
        hoverinfo="text",
        name="other architectures evaluated",
        meta={"role": "cloud"},
    )


def _add_staircase(figure: go.Figure, plane: FrontPlane, front: Sequence[EvaluationRecord]) -> None:
    """The border of what the search reached, drawn on to the edges of the view."""
    x, y = plane.x, plane.y
    drawn = _drawable(front, plane)
    if not drawn:
        return
    points = [(record.values[x.objective.name], record.values[y.objective.name]) for record in drawn]
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


def _add_front(figure: go.Figure, plane: FrontPlane, front: Sequence[EvaluationRecord]) -> None:
    drawn = _drawable(front, plane)
    if not drawn:
        return
    diameters: float | list[float] = PLAIN_DIAMETER
    if plane.size is not None:
        sizes = [record.values.get(plane.size.name) for record in drawn]
        largest = max((size for size in sizes if size is not None), default=0.0)
        # drawn from large to small, so that no marker hides another
        order = sorted(range(len(drawn)), key=lambda index: -(sizes[index] or 0.0))
        drawn = [drawn[index] for index in order]
        diameters = [marker_diameter(sizes[index], largest) for index in order]
    figure.add_scatter(
        x=_column(drawn, plane.x),
        y=_column(drawn, plane.y),
        mode="markers",
        marker={
            "color": "var(--front)",
            "size": diameters,
            "opacity": 0.8,
            "line": {"color": "var(--surface)", "width": 1.2},
        },
        hovertext=[_evaluation_hover("On the front", record, plane) for record in drawn],
        hoverinfo="text",
        name="the front, as the search estimated it",
        meta={"role": "front"},
    )


def _add_winners(figure: go.Figure, plane: FrontPlane, run: Run) -> None:
    x, y = plane.x, plane.y
    rows = [(model, model_value(model, x.objective, run), model_value(model, y.objective, run)) for model in run.models]
    placed = [(model, a, b) for model, a, b in rows if a is not None and b is not None]
    if not placed:
        return
    recorded = {record.architecture: record for record in _drawable(run.front, plane)}
    from_to_x: list[float | None] = []
    from_to_y: list[float | None] = []
    for model, a, b in placed:
        if model.architecture in recorded:
            values = recorded[model.architecture].values
            from_to_x += [values[x.objective.name] * x.scale.factor, a * x.scale.factor, None]
            from_to_y += [values[y.objective.name] * y.scale.factor, b * y.scale.factor, None]
    if from_to_x:
        figure.add_scatter(
            x=from_to_x,
            y=from_to_y,
            mode="lines",
            line={"color": "var(--winner)", "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
            name="from estimate to export",
            meta={"role": "shift"},
        )
    figure.add_scatter(
        x=[a * x.scale.factor for _, a, _ in placed],
        y=[b * y.scale.factor for _, _, b in placed],
        hovertext=[_winner_hover(model, {x: a, y: b}) for model, a, b in placed],
        name="exported model, measured",
        **badges([model for model, *_ in placed]),
    )


def badges(models: Sequence[ModelRecord]) -> dict[str, object]:
    """The looks of exported models: a square with the model's number, which the table of models repeats."""
    return {
        "mode": "markers+text",
        "marker": {
            "symbol": "square",
            "color": "var(--winner)",
            "size": BADGE_DIAMETER,
            "opacity": 1,
            "line": {"color": "var(--surface)", "width": 1.5},
        },
        "text": [f"<b>{model.number}</b>" for model in models],
        "textposition": "middle center",
        "textfont": {"color": "var(--on-winner)", "size": 12},
        "customdata": [f"model-{model.number}" for model in models],
        "hoverinfo": "text",
        "cliponaxis": False,
        "meta": {"role": "winner"},
    }


def _drawable(records: Sequence[EvaluationRecord], plane: FrontPlane) -> list[EvaluationRecord]:
    names = (plane.x.objective.name, plane.y.objective.name)
    return [record for record in records if all(name in record.values for name in names)]


def _column(records: Sequence[EvaluationRecord], axis: Axis) -> list[float]:
    return [record.values[axis.objective.name] * axis.scale.factor for record in records]


def _evaluation_hover(heading: str, record: EvaluationRecord, plane: FrontPlane) -> str:
    lines = [f"<b>{heading}</b>"]
    shown = [plane.x.objective, plane.y.objective] + ([] if plane.size is None else [plane.size])
    for objective in shown:
        if objective.name in record.values:
            value = record.values[objective.name]
            written = scale_for(objective.unit, [value]).write(value)
            lines.append(html.escape(f"{objective_title(objective)}: {written}"))
    choices = record.architecture.choices
    more = " …" if len(choices) > MAX_CHOICES_SHOWN else ""
    lines += _wrapped("choices " + " ".join(str(choice) for choice in choices[:MAX_CHOICES_SHOWN]) + more)
    return "<br>".join(lines)


def _winner_hover(model: ModelRecord, values: Mapping[Axis, float]) -> str:
    lines = [f"<b>{model.number} · {html.escape(model.name)}</b>"]
    for axis, value in values.items():
        written = axis.scale.write(value)
        latency = model.latency_on(axis.objective.device) if axis.objective.device is not None else None
        if latency is not None and latency.ci95_ms is not None:
            written = f"{with_half_width(value, *latency.ci95_ms, decimals=axis.scale.decimals)} ms"
        lines.append(html.escape(f"{objective_title(axis.objective)}: {written}"))
    if model.macs is not None:
        lines.append(f"MACs: {scale_for('MACs', [model.macs]).write(model.macs)}")
    return "<br>".join(lines + _wrapped(model.description))


def _progress_hover(record: ProgressRecord) -> str:
    size = "" if record.front_size is None else f"<br>{record.front_size} on the front"
    return (
        f"<b>Generation {record.generation}</b><br>{record.evaluations} evaluations"
        f"<br>Hypervolume {significant(record.hypervolume, 4)}{size}"
    )


def _wrapped(text: str) -> list[str]:
    return [html.escape(line) for line in textwrap.wrap(text, 46)]
