"""How the search went: the hypervolume over evaluations and time, the rounds of refinement, and where the time went."""

from collections.abc import Mapping, Sequence
from typing import Final

import plotly.graph_objects as go

from hwnas.reports.canvas import empty_figure
from hwnas.reports.documents import ProgressRecord, Run
from hwnas.reports.quantities import duration, significant
from hwnas.reports.refinements import RoundRecord

__all__ = [
    "hypervolume_figure",
    "hypervolume_over_time",
    "refinement_figure",
    "refinement_label",
    "refinement_sentence",
    "spent_figure",
    "spent_label",
    "spent_seconds",
    "spent_sentence",
]

SERIES: Final = ("a", "b", "c", "d")
SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up")
STAGES: Final = ("profiling", "training", "searching", "exporting", "verifying", "comparing")
"""The order in which a run goes through them."""


def hypervolume_figure(progress: Sequence[ProgressRecord]) -> go.Figure:
    """The hypervolume of the front against the number of evaluations made."""
    return _hypervolume(progress, "Evaluations", [record.evaluations for record in progress])


def hypervolume_over_time(progress: Sequence[ProgressRecord]) -> go.Figure | None:
    """The same against the time that the search had taken; None where the log has no times."""
    timed = [record for record in progress if record.seconds is not None]
    if not timed or not max(record.seconds or 0.0 for record in timed):
        return None
    longest = max(record.seconds or 0.0 for record in timed)
    unit, size = ("h", 3600.0) if longest >= 7200 else ("min", 60.0) if longest >= 120 else ("s", 1.0)
    return _hypervolume(timed, f"Time searched ({unit})", [(record.seconds or 0.0) / size for record in timed])


def _hypervolume(progress: Sequence[ProgressRecord], title: str, x: Sequence[float]) -> go.Figure:
    figure = empty_figure(title, "Hypervolume")
    figure.update_xaxes(rangemode="tozero")
    figure.add_scatter(
        x=x,
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


def refinement_figure(rounds: Sequence[RoundRecord]) -> go.Figure:
    """The median error of the predictions (%) over the rounds, a line a device."""
    figure = empty_figure("Round", "Median error of the predictions (%)")
    figure.update_xaxes(
        tickvals=[one.number for one in rounds], range=(rounds[0].number - 0.2, rounds[-1].number + 0.2)
    )
    figure.update_yaxes(rangemode="tozero")
    for index, device in enumerate(_devices(rounds)):
        drawn = [one for one in rounds if device in one.median_error]
        colour = f"var(--series-{SERIES[index % len(SERIES)]})"
        figure.add_scatter(
            x=[one.number for one in drawn],
            y=[100 * one.median_error[device] for one in drawn],
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"color": colour, "size": 9, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            hovertext=[_round_hover(one, device) for one in drawn],
            hoverinfo="text",
            cliponaxis=False,
            name=device,
            meta={"role": f"series-{SERIES[index % len(SERIES)]}"},
        )
    return figure


def refinement_sentence(rounds: Sequence[RoundRecord]) -> str:
    """What the rounds have brought, for a caption."""
    first, last = rounds[0], rounds[-1]
    falls = [
        f"from {100 * first.median_error[device]:.1f}% to {100 * last.median_error[device]:.1f}% on {device}"
        for device in _devices(rounds)
        if device in first.median_error and device in last.median_error
    ]
    outside = int(sum(last.outside_interval.values()))
    left = "every measured model lies within its prediction interval"
    if outside:
        left = f"{outside} measured latenc{'y lies' if outside == 1 else 'ies lie'} outside the prediction interval"
    moved = f"The median error goes {', '.join(falls)}; after" if len(rounds) > 1 and falls else "After"
    return f"{moved} the last of {len(rounds)} round{'' if len(rounds) == 1 else 's'} {left}."


def refinement_label(rounds: Sequence[RoundRecord]) -> str:
    """What the figure shows, for who cannot see it."""
    return f"Median error of the latency predictions over {len(rounds)} rounds of refinement."


def spent_seconds(run: Run) -> dict[str, float]:
    """How long each stage has taken, in the order of a run; of a run without such records the search alone."""
    spent: dict[str, float] = {}
    for one in run.stages:
        spent[one.name] = spent.get(one.name, 0.0) + one.seconds
    searched = max((record.seconds or 0.0 for record in run.progress), default=0.0)
    if searched and "searching" not in spent:
        spent["searching"] = searched
    order = {name: place for place, name in enumerate(STAGES)}
    return dict(sorted(spent.items(), key=lambda item: order.get(item[0], len(order))))


def spent_figure(spent: Mapping[str, float]) -> go.Figure:
    """The seconds of each stage as bars, the first stage on top."""
    figure = empty_figure("", "")
    figure.update_layout(height=40 * len(spent) + 24, annotations=[], margin={"t": 4, "b": 4})
    figure.update_xaxes(visible=False, range=(0, 1.28 * max(spent.values())))
    figure.update_yaxes(autorange="reversed", showgrid=False, tickfont={"color": "var(--ink)", "size": 13})
    figure.add_bar(
        x=list(spent.values()),
        y=[name.capitalize() for name in spent],
        orientation="h",
        width=0.55,
        marker={"color": "var(--front)"},
        text=[duration(seconds) for seconds in spent.values()],
        textposition="outside",
        textfont={"color": "var(--ink)", "size": 13},
        cliponaxis=False,
        hoverinfo="skip",
        name="time spent",
        meta={"role": "spent"},
    )
    return figure


def spent_sentence(run: Run, spent: Mapping[str, float]) -> str:
    """What the run has taken in all, and what is not known of it, for a caption."""
    sentence = f"{duration(sum(spent.values()))} in all."
    evaluating = sum(one.seconds or 0.0 for one in run.evaluations)
    if evaluating:
        each = duration(evaluating / len(run.evaluations))
        sentence += (
            f" The {len(run.evaluations)} evaluations took {each} each on average, {duration(evaluating)} together."
        )
    unknown = [name for name in STAGES[:5] if name not in spent]
    if not run.stages and unknown:
        sentence += f" No time is recorded for {', '.join(unknown[:-1])} and {unknown[-1]}."
    return sentence


def spent_label(spent: Mapping[str, float]) -> str:
    """What the figure shows, for who cannot see it."""
    return "; ".join(f"{name.capitalize()}: {duration(seconds)}" for name, seconds in spent.items()) + "."


def _devices(rounds: Sequence[RoundRecord]) -> list[str]:
    return list(dict.fromkeys(device for one in rounds for device in one.median_error))


def _round_hover(one: RoundRecord, device: str) -> str:
    outside = one.outside_interval.get(device)
    more = "" if outside is None else f"<br>{outside:.0f} of {one.models} outside their interval"
    return (
        f"<b>Round {one.number}</b>, {one.evaluations} evaluations"
        f"<br>Median error {100 * one.median_error[device]:.1f}%{more}"
    )


def _progress_hover(record: ProgressRecord) -> str:
    size = "" if record.front_size is None else f"<br>{record.front_size} on the front"
    return (
        f"<b>Generation {record.generation}</b><br>{record.evaluations} evaluations"
        f"<br>Hypervolume {significant(record.hypervolume, 4)}{size}"
    )
