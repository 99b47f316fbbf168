"""The table and the plot of a comparison of searches, for benchmark_search.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from search_peers import PEERS

from hwnas.files import replacing

__all__ = ["PLOTS", "draw", "markdown"]

PLOTS: Final = (".svg", ".png")
COLOURS: Final = (
    *("#0068a8", "#00806a", "#8a3f9e", "#b08400", "#c2417c", "#4c6b00", "#3f9bd1"),
    *("#7a4a2b", "#566070", "#d1704f", "#2f4b7c", "#7fa33a", "#a98bd1"),
)
BEST, GRID, MUTED = "#b84a00", "#e8ebef", "#566070"
SHARE_TICKS: Final = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
LEAST_MISSING: Final = 5e-4
"""Shares above one less this are drawn as that: the axis is logarithmic in what is missing."""


def by_final_share(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The strategies, the best at the end first."""
    return sorted(document["strategies"].items(), key=lambda item: -item[1]["mean"][-1])


def markdown(document: Mapping[str, Any]) -> str:
    """Mean and worst share at every budget, evaluations to reach shares (mean; worst), and seconds, as a table."""
    shares = next((list(entry["evaluations_to_reach"]) for entry in document["strategies"].values()), [])
    header = ["strategy", *map(str, document["budgets"]), *(f"to {100 * float(share):g} %" for share in shares), "s"]
    rows = [
        [
            name,
            *(f"{mean:.3f} ({worst:.3f})" for mean, worst in zip(entry["mean"], entry["worst"], strict=True)),
            *(reach(entry["evaluations_to_reach"][share]) for share in shares),
            f"{entry['seconds']:.1f}",
        ]
        for name, entry in by_final_share(document)
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def reach(counts: Mapping[str, Any]) -> str:
    """Evaluations needed: mean and worst, or how many seeds came so far."""
    if counts["mean"] is not None:
        return f"{counts['mean']:.0f} ({counts['worst']})"
    known = [count for count in counts["per_seed"] if count is not None]
    return f"{len(known)} of {len(counts['per_seed'])} seeds"


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Draws the mean share over evaluations, peers dashed; the best has a band from its worst seed to its best.

    Raises StoredFileError where it cannot be written.
    """
    figure = Figure(figsize=(8.4, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    counts = document["curve_evaluations"]
    for rank, (name, entry) in enumerate(by_final_share(document)):
        curves_SN = np.array(entry["curves"])
        colour = BEST if rank == 0 else COLOURS[(rank - 1) % len(COLOURS)]
        style: dict[str, Any] = {"linestyle": "--" if name in PEERS else "-", "linewidth": 2.4 if rank == 0 else 1.4}
        axes.plot(counts, curves_SN.mean(axis=0), color=colour, label=name, zorder=3 - rank / 100, **style)
        if rank == 0:
            axes.fill_between(
                counts, curves_SN.min(axis=0), curves_SN.max(axis=0), color=colour, alpha=0.15, linewidth=0
            )
    axes.set_yscale("function", functions=(missing_digits, lambda digits: 1 - 10.0**-digits))
    lowest = min(np.mean(entry["curves"], axis=0).min() for entry in document["strategies"].values())
    ends = [min(lowest, SHARE_TICKS[2]), 1 - LEAST_MISSING]
    axes.set_ylim(*ends)
    ticks = [share for share in SHARE_TICKS if ends[0] <= share <= ends[1]]
    axes.set_yticks(ticks, [f"{share:g}" for share in ticks])
    axes.set_yticks([], minor=True)
    axes.set(xlabel="distinct architectures evaluated", ylabel="share of the true hypervolume, mean over seeds")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper", title="best at the end first", title_fontsize=8)
    figure.supxlabel(caption(document), fontsize=8, color=MUTED)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with replacing(path) as scratch, rc_context({"svg.hashsalt": "hwnas"}):
        figure.savefig(scratch, format=path.suffix[1:], metadata=metadata)


def missing_digits(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many tenfold steps a share is from 0 on the way to 1."""
    digits: npt.NDArray[np.float64] = -np.log10(np.maximum(1 - np.asarray(shares), LEAST_MISSING))
    return digits


def caption(document: Mapping[str, Any]) -> str:
    """What was searched."""
    seeds = sorted({len(entry["curves"]) for entry in document["strategies"].values()})
    objectives = ", ".join(document["objectives"])
    return f"{document['benchmark']}, {document['dataset']}: {objectives}; {' to '.join(map(str, seeds))} seeds"
