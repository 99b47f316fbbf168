"""The report's tables: columns described once, cells written for people and sorted by the numbers beneath."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from hwnas.reports.baselines import BaselineRecord
from hwnas.reports.candidates import Candidate, candidates_of
from hwnas.reports.documents import ObjectiveRecord, Run
from hwnas.reports.quantities import Scale, objective_title, scale_for, significant, wilson_interval, with_half_width
from hwnas.reports.verifications import FileRecord, LatencyRecord, ModelRecord

__all__ = ["baseline_table", "front_table", "model_table", "relative_link"]

Row = TypeVar("Row")
FileRow = tuple[ModelRecord, FileRecord]
NOTHING: Final = "–"


@dataclass(frozen=True)
class Cell:
    """A cell's HTML (escaped already), the value it sorts by, and what it says when pointed at."""

    html: str
    sort: float | str | None
    title: str = ""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column: its heading, how a row fills it, and whether it holds numbers."""

    heading: str
    fill: Callable[[Row], Cell]
    numeric: bool = True


def model_table(run: Run) -> str:
    """The exported files, one a row, those of a model together, with links to them."""
    rows = [(model, file) for model in run.models for file in model.plain_files or model.files]
    images = run.verification.test_images if run.verification is not None else None
    devices = run.verification.devices if run.verification is not None else ()
    several = len({file.precision for _, file in rows}) > 1
    columns: list[Column[FileRow]] = [Column("Model", _model_cell, numeric=False)]
    columns += [Column("Precision", _precision_cell, numeric=False)] if several else []
    columns.append(Column("Test accuracy (%)", lambda row: _accuracy_cell(row, images)))
    for device in devices:
        columns.append(_latency_column(rows, device, f" on {device}" if len(devices) > 1 else ""))
    columns += [
        _counted("MACs", "MACs", rows, lambda row: row[0].macs),
        _counted("Parameters", "parameters", rows, lambda row: row[0].parameters),
        _counted("File", "bytes", rows, lambda row: row[1].size_bytes),
    ]
    if any(file.peak_memory_bytes is not None for _, file in rows):
        columns.append(_counted("Peak memory", "bytes", rows, lambda row: row[1].peak_memory_bytes))
    columns += [
        Column("Same class as torch (%)", _agreement_cell),
        Column("Largest difference", _difference_cell),
    ]
    ids = [f"model-{model.number}" if file is model.own else "" for model, file in rows]
    return _table("models", "The exported files", columns, rows, ids)


def baseline_table(run: Run) -> str:
    """The networks that the run was compared with, one a row."""
    rows = run.baselines
    columns: list[Column[BaselineRecord]] = [
        Column("Network", _baseline_cell, numeric=False),
        Column("Test accuracy (%)", lambda one: _percent_cell(one.test_accuracy)),
    ]
    devices = list(dict.fromkeys(device for one in rows for device in one.latency))
    for device in devices:
        found = [one.latency_on(device).measured_ms for one in rows]
        columns.append(_measured_column(f"Measured on {device} (ms)", found, device))
    columns += [
        _counted("MACs", "MACs", rows, lambda one: one.macs),
        _counted("Parameters", "parameters", rows, lambda one: one.parameters),
        _counted("File", "bytes", rows, lambda one: one.size_bytes),
    ]
    return _table("baselines", "Known networks", columns, rows, [f"baseline-{one.letter}" for one in rows])


def front_table(run: Run) -> str:
    """The architectures on the front with the search's values, one a row."""
    rows = [one for one in candidates_of(run) if one.number is not None]
    columns: list[Column[Candidate]] = [Column("Member", _member_cell, numeric=False)]
    columns += [_scored(objective, rows) for objective in run.objectives]
    if len(run.precisions) > 1:
        columns.append(Column("Precision", lambda one: Cell(html.escape(one.precision), one.precision), numeric=False))
    columns.append(Column("Choices", _choices_cell, numeric=False))
    return _table("front", "The architectures on the front", columns, rows, [])


def relative_link(file: str) -> str | None:
    """The address of `file` relative to the report, or None where it would lead out of the run folder."""
    path = PurePosixPath(file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    return quote(path.as_posix())


def _table(key: str, caption: str, columns: Sequence[Column[Row]], rows: Sequence[Row], ids: Sequence[str]) -> str:
    heads = "".join(
        f'<th scope="col" aria-sort="none"{_class(column)}>'
        f'<button type="button">{html.escape(column.heading)}</button></th>'
        for column in columns
    )
    body = []
    for index, row in enumerate(rows):
        cells = "".join(_cell(column, column.fill(row), header=number == 0) for number, column in enumerate(columns))
        named = f' id="{html.escape(ids[index])}" tabindex="-1"' if ids and ids[index] else ""
        body.append(f"<tr{named}>{cells}</tr>")
    return (
        f'<div class="table-scroll" role="region" tabindex="0" aria-labelledby="caption-{key}">'
        f'<table class="sortable"><caption id="caption-{key}">{html.escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(column: Column[Row], cell: Cell, *, header: bool) -> str:
    value = "" if cell.sort is None else cell.sort if isinstance(cell.sort, str) else repr(cell.sort)
    title = f' title="{html.escape(cell.title)}"' if cell.title else ""
    tag = 'th scope="row"' if header else "td"
    return f'<{tag}{_class(column)} data-sort="{html.escape(value)}"{title}>{cell.html}</{tag.split()[0]}>'


def _class(column: Column[Row]) -> str:
    return ' class="number"' if column.numeric else ""


def _bare(value: float | None, scale: Scale) -> Cell:
    return Cell(NOTHING, None) if value is None else Cell(scale.write_bare(value), value)


def _model_cell(row: FileRow) -> Cell:
    model, file = row
    badge = f'<span class="badge" aria-hidden="true">{model.number}</span>'
    link = relative_link(file.file)
    name = html.escape(model.name)
    shown = name if link is None else f'<a href="{html.escape(link)}">{name}</a>'
    if file is not model.own:
        return Cell(f"{badge}{shown}", float(model.number), title=file.file)
    off = ' <span class="tag">off the front</span>' if model.on_front is False else ""
    choices = " ".join(str(choice) for choice in model.architecture.choices)
    note = _note(model.description or choices)
    return Cell(
        f"{badge}{shown}{off}{note}", float(model.number), f"{file.file}; {model.description}; choices {choices}"
    )


def _precision_cell(row: FileRow) -> Cell:
    model, file = row
    format_ = PurePosixPath(file.file).suffix.removeprefix(".")
    tags = ([] if format_ in ("", "onnx") else [format_]) + (["chosen"] if file is model.own else [])
    shown = "".join(f' <span class="tag">{html.escape(tag)}</span>' for tag in tags)
    return Cell(f"{html.escape(file.precision)}{shown}", file.precision)


def _baseline_cell(one: BaselineRecord) -> Cell:
    badge = f'<span class="badge letter" aria-hidden="true">{one.letter}</span>'
    link = relative_link(one.file)
    name = html.escape(one.name)
    return Cell(badge + (name if link is None else f'<a href="{html.escape(link)}">{name}</a>'), one.letter, one.file)


def _member_cell(one: Candidate) -> Cell:
    badge = "" if one.model is None else f' <span class="tag">{html.escape(one.model.name)}</span>'
    return Cell(f"{one.name}{badge}", float(one.number or 0))


def _percent_cell(fraction: float | None) -> Cell:
    return Cell(NOTHING, None) if fraction is None else Cell(f"{100 * fraction:.1f}", fraction)


def _accuracy_cell(row: FileRow, images: int | None) -> Cell:
    model, file = row
    if file.test_accuracy is None:
        return Cell(NOTHING, None)
    facts = []
    if images:
        low, high = wilson_interval(file.test_accuracy, images)
        facts.append(f"{images} test images, 95% interval {100 * low:.1f} to {100 * high:.1f}%")
    if model.validation_error is not None and file is model.own:
        facts.append(f"estimated by the search {100 * (1 - model.validation_error):.2f}%")
    return Cell(f"{100 * file.test_accuracy:.1f}", file.test_accuracy, "; ".join(facts))


def _latency_column(rows: Sequence[FileRow], device: str, place: str) -> Column[FileRow]:
    """What was measured on a device, above what was predicted."""
    records = [file.latency_on(device) for _, file in rows]
    found = [value for record in records for value in (record.predicted_ms, record.measured_ms) if value is not None]
    scale = scale_for("ms", found)
    return Column(f"Measured{place} (ms)", lambda row: _foretold_cell(row[1].latency_on(device), scale))


def _measured_column(heading: str, found: Sequence[float | None], device: str) -> Column[BaselineRecord]:
    scale = scale_for("ms", [value for value in found if value is not None])
    return Column(heading, lambda one: _measured_cell(one.latency_on(device), scale))


def _foretold_cell(record: LatencyRecord, scale: Scale) -> Cell:
    cell, titles = _measured_cell(record, scale), []
    if record.predicted_ms is None:
        return cell
    if record.predicted_interval_ms is not None:
        low, high = record.predicted_interval_ms
        titles.append(f"prediction interval {significant(low, 4)} to {significant(high, 4)} ms")
    note = _note(f"predicted {scale.write_bare(record.predicted_ms)}")
    return replace(cell, html=cell.html + note, title="; ".join(filter(None, [cell.title, *titles])))


def _measured_cell(record: LatencyRecord, scale: Scale) -> Cell:
    if record.measured_ms is None and record.not_measured is not None:
        return Cell('<span class="missing">not measured</span>', None, record.not_measured)
    if record.measured_ms is None or record.ci95_ms is None:
        return _bare(record.measured_ms, scale)
    low, high = record.ci95_ms
    title = f"95% interval {significant(low, 4)} to {significant(high, 4)} ms"
    shown = with_half_width(record.measured_ms, low, high, decimals=scale.decimals)
    return Cell(shown, record.measured_ms, title)


def _agreement_cell(row: FileRow) -> Cell:
    same = row[1].same_class
    if same is None:
        return Cell(NOTHING, None)
    return Cell(f"{100 * same:.1f}", same, "share of test images on which it gives the PyTorch model's class")


def _difference_cell(row: FileRow) -> Cell:
    difference = row[1].max_abs_difference
    if difference is None:
        return Cell(NOTHING, None)
    return Cell(f"{difference:.1e}", difference, "of any output from the PyTorch model's")


def _note(text: str) -> str:
    """A second, smaller line of a cell."""
    return f'<span class="note">{html.escape(text)}</span>'


def _choices_cell(one: Candidate) -> Cell:
    choices = " ".join(str(choice) for choice in one.record.architecture.choices)
    return Cell(f"<code>{html.escape(choices)}</code>", choices)


def _counted(title: str, unit: str, rows: Sequence[Row], value: Callable[[Row], float | None]) -> Column[Row]:
    scale = scale_for(unit, [found for found in map(value, rows) if found is not None])
    return Column(_with_unit(title, scale), lambda row: _bare(value(row), scale))


def _scored(objective: ObjectiveRecord, front: Sequence[Candidate]) -> Column[Candidate]:
    name = objective.name
    scale = scale_for(objective.unit, [one.record.values[name] for one in front if name in one.record.values])
    heading = _with_unit(objective_title(objective), scale)
    return Column(heading, lambda one: _bare(one.record.values.get(name), scale))


def _with_unit(title: str, scale: Scale) -> str:
    return f"{title} ({scale.suffix})" if scale.suffix else title
