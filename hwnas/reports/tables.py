"""The report's tables: columns described once, cells written for people and sorted by the numbers beneath."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, TypeVar
from urllib.parse import quote

from hwnas.reports.documents import EvaluationRecord, LatencyRecord, ModelRecord, ObjectiveRecord, Run
from hwnas.reports.quantities import Scale, objective_title, scale_for, significant, wilson_interval, with_half_width

__all__ = ["front_table", "model_table", "relative_link"]

Row = TypeVar("Row")
NOTHING = "–"


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
    """The exported models, one a row, with links to their files."""
    models = run.models
    images = run.verification.test_images if run.verification is not None else None
    devices = run.verification.devices if run.verification is not None else ()
    columns: list[Column[ModelRecord]] = [
        Column("Model", _model_cell, numeric=False),
        Column("Test accuracy (%)", lambda model: _accuracy_cell(model, images)),
    ]
    for device in devices:
        columns += _latency_columns(models, device, f" on {device}" if len(devices) > 1 else "")
    columns += [
        _counted("MACs", "MACs", models, lambda model: model.macs),
        _counted("Parameters", "parameters", models, lambda model: model.parameters),
        _counted("File", "bytes", models, lambda model: model.size_bytes),
        Column("Largest difference", _difference_cell),
        Column("Architecture", _description_cell, numeric=False),
    ]
    return _table("models", "The exported models", columns, models, [f"model-{model.number}" for model in models])


def front_table(run: Run) -> str:
    """The architectures on the front with the search's values, one a row."""
    columns: list[Column[EvaluationRecord]] = [_scored(objective, run.front) for objective in run.objectives]
    columns.append(Column("Choices", _choices_cell, numeric=False))
    return _table("front", "The architectures on the front", columns, run.front, [])


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
        body.append(f'<tr id="{ids[index]}" tabindex="-1">{cells}</tr>' if ids else f"<tr>{cells}</tr>")
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


def _model_cell(model: ModelRecord) -> Cell:
    badge = f'<span class="badge" aria-hidden="true">{model.number}</span>'
    link = relative_link(model.file)
    name = html.escape(model.name)
    shown = name if link is None else f'<a href="{html.escape(link)}">{name}</a>'
    off = ' <span class="tag">off the front</span>' if model.on_front is False else ""
    return Cell(f"{badge}{shown}{off}", float(model.number), title=model.file)


def _accuracy_cell(model: ModelRecord, images: int | None) -> Cell:
    if model.accuracy is None:
        return Cell(NOTHING, None)
    facts = ["exported file" if model.onnx_test_accuracy is not None else "before export"]
    if images:
        low, high = wilson_interval(model.accuracy, images)
        facts.append(f"{images} test images, 95% interval {100 * low:.1f} to {100 * high:.1f}%")
    if model.onnx_test_accuracy is not None and model.test_accuracy is not None:
        facts.append(f"before export {100 * model.test_accuracy:.2f}%")
    if model.validation_error is not None:
        facts.append(f"estimated by the search {100 * (1 - model.validation_error):.2f}%")
    return Cell(f"{100 * model.accuracy:.1f}", model.accuracy, "; ".join(facts))


def _latency_columns(models: Sequence[ModelRecord], device: str, place: str) -> list[Column[ModelRecord]]:
    records = [model.latency_on(device) for model in models]
    found = [value for record in records for value in (record.predicted_ms, record.measured_ms) if value is not None]
    scale = scale_for("ms", found)
    return [
        Column(f"Predicted{place} (ms)", lambda model: _bare(model.latency_on(device).predicted_ms, scale)),
        Column(f"Measured{place} (ms)", lambda model: _measured_cell(model.latency_on(device), scale)),
    ]


def _measured_cell(record: LatencyRecord, scale: Scale) -> Cell:
    if record.measured_ms is None or record.ci95_ms is None:
        return _bare(record.measured_ms, scale)
    low, high = record.ci95_ms
    title = f"95% interval {significant(low, 4)} to {significant(high, 4)} ms"
    shown = with_half_width(record.measured_ms, low, high, decimals=scale.decimals)
    return Cell(shown, record.measured_ms, title)


def _difference_cell(model: ModelRecord) -> Cell:
    if model.max_abs_difference is None:
        return Cell(NOTHING, None)
    mark = ' <span class="warning">other classes</span>' if model.same_class is False else ""
    title = "of any output from the PyTorch model's"
    return Cell(f"{model.max_abs_difference:.1e}{mark}", model.max_abs_difference, title)


def _description_cell(model: ModelRecord) -> Cell:
    choices = " ".join(str(choice) for choice in model.architecture.choices)
    shown = model.description or choices
    return Cell(html.escape(shown), shown, f"choices {choices}")


def _choices_cell(record: EvaluationRecord) -> Cell:
    choices = " ".join(str(choice) for choice in record.architecture.choices)
    return Cell(f"<code>{html.escape(choices)}</code>", choices)


def _counted(
    title: str, unit: str, models: Sequence[ModelRecord], value: Callable[[ModelRecord], float | None]
) -> Column[ModelRecord]:
    scale = scale_for(unit, [found for found in map(value, models) if found is not None])
    return Column(_with_unit(title, scale), lambda model: _bare(value(model), scale))


def _scored(objective: ObjectiveRecord, front: Sequence[EvaluationRecord]) -> Column[EvaluationRecord]:
    name = objective.name
    scale = scale_for(objective.unit, [record.values[name] for record in front if name in record.values])
    heading = _with_unit(objective_title(objective), scale)
    return Column(heading, lambda record: _bare(record.values.get(name), scale))


def _with_unit(title: str, scale: Scale) -> str:
    return f"{title} ({scale.suffix})" if scale.suffix else title
