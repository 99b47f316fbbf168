"""What the command line shows of latency tables: how good one is, how two differ, what is wrong with one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hwnas.cli.screen import console, show_done

if TYPE_CHECKING:
    from hwnas.latency import Agreement, Finding, LatencyTable, TableComparison

__all__ = ["show_comparison", "show_description", "show_findings", "show_table"]

SLOWEST = 5
FEW = 5
ABSENT = "–"


def show_table(table: "LatencyTable") -> None:
    """How good a latency table is, its slowest operators, and where it lies."""
    show_quality(table)
    show_slowest(table)
    show_flags(table)
    show_done(f"Latency table of {len(table.entries)} operators: {table.path}")


def show_quality(table: "LatencyTable") -> None:
    """The proof of a table beside what it is to be held against, all of networks that were left out."""
    from hwnas.latency import calibrated_networks

    quality, calibrated = table.quality, calibrated_networks(table) > 0
    if quality is not None:
        shown = _new_table("", "Spearman", "Kendall", "mean\nerror", "within\n5 %", "within\n10 %")
        shown.show_edge = shown.pad_edge = False  # so that it fits into 80 columns
        shown.title = f"Quality on {quality.networks} networks, each left out of the fit that foretells it"
        if calibrated:
            shown.add_row("calibrated prediction", *_agreement(quality.calibrated))
        shown.add_row("sum of rows", *_agreement(quality.raw_sum))
        shown.add_row("MACs alone", *_agreement(quality.macs))
        shown.add_row("noise ceiling (measured twice)", *_agreement(quality.noise_ceiling))
        console.print(shown)
        if quality.shortfall is not None:
            console.print(f"[yellow]Not good enough to search by: {escape(quality.shortfall)}[/yellow]", soft_wrap=True)
    if not calibrated:
        from hwnas.latency import profile_command, space_of

        command = f"{profile_command(table.identity, space_of(table))} --calibrate 10"
        console.print(f"[yellow]Never calibrated.[/yellow] [dim]Next: {escape(command)}[/dim]", soft_wrap=True)


def show_slowest(table: "LatencyTable") -> None:
    """The slowest operators with their intervals."""
    rows = _new_table("Slowest operators", "ms", "95 % interval")
    for operator, found in sorted(table.entries.items(), key=lambda entry: -entry[1].latency_ms)[:SLOWEST]:
        low, high = found.ci95_ms
        rows.add_row(escape(str(operator)), f"{found.latency_ms:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(rows)


def show_flags(table: "LatencyTable") -> None:
    """What speaks against trusting a table."""
    for flag in table.flags:
        console.print(f"[yellow]! {escape(flag)}[/yellow]", soft_wrap=True)


def show_description(table: "LatencyTable", description: Mapping[str, Any]) -> None:
    """All that a table says of itself; `description` as `hwnas.api.describe_table` gives it."""
    facts = Table(show_header=False, title=escape(str(table.path)), title_justify="left")
    for name, value in description["identity"].items():
        facts.add_row(name.replace("_", " "), _plain(value))
    facts.add_row("source", escape(table.source))
    environment = [f"{name} {_plain(value)}" for name, value in table.fingerprint.items() if value is not None]
    facts.add_row("environment", escape(", ".join(environment)) or "not known")
    facts.add_row("operators", escape(_completeness(description)))
    facts.add_row("calibration", escape(_calibration(table, description)))
    console.print(facts)
    for what, lines in (
        ("missing", description["missing"]),
        ("refused", [f"{operator}: {why}" for operator, why in description["refused"].items()]),
    ):
        for line in lines[:FEW]:
            console.print(f"[yellow]{what}[/yellow] {escape(line)}", soft_wrap=True)
        if len(lines) > FEW:
            console.print(f"[dim]… and {len(lines) - FEW} more; --json lists all[/dim]")
    show_quality(table)
    show_slowest(table)
    show_flags(table)


def show_comparison(found: "TableComparison") -> None:
    """How two tables differ."""
    from hwnas.latency import calibrated_networks

    first, second = found.first, found.second
    for title, differences in (("measured for", found.identity), ("environment", found.fingerprint)):
        if differences:
            shown = Table(title, "first", "second")
            for name, (one, other) in differences.items():
                shown.add_row(name.replace("_", " "), *(escape(_plain(value)) for value in (one, other)))
            console.print(shown)
        else:
            console.print(f"{title.capitalize()}: the same")
    for name, only in (("first", found.only_first), ("second", found.only_second)):
        if only:
            console.print(f"{len(only)} operators in the {name} only, such as {escape(str(only[0]))}", soft_wrap=True)
    ratios = _new_table("Second / first", "shared", "5 %", "median", "95 %")
    ratios.add_row("operators", str(len(found.ratios)), *_quantiles(found.operator_ratio))
    ratios.add_row("networks", str(len(found.networks)), *_quantiles(found.network_ratio))
    console.print(ratios)
    if found.incomparable:
        console.print(f"{len(found.incomparable)} shared operators cost nothing in the first and have no ratio")
    _show_extremes(found)
    quality = _new_table("Quality", "first", "second")
    for label, pick in (("Spearman", 0), ("Kendall", 1), ("mean error", 2), ("within 5 %", 3), ("within 10 %", 4)):
        both = [None if one.quality is None else one.quality.calibrated for one in (first, second)]
        quality.add_row(label, *(_agreement(one)[pick] for one in both))
    quality.add_row("networks left out", *(str(one.quality.networks if one.quality else 0) for one in (first, second)))
    forms = (one.calibration.form if calibrated_networks(one) else "never" for one in (first, second))
    quality.add_row("calibration", *map(escape, forms))
    console.print(quality)


def show_findings(name: str, findings: "Sequence[Finding]") -> None:
    """What is wrong with a table and what else is to be known, a line each."""
    for one in findings:
        style = "red" if one.severity == "wrong" else "dim"
        console.print(f"{escape(name)}: [{style}]{one.severity}: {escape(one.text)}[/{style}]", soft_wrap=True)
    if not any(one.severity == "wrong" for one in findings):
        console.print(f"{escape(name)}: [green]nothing is wrong[/green]", soft_wrap=True)


def _show_extremes(found: "TableComparison") -> None:
    listed = list(found.ratios.items())
    slower = [pair for pair in listed[::-1] if pair[1] > 1][:FEW]
    faster = [pair for pair in listed if pair[1] < 1][:FEW]
    if slower or faster:
        shown = _new_table("Most different operators", "second / first", "first ms", "second ms")
        for operator, ratio in (*slower, *faster):
            both = (table.entries[operator].latency_ms for table in (found.first, found.second))
            shown.add_row(escape(str(operator)), f"{ratio:.3f}", *(f"{one:.4f}" for one in both))
        console.print(shown)


def _new_table(first: str, *others: str) -> Table:
    """A table of numbers: all but the first column are aligned to the right."""
    shown = Table(first, title_justify="left")
    for name in others:
        shown.add_column(name, justify="right")
    return shown


def _agreement(found: "Agreement | None") -> list[str]:
    if found is None:
        return [ABSENT] * 5
    ranks = [ABSENT if one is None else f"{one:.3f}" for one in (found.spearman, found.kendall)]
    return [*ranks, f"{found.mean_error:.2%}", f"{found.within_5:.0%}", f"{found.within_10:.0%}"]


def _quantiles(found: Iterable[float] | None) -> list[str]:
    return [ABSENT] * 3 if found is None else [f"{one:.3f}" for one in found]


def _completeness(description: Mapping[str, Any]) -> str:
    count, whole = description["operators"], description["space_operators"]
    if whole is None:
        return f"{count}; the space cannot be made here, so whether that is all of them is not known"
    missing, refused = len(description["missing"]), len(description["refused"])
    if not missing and not refused:
        return f"{count}, complete for its space"
    return f"{count} of {whole}: incomplete, {missing} missing and {refused} refused by the runtime"


def _calibration(table: "LatencyTable", description: Mapping[str, Any]) -> str:
    """The formula of a prediction, and how far off it may be."""
    found, half = table.calibration, description["interval_90"]
    formula = "the sum of rows" if found.scale == 1 else f"{found.scale:.4g} × the sum of rows"
    formula += f" + {found.per_operator_ms:.4g} ms an operator" if found.per_operator_ms else ""
    formula += f" + {found.overhead_ms:.4g} ms a call" if found.overhead_ms else ""
    interval = "how far off is not known" if half is None else f"90 % of networks within ± {half:.1%}"
    if not table.networks:
        return "never: a prediction is the sum of rows, and how far off that is is not known"
    measured = f"{description['calibration_networks']} networks, besides {description['carriers']} of the rows"
    return f"{formula}; {interval} ({measured})"


def _plain(value: Any) -> str:
    if value is None:
        return "not known"
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
