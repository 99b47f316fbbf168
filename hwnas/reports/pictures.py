"""The picture of `predictions` as a PNG, for where no page can be shown. It has the colours of a light page."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hwnas.files import replacing
from hwnas.latency import LatencyTable
from hwnas.reports.comparisons import Comparison
from hwnas.reports.predictions import (
    BAND,
    MODEL_NAME,
    NetworkPoints,
    axis_ends,
    model_errors,
    model_half_widths,
    network_points,
    proof_sentence,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_predictions"]

WINNER, MUTED, BAND_COLOUR, GRID = "#b84a00", "#566070", "#e3edf5", "#e8ebef"
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "calibration": {"fmt": "D", "color": "#0068a8"},
    "carrier": {"fmt": "o", "color": "#8c96a5", "markerfacecolor": "none"},
}
BARS: Final[dict[str, Any]] = {"markersize": 5, "elinewidth": 1, "capsize": 2.5}
CAPTION_WIDTH: Final = 96


def draw_predictions(table: LatencyTable, path: Path, comparisons: Sequence[Comparison] = ()) -> Path:
    """Draws the networks of a table, and exported models, into a PNG.

    Args:
        table: with measured networks.
        path: the file; its folder is made.
        comparisons: the exported models that were measured on the table's device.

    Raises:
        StoredFileError: it cannot be written.
    """
    from matplotlib.figure import Figure  # here: loading it takes a while, and few commands draw

    figure = Figure(figsize=(6.4, 6.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    points = network_points(table)
    _draw_frame(axes, axis_ends(comparisons, points), table)
    for some in points:
        _draw_networks(axes, some)
    if comparisons:
        _draw_models(axes, comparisons, table)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.supxlabel(textwrap.fill(proof_sentence(table), CAPTION_WIDTH), fontsize=8, color=MUTED)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png")
    return path


def _draw_frame(axes: "Axes", view: tuple[float, float], table: LatencyTable) -> None:
    """The axes, the band and the diagonal."""
    low, high = view
    edges = [low / (1 + BAND), high / (1 + BAND)], [low / (1 - BAND), high / (1 - BAND)]
    axes.fill_between(view, *edges, color=BAND_COLOUR, label=f"prediction within {BAND:.0%}", linewidth=0)
    axes.plot(view, view, "--", color=MUTED, linewidth=1.2, label="prediction = measurement")
    identity = table.identity
    shape = "x".join(map(str, identity.input_shape))
    axes.set(xlim=view, ylim=view, aspect="equal", xlabel="Predicted latency (ms)", ylabel="Measured latency (ms)")
    axes.set_title(
        f"{identity.space} {shape} on {identity.device}, {identity.runtime} {identity.precision}", fontsize=10
    )
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_networks(axes: "Axes", some: NetworkPoints) -> None:
    axes.errorbar(
        some.predicted_ms,
        some.measured_ms,
        xerr=some.half_widths_ms,
        label=some.name,
        **LOOKS[some.role],
        **BARS,
    )


def _draw_models(axes: "Axes", comparisons: Sequence[Comparison], table: LatencyTable) -> None:
    """The exported models, each with its number on the side off the diagonal."""
    above, below = model_errors(comparisons)
    axes.errorbar(
        [item.predicted_ms for item in comparisons],
        [item.measured_ms for item in comparisons],
        xerr=model_half_widths(comparisons, table),
        yerr=[below, above],
        fmt="s",
        color=WINNER,
        label=MODEL_NAME,
        **BARS,
    )
    for item in comparisons:
        axes.annotate(
            str(item.model.number),
            (item.predicted_ms, item.measured_ms),
            xytext=(6, -14) if item.relative_error > 0 else (-12, 6),
            textcoords="offset points",
            color=WINNER,
            fontweight="bold",
        )
