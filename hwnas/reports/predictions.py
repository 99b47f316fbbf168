"""Predicted against measured latency: the networks that a table was proven by, and the models that were exported.

Up is measured, right is predicted, so that what lies above the diagonal is slower than foretold.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

from hwnas.latency import LatencyTable, MeasuredNetwork, calibrated_networks
from hwnas.reports.canvas import empty_figure, error_bars
from hwnas.reports.comparisons import Comparison
from hwnas.reports.figures import badges
from hwnas.reports.quantities import signed_percent, significant, with_half_width

__all__ = [
    "BAND",
    "MODEL_NAME",
    "NetworkPoints",
    "axis_ends",
    "model_errors",
    "model_half_widths",
    "network_points",
    "prediction_figure",
    "proof_sentence",
]

BAND: Final = 0.05
LEVEL: Final = 0.9
PADDING: Final = 0.12
NAMES: Final = {
    "calibration": "network of the calibration",
    "carrier": "network of the rows",
}
MODEL_NAME: Final = "exported model, with its 95% interval"
SYMBOLS: Final = {"calibration": "diamond", "carrier": "circle-open"}


@dataclass(frozen=True)
class NetworkPoints:
    """Networks of one role; half the prediction interval of each as a share, None where they have none."""

    role: str
    networks: tuple[MeasuredNetwork, ...]
    half_width: float | None

    @property
    def name(self) -> str:
        """For a legend."""
        interval = "" if self.half_width is None else f", {LEVEL:.0%} prediction interval"
        return NAMES[self.role] + interval

    @property
    def predicted_ms(self) -> list[float]:
        """What the table foretells, each network left out."""
        return [one.predicted_ms for one in self.networks]

    @property
    def measured_ms(self) -> list[float]:
        """What was measured."""
        return [one.found.latency_ms for one in self.networks]

    @property
    def half_widths_ms(self) -> list[float] | None:
        """Half the prediction interval of each."""
        return None if self.half_width is None else [self.half_width * one for one in self.predicted_ms]


def prediction_figure(comparisons: Sequence[Comparison], table: LatencyTable | None = None) -> go.Figure:
    """Predicted against measured latency of exported models and of the networks of `table`.

    The line where they agree, the band where the prediction is within 5 %, the models' measured 95 % intervals, and the
    prediction intervals as far as the table knows them. There must be a model or a network.
    """
    figure = empty_figure("Predicted latency (ms)", "Measured latency (ms)")
    points = [] if table is None else network_points(table)
    low, high = axis_ends(comparisons, points)
    figure.update_xaxes(range=(low, high))
    figure.update_yaxes(range=(low, high))
    if points:
        figure.add_scatter(
            x=[low, high, high, low],
            y=[low / (1 + BAND), high / (1 + BAND), high / (1 - BAND), low / (1 - BAND)],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor="var(--band)",
            hoverinfo="skip",
            name=f"prediction within {BAND:.0%}",
            meta={"role": "band"},
        )
    figure.add_scatter(
        x=(low, high),
        y=(low, high),
        mode="lines",
        line={"color": "var(--muted)", "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
        name="prediction = measurement",
        meta={"role": "agreement"},
    )
    for some in points:
        _add_networks(figure, some)
    if comparisons:
        _add_models(figure, comparisons, table)
    return figure


def proof_sentence(table: LatencyTable) -> str:
    """What the networks of a table say of it, for a caption; "" where none were measured."""
    quality, half = table.quality, table.calibration.half_width(LEVEL)
    if quality is None:
        return ""
    found, ceiling = quality.calibrated, quality.noise_ceiling
    rank = "" if found.spearman is None else f", Spearman {found.spearman:.3f}"
    sentence = (
        f"On {quality.networks} networks, each left out of the fit that foretells it, the table errs by "
        f"{100 * found.mean_error:.1f}% on average, {100 * found.within_5:.0f}% of them within 5%{rank}."
    )
    if ceiling is not None:
        sentence += f" Measured a second time they differ by {100 * ceiling.mean_error:.1f}%."
    if half is not None:
        sentence += f" The {LEVEL:.0%} prediction interval is ± {100 * half:.1f}%."
    return sentence


def network_points(table: LatencyTable) -> list[NetworkPoints]:
    """The networks of a table by role. The interval is that of the role which the prediction is proven by."""
    proving = "calibration" if calibrated_networks(table) else "carrier"
    half = table.calibration.half_width(LEVEL)
    by_role = {role: tuple(one for one in table.networks if one.role == role) for role in ("carrier", "calibration")}
    return [NetworkPoints(role, some, half if role == proving else None) for role, some in by_role.items() if some]


def axis_ends(comparisons: Sequence[Comparison], points: Sequence[NetworkPoints]) -> tuple[float, float]:
    """The ends of both axes."""
    ends = [end for item in comparisons for end in (item.predicted_ms, item.low_ms, item.high_ms)]
    ends += [end for some in points for end in (*some.predicted_ms, *some.measured_ms)]
    pad = PADDING * ((max(ends) - min(ends)) or max(ends))
    return max(0.0, min(ends) - pad), max(ends) + pad


def _add_networks(figure: go.Figure, some: NetworkPoints) -> None:
    colour = "var(--front)" if some.role == "calibration" else "var(--cloud)"
    figure.add_scatter(
        x=some.predicted_ms,
        y=some.measured_ms,
        mode="markers",
        marker={"symbol": SYMBOLS[some.role], "color": colour, "size": 7, "line": {"color": colour, "width": 1.5}},
        error_x=None if some.half_widths_ms is None else error_bars(some.half_widths_ms, some.half_widths_ms, colour),
        hovertext=[_network_hover(one) for one in some.networks],
        hoverinfo="text",
        name=some.name,
        meta={"role": some.role},
    )


def _add_models(figure: go.Figure, comparisons: Sequence[Comparison], table: LatencyTable | None) -> None:
    halves = model_half_widths(comparisons, table)
    figure.add_scatter(
        x=[item.predicted_ms for item in comparisons],
        y=[item.measured_ms for item in comparisons],
        error_x=None if halves is None else error_bars(halves, halves, "var(--winner)"),
        error_y=error_bars(*model_errors(comparisons), "var(--winner)"),
        hovertext=[_comparison_hover(item) for item in comparisons],
        name=MODEL_NAME,
        **_labelled_dots(comparisons),
    )


def model_errors(comparisons: Sequence[Comparison]) -> tuple[list[float], list[float]]:
    """How far the measured 95 % intervals reach above and below, in ms."""
    above = [item.high_ms - item.measured_ms for item in comparisons]
    return above, [item.measured_ms - item.low_ms for item in comparisons]


def model_half_widths(comparisons: Sequence[Comparison], table: LatencyTable | None) -> list[float] | None:
    """Half the prediction interval of each model in ms, as it was verified, else as the table knows it."""
    half = None if table is None else table.calibration.half_width(LEVEL)
    if half is None and not all(item.predicted_interval_ms for item in comparisons):
        return None
    found = []
    for item in comparisons:
        low, high = item.predicted_interval_ms or (0.0, 2 * (half or 0.0) * item.predicted_ms)
        found.append((high - low) / 2)
    return found


def _labelled_dots(comparisons: Sequence[Comparison]) -> dict[str, object]:
    """Exported models as small dots, so that error bars stay in sight, with their number on the side off the line."""
    return {
        **badges([item.model for item in comparisons]),
        "marker": {"color": "var(--winner)", "size": 9, "line": {"color": "var(--surface)", "width": 1}},
        "textposition": ["bottom right" if item.relative_error > 0 else "top left" for item in comparisons],
        "textfont": {"color": "var(--winner)", "size": 13},
        "customdata": [f"model-{item.model.number}" for item in comparisons],
        "meta": {"role": "point"},
    }


def _network_hover(one: MeasuredNetwork) -> str:
    measured = one.found.latency_ms
    return (
        f"<b>{'Calibrates' if one.role == 'calibration' else 'Of the rows'}</b>"
        f"<br>Predicted: {significant(one.predicted_ms)} ms"
        f"<br>Measured: {with_half_width(measured, *one.found.ci95_ms)} ms"
        f"<br>Prediction off by {signed_percent(one.predicted_ms / measured - 1)}"
    )


def _comparison_hover(item: Comparison) -> str:
    return (
        f"<b>{item.model.number} · {html.escape(item.model.name)}</b>"
        f"<br>Predicted: {significant(item.predicted_ms)} ms"
        f"<br>Measured: {with_half_width(item.measured_ms, item.low_ms, item.high_ms)} ms"
        f"<br>Prediction off by {signed_percent(item.relative_error)}"
    )
