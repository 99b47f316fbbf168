"""Pictures of `predictions` and `audits` as files, for where no page can be shown. They have a light page's colours."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hwnas.errors import SettingsError
from hwnas.files import replacing
from hwnas.latency import LatencyTable
from hwnas.rank_audit import RankAudit
from hwnas.reports.audits import PICK_NAME, REGRET_NAME, X_TITLE, audit_sentence, others, y_title
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

__all__ = ["draw_audit", "draw_predictions"]

WINNER, MUTED, BAND_COLOUR, GRID = "#b84a00", "#566070", "#e3edf5", "#e8ebef"
NETWORK: Final = "#0068a8"
FORMATS: Final = (".svg", ".png")
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "calibration": {"fmt": "D", "color": NETWORK},
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


def draw_audit(audit: RankAudit, path: Path) -> Path:
    """Draws the networks of an audit: their error with the supernet's weights against that alone.

    Args:
        audit: the audit.
        path: the file, .svg or .png; its folder is made.

    Raises:
        SettingsError: `path` has another ending.
        StoredFileError: it cannot be written.
    """
    from matplotlib import rc_context  # here: loading it takes a while, and few commands draw
    from matplotlib.figure import Figure

    if path.suffix not in FORMATS:
        raise SettingsError(str(path), f"must end in {' or '.join(FORMATS)}", came=f"it ends in {path.suffix!r}")
    figure = Figure(figsize=(6.4, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    opacity = 0.75 if len(audit.entries) <= 200 else 0.4
    rest = _percents([(one.supernet_error, one.alone_error) for one in others(audit)])
    axes.plot(*rest, "o", color=NETWORK, alpha=opacity, markersize=5, markeredgewidth=0, label="network")
    _draw_pick(axes, audit)
    axes.set(xlabel=X_TITLE, ylabel=y_title(audit))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.supxlabel(textwrap.fill(audit_sentence(audit), CAPTION_WIDTH), fontsize=8, color=MUTED)
    undated = {"Date": None} if path.suffix == ".svg" else None
    with replacing(path) as scratch, rc_context({"svg.hashsalt": "hwnas"}):  # the same audit gives the same file
        figure.savefig(scratch, format=path.suffix[1:], metadata=undated)
    return path


def _draw_pick(axes: "Axes", audit: RankAudit) -> None:
    """The network that the supernet ranks first, and the way from it to the best alone."""
    pick, best = audit.pick, audit.best
    axes.plot(100 * pick.supernet_error, 100 * pick.alone_error, "s", color=WINNER, markersize=9, label=PICK_NAME)
    if audit.regret > 0:
        corner = (pick.supernet_error, best.alone_error)
        way = _percents([(pick.supernet_error, pick.alone_error), corner, (best.supernet_error, best.alone_error)])
        axes.plot(*way, ":", color=WINNER, linewidth=1.3, label=REGRET_NAME)


def _percents(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [100 * x for x, _ in points], [100 * y for _, y in points]


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
