"""The same architecture in two precisions: what quantisation costs in accuracy and brings in time."""

import html
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

from hwnas.reports.canvas import empty_figure
from hwnas.reports.documents import Run
from hwnas.reports.elements import Drawing
from hwnas.reports.quantities import scale_for, significant
from hwnas.reports.verifications import FileRecord, ModelRecord

__all__ = ["Pair", "pair_drawings", "pair_sentence", "pairs_of"]

FLOAT: Final = "fp32"
ROW_PX: Final = 38

Drawn = tuple["Pair", float, float]
"""A pair with its value in float and in the smaller precision."""


@dataclass(frozen=True)
class Pair:
    """One model's float file and the same network in a smaller precision."""

    model: ModelRecord
    float_file: FileRecord
    small_file: FileRecord


def pairs_of(run: Run, precision: str) -> tuple[Pair, ...]:
    """The models that were exported both in fp32 and in `precision`."""
    files = [(model, model.in_precision(FLOAT), model.in_precision(precision)) for model in run.models]
    return tuple(Pair(model, large, small) for model, large, small in files if large is not None and small is not None)


def pair_drawings(run: Run, pairs: Sequence[Pair]) -> list[Drawing]:
    """A dumbbell plot for the test accuracy, and one for the measured latency on each device of the run."""
    quantities: list[tuple[str, str, Callable[[FileRecord], float | None]]] = [
        ("Test accuracy", "fraction", lambda file: file.test_accuracy)
    ]
    for device in run.verification.devices if run.verification is not None else ():
        quantities.append((f"Latency on {device}", "ms", _measured_on(device)))
    return [
        Drawing(
            f"{pairs[0].small_file.precision}-{number}",
            _dumbbells(title, unit, drawn),
            label=f"{title} of {len(drawn)} models in both precisions.",
            heading=title,
        )
        for number, (title, unit, value) in enumerate(quantities)
        if (drawn := _drawn(pairs, value))
    ]


def pair_sentence(run: Run, pairs: Sequence[Pair], precision: str) -> str:
    """What the smaller precision costs and brings, in medians, for a caption."""
    sentences = []
    drops = [a - b for _, a, b in _drawn(pairs, lambda file: file.test_accuracy)]
    if drops:
        points = 100 * statistics.median(drops)
        direction = "lower" if points > 0 else "higher"
        change = f"{abs(points):.2f} points {direction}" if round(points, 2) else "the same"
        within = sum(drop <= 0.005 + 1e-9 for drop in drops)
        sentences.append(
            f"In {precision} the median test accuracy is {change}; {within} of {len(drops)} models lose at most 0.5 points."
        )
    for device in run.verification.devices if run.verification is not None else ():
        found = _drawn(pairs, _measured_on(device))
        ratios = [a / b for _, a, b in found if b > 0]
        if ratios:
            factor = statistics.median(ratios)
            word = (
                f"{significant(factor, 2)} times as fast"
                if factor >= 1
                else f"{significant(1 / factor, 2)} times slower"
            )
            sentences.append(f"On {device} it is {word} (median of {len(ratios)}).")
    return " ".join(sentences)


def _measured_on(device: str) -> Callable[[FileRecord], float | None]:
    return lambda file: file.latency_on(device).measured_ms


def _drawn(pairs: Sequence[Pair], value: Callable[[FileRecord], float | None]) -> list[Drawn]:
    """The pairs that have a value in both precisions, with the values."""
    rows = [(pair, value(pair.float_file), value(pair.small_file)) for pair in pairs]
    return [(pair, a, b) for pair, a, b in rows if a is not None and b is not None]


def _dumbbells(title: str, unit: str, drawn: Sequence[Drawn]) -> go.Figure:
    """A row for each pair: an open circle in float, a filled diamond in the smaller precision, a line between them."""
    scale = scale_for(unit, [value for _, *both in drawn for value in both])
    figure = empty_figure(scale.axis_unit, "")
    figure.update_layout(height=ROW_PX * len(drawn) + 92, annotations=[], margin={"t": 8})
    figure.update_xaxes(showgrid=True)
    names = [pair.model.name for pair, *_ in drawn]
    figure.update_yaxes(
        autorange="reversed", type="category", categoryorder="array", categoryarray=names,
        tickfont={"color": "var(--ink)", "size": 13},
    )  # fmt: skip
    figure.add_scatter(
        x=[x for _, a, b in drawn for x in (a * scale.factor, b * scale.factor, None)],
        y=[y for name in names for y in (name, name, None)],
        mode="lines",
        line={"color": "var(--line)", "width": 4},
        hoverinfo="skip",
        name="from one to the other",
        meta={"role": "link"},
    )
    precision = drawn[0][0].small_file.precision
    looks = (("fp32", 1, "circle-open", "var(--ink)", 11), (precision, 2, "diamond", "var(--winner)", 12))
    for name, place, symbol, colour, size in looks:
        figure.add_scatter(
            x=[row[place] * scale.factor for row in drawn],  # type: ignore[operator]  # the values of a row are numbers
            y=names,
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"color": colour, "width": 2.5}},
            customdata=[f"model-{pair.model.number}" for pair, *_ in drawn],
            hovertext=[
                f"<b>{html.escape(row[0].model.name)}</b>, {html.escape(name)}<br>{title}: {scale.write(row[place])}"  # type: ignore[arg-type]
                for row in drawn
            ],
            hoverinfo="text",
            cliponaxis=False,
            name=name,
            meta={"role": f"precision-{'float' if place == 1 else 'small'}"},
        )
    return figure
