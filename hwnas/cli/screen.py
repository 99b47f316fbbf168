"""What the command line shows: progress bars, tables, one-sentence errors."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from hwnas.progress import OnProgress

if TYPE_CHECKING:
    from hwnas.api.listing import RuntimeListing, StrategyListing
    from hwnas.api.picking import Pick
    from hwnas.api.run_folder import RunFolder
    from hwnas.devices import Device
    from hwnas.errors import HwnasError
    from hwnas.front import ParetoFront
    from hwnas.predictors import PredictorQuality
    from hwnas.rank_audit import RankAudit
    from hwnas.ranking import RankAgreement
    from hwnas.spaces import SearchSpace

EXACT: Final = ("macs", "parameters")
"""Values that are neither measured nor predicted."""
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

FRONT_ROWS = 20
STOPPED = 130


class LogLines(logging.Handler):
    """Shows what hwnas logs as plain lines above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the record."""
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        console.print(f"[{style}]{escape(record.getMessage())}[/{style}]", soft_wrap=True)


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Progress bars, one a stage, with an estimate of the time left."""
    columns = (
        TextColumn("[bold]{task.description:<18}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        stages: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int, note: str = "") -> None:
            if stage in stages and bars.tasks[stages[stage]].finished and done < total:
                del stages[stage]
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, note="")
            bars.update(stages[stage], completed=done, total=total, note=escape(note))

        try:
            yield on_progress
        except KeyboardInterrupt as interrupt:
            bars.stop()
            show_error("Stopped. Run the same command again to go on.")
            raise typer.Exit(STOPPED) from interrupt


def show_error(sentence: str) -> None:
    """One sentence on standard error."""
    error_console.print(f"[bold red]Error:[/bold red] {escape(sentence)}")


def show_done(what: str, following: str | None = None) -> None:
    """What came of a command, and what may follow."""
    console.print(escape(what), soft_wrap=True)
    if following is not None:
        console.print(f"[dim]Next: {escape(following)}[/dim]", soft_wrap=True)


def show_supernet(run: "RunFolder") -> None:
    """Where the trained supernet lies, and which architecture its training prefers, if any."""
    said = f"Supernet: {run.supernet}"
    if run.preferred.exists():
        found = json.loads(run.preferred.read_text(encoding="utf-8"))
        latency_ms = found.get("expected_latency_ms")
        expected = "" if latency_ms is None else f", expected latency of the trained probabilities {latency_ms:.3g} ms"
        said += f"\nPreferred architecture: {found['description']}{expected}"
        said += f"\nTrain it alone: hwnas train {run.path} --architecture preferred --start scratch"
    show_done(said, f"hwnas search {run.path}")


def show_trained(place: Path) -> None:
    """What came of training one architecture by itself."""
    result = json.loads((place / "result.json").read_text(encoding="utf-8"))
    show_done(
        f"Trained {result['description']} ({result['macs'] / 1e6:.2f} M MACs) for {result['epochs']} epochs, "
        f"{'from scratch' if result['start'] == 'scratch' else 'from inherited weights'}: "
        f"test accuracy {result['test_accuracy']:.2%}, validation accuracy {result['validation_accuracy']:.2%}\n"
        f"Files: {place}"
    )


def show_audit(audit: "RankAudit") -> None:
    """The agreement of the supernet's order with that of networks trained alone, in a sentence."""
    from hwnas.reports import audit_sentence

    console.print(escape(audit_sentence(audit)), soft_wrap=True)


def show_pick(picked: "Pick") -> None:
    """A picked member of the front, what of it was measured, and by how much it misses its bounds."""
    from hwnas.api.bounds import shown_name, shown_value

    units = {"error": "fraction", "macs": "MACs", "parameters": "parameters"}
    known = ", ".join(
        f"{shown_name(name)} {shown_value(value, units.get(name, 'ms'))}"
        f"{'' if name in EXACT else ' (measured)' if name in picked.measured else ' (predicted)'}"
        for name, value in picked.values.items()
    )
    if picked.misses:
        console.print(
            f"[yellow]No member of the front keeps these bounds; this one misses them by the least: "
            f"{escape('; '.join(picked.misses))}[/yellow]",
            soft_wrap=True,
        )
    console.print(escape(f"{picked.description}: {known}"), soft_wrap=True)


def show_devices(devices: "Mapping[str, Device | HwnasError]", runtimes: "Sequence[RuntimeListing]") -> None:
    """The devices and the runtimes."""
    table = Table("Device", "Runtimes", "Threads", "Address", "Description", title="Devices", title_justify="left")
    for name, device in devices.items():
        if isinstance(device, Exception):
            table.add_row(name, "", "", "", f"[red]{escape(str(device))}[/red]")
        else:
            table.add_row(
                name,
                ", ".join(device.runtimes),
                str(device.num_threads),
                escape(device.address),
                escape(device.description),
            )
    console.print(table)
    versions = Table("Runtime", "Version", "If missing", title="Runtimes", title_justify="left")
    for one in runtimes:
        shown = one.version or "[yellow]not here[/yellow]"
        versions.add_row(one.name, shown, "" if one.version else escape(one.install_hint))
    console.print(versions)


def show_spaces(spaces: Mapping[str, str]) -> None:
    """The spaces, each with what it says of itself."""
    table = Table("Space", "What it holds", title="Search spaces", title_justify="left")
    for name, text in spaces.items():
        table.add_row(name, escape(" ".join(text.split())))
    console.print(table)


def show_strategies(strategies: Mapping[str, "StrategyListing"]) -> None:
    """The strategies, each with what it says of itself and its hyperparameters."""
    table = Table("Strategy", "How it searches", "Hyperparameters", title="Search strategies", title_justify="left")
    for name, one in strategies.items():
        defaults = one.hyperparameters.items()
        options = "\n".join(option if value is None else f"{option} = {value}" for option, value in defaults)
        table.add_row(name, escape(" ".join(one.text.split())), escape(options))
    console.print(table)


def show_front(
    front: "ParetoFront", space: "SearchSpace", folder: Path, predictor: "PredictorQuality | None" = None
) -> None:
    """The members of a front, and how well a predictor foretells the errors of all that were evaluated."""
    names = [objective.name for objective in front.objectives]
    table = Table(*names, "architecture", title=f"Pareto front: {len(front)} of all evaluated", title_justify="left")
    for one in front.choose(FRONT_ROWS):
        values = [_shown(one.values[o.name], o.unit) for o in front.objectives]
        table.add_row(*values, escape(space.describe(one.architecture)))
    console.print(table)
    if predictor is not None:
        console.print(
            f"Predictor of the error, on {len(predictor.networks)} networks held out: {_kendall(predictor.ranking)} "
            f"(MACs alone: {_kendall(predictor.macs)}); {predictor.coverage:.0%} of errors in their 90% interval",
            soft_wrap=True,
        )
    more = f" ({FRONT_ROWS} shown)" if len(front) > FRONT_ROWS else ""
    show_done(f"Front of {len(front)}{more}: {folder / 'front.json'}", f"hwnas export {folder}")


def _kendall(ranking: "RankAgreement") -> str:
    return "no order to compare" if ranking.kendall is None else f"Kendall {ranking.kendall:.2f}"


def _shown(value: float, unit: str) -> str:
    if unit == "fraction":
        return f"{value:.2%}"
    if unit in {"MACs", "parameters"}:
        return f"{value / 1e6:.2f} M"
    return f"{value:.3f} {unit}"
