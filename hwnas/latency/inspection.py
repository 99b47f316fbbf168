"""Looking at a latency table as a whole: which space it is of, whether it is complete, and what is wrong with it."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hwnas.errors import ArchitectureError, HwnasError
from hwnas.latency.table import LatencyTable, option_text, profile_command
from hwnas.spaces import SearchSpace, find_space, make_space

__all__ = ["Finding", "calibrated_networks", "inspect_table", "space_of"]

DEFAULT_CLASSES: Final = 1000
WIDE: Final = 0.1
SUMS_AGREE: Final = 1e-6


@dataclass(frozen=True)
class Finding:
    """One thing to know of a table.

    Attributes:
        severity: "wrong" where the table should not be used as it is, "note" otherwise.
        text: what it is, a sentence without its full stop.
    """

    severity: Literal["wrong", "note"]
    text: str


def space_of(table: LatencyTable) -> SearchSpace | None:
    """The space that a table is of, None where it cannot be made here.

    Its number of classes is read from the rows, its options from the name that hwnas gave the file.
    """
    operators = [*table.entries, *table.refused]
    classes = {one.attributes["num_classes"] for one in operators if "num_classes" in one.attributes}
    identity = table.identity
    try:
        return make_space(
            identity.space,
            input_shape=identity.input_shape,
            num_classes=int(min(classes, default=DEFAULT_CLASSES)),
            options=_options_of(table),
        )
    except (HwnasError, ValueError):
        return None


def calibrated_networks(table: LatencyTable) -> int:
    """How many whole networks calibrate and prove a table, none of its rows being fitted on them."""
    return sum(one.role == "calibration" for one in table.networks)


def inspect_table(
    table: LatencyTable, *, space: SearchSpace | None, present: Mapping[str, Any] | None = None
) -> list[Finding]:
    """All that is wrong with a table that could be read, and what else should be known of it.

    Args:
        table: the table.
        space: the space that it should be of, None where that is not known here.
        present: the environment of its device at this moment, None where that cannot be told.
    """
    found = _rows_of_its_space(table, space)
    found += _rows(table)
    found += [] if space is None else _networks(table, space)
    found += _proof(table)
    changes = [] if present is None else table.changes(present)
    if changes:
        found.append(Finding("wrong", f"stale, since {', '.join(changes)}"))
    return [*found, *(Finding("note", flag) for flag in table.flags)]


def _options_of(table: LatencyTable) -> dict[str, float | list[float]]:
    """The options in the name of the table's file: {"width_mult": [0.5, 1.0]} of "…-3x160x160-width_mult0.5,1.json"."""
    if table.path is None:
        return {}
    shape = "x".join(map(str, table.identity.input_shape))
    parts = table.path.stem.rpartition(f"-{table.identity.space}-{shape}")[2].split("-")
    names = inspect.signature(find_space(table.identity.space)).parameters
    return {
        name: values if len(values) > 1 else values[0]
        for part in parts
        for name in names
        if part.startswith(name) and part != name
        for values in [[float(value) for value in part.removeprefix(name).split(",")]]
    }


def _rows_of_its_space(table: LatencyTable, space: SearchSpace | None) -> list[Finding]:
    if space is None:
        return [
            Finding("note", f"its space {table.identity.space} cannot be made here, so its operators were not checked")
        ]
    operators = space.all_operators()
    missing = table.missing(operators)
    refused = [one for one in missing if one in table.refused]
    absent = [one for one in missing if one not in table.refused]
    unknown = [one for one in table.entries if one not in set(operators)]
    found = []
    if refused:
        why = table.refused[refused[0]]
        text = f"incomplete: {table.identity.runtime} refuses {_some(refused, len(operators))}, and says {why}"
        found.append(Finding("wrong", text))
    if absent:
        found.append(Finding("wrong", f"incomplete: no row for {_some(absent, len(operators))}"))
    if unknown:
        text = f"{space.name} with {_described(space)} has no such operators: {_some(unknown, len(table.entries))}"
        found.append(Finding("wrong", text))
    return found


def _rows(table: LatencyTable) -> list[Finding]:
    entries = table.entries
    below = [one for one, row in entries.items() if row.latency_ms < 0]
    nothing = [one for one, row in entries.items() if row.latency_ms == 0]
    wide = [one for one, row in entries.items() if row.ci95_ms[1] - row.ci95_ms[0] > WIDE * row.latency_ms > 0]
    found = []
    if below:
        found.append(Finding("wrong", f"rows below 0 ms: {_some(below, len(entries))}"))
    if nothing:
        found.append(Finding("wrong", f"rows that cost nothing: {_some(nothing, len(entries))}"))
    if wide:
        found.append(Finding("note", f"rows whose 95 % interval is wider than {WIDE:.0%}: {_some(wide, len(entries))}"))
    return found


def _networks(table: LatencyTable, space: SearchSpace) -> list[Finding]:
    """Whether the networks are of the space, and their sums those of the rows."""
    found = []
    adapted = table.source.startswith("adapted")  # its networks' sums are by rows that were adapted to the others
    for number, one in enumerate(table.networks):
        try:
            operators = space.operators(space.architecture(one.choices))
        except ArchitectureError as error:
            found.append(Finding("wrong", f"network {number} is not of {space.name}: {error}"))
            continue
        if one.found.latency_ms <= 0:
            found.append(Finding("wrong", f"network {number} takes {one.found.latency_ms:g} ms"))
        if one.role == "calibration" and not adapted and not table.missing(operators):
            summed = sum(table.entries[operator].latency_ms for operator in operators)
            if abs(summed - one.sum_ms) > SUMS_AGREE * max(summed, one.sum_ms):
                text = f"network {number} says that its rows sum to {one.sum_ms:.6g} ms, but they sum to {summed:.6g}"
                found.append(Finding("wrong", text))
    return found


def _proof(table: LatencyTable) -> list[Finding]:
    shortfall = None if table.quality is None else table.quality.shortfall
    if shortfall is not None:
        return [Finding("wrong", f"not good enough to search by: {shortfall}")]
    if calibrated_networks(table):
        return []
    proof = (
        "nothing proves it"
        if table.quality is None
        else "what proves it are the networks of its rows, each left out in turn"
    )
    command = profile_command(table.identity, space_of(table))
    return [Finding("note", f"never calibrated; {proof} ({command} --calibrate 10)")]


def _some(items: Sequence[object], count: int) -> str:
    return f"{len(items)} of {count} (the first: {items[0]})"


def _described(space: SearchSpace) -> str:
    options = "".join(f", {name} {option_text(value)}" for name, value in space.options.items())
    return f"{space.num_classes} classes{options}"
