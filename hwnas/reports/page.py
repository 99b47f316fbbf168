"""The page: its sections put into page.html, with the styles, the scripts and plotly.js inlined.

Nothing in the page is fetched: a Content-Security-Policy forbids it, so that the file opens and looks the same on a
train, in a mail attachment and in ten years.
"""

import html
import importlib.resources
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import Template
from typing import Final

from plotly.offline import get_plotlyjs

from hwnas.latency import LatencyTable
from hwnas.reports.audits import audit_figure, audit_label, audit_sentence
from hwnas.reports.axes import primary_device
from hwnas.reports.comparisons import Comparison, compare_latencies, median_error
from hwnas.reports.documents import Run
from hwnas.reports.elements import Drawing, drawing, drawings, paragraph, section
from hwnas.reports.explorer import front_parts
from hwnas.reports.foretold import accuracy_figure, accuracy_label, accuracy_sentence
from hwnas.reports.networks import Networks, Tables
from hwnas.reports.precisions import pair_drawings, pair_sentence, pairs_of
from hwnas.reports.predictions import prediction_figure, proof_sentence
from hwnas.reports.progress import (
    hypervolume_figure,
    hypervolume_over_time,
    refinement_figure,
    refinement_label,
    refinement_sentence,
    spent_figure,
    spent_label,
    spent_seconds,
    spent_sentence,
)
from hwnas.reports.quantities import signed_percent, significant
from hwnas.reports.summary import summary_headline, summary_lead, summary_tiles
from hwnas.reports.tables import baseline_table, model_table
from hwnas.spaces import SearchSpace

__all__ = ["compose_page"]

STYLES: Final = ("page.css", "figures.css", "explorer.css", "print.css")
SCRIPTS: Final = ("drawings.js", "tables.js", "architecture.js", "explorer.js")


def compose_page(run: Run, tables: Tables | None = None, space: SearchSpace | None = None) -> str:
    """The whole HTML file for `run`, as text.

    Args:
        run: what the run folder says.
        tables: the latency tables, or why there are none.
        space: of the networks, to draw them block by block; None: it cannot be made.

    Raises:
        ArchitectureError: an architecture of the run is not of `space`.
    """
    tables = tables or {}
    networks = None if space is None else Networks(space, tables)
    sections = [
        section("front", "The front", front_parts(run, networks)),
        section("models", "Exported models", _model_parts(run)),
        *_precision_sections(run),
        *_baseline_sections(run),
        section("predictions", "Predicted against measured latency", _prediction_parts(run, tables)),
        *_estimate_sections(run),
        section("progress", "Progress of the search", _progress_parts(run)),
        section("spent", "Time spent", _spent_parts(run)),
        section("origin", "Where this comes from", _origin_parts(run)),
    ]
    tiles = "".join(
        f'<div class="tile"><dt>{html.escape(tile.label)}</dt>'
        f'<dd><span class="value">{html.escape(tile.value)}</span>'
        f'<span class="note">{html.escape(tile.note)}</span></dd></div>'
        for tile in summary_tiles(run)
    )
    origin = [f"run {run.name}", f"space {run.space}" if run.space else "", _device_words(run)]
    return Template(_asset("page.html")).substitute(
        title=html.escape(f"{run.name} · hwnas report"),
        style="\n".join(_asset(f"styles/{name}") for name in STYLES),
        origin="".join(f"<span>{html.escape(part)}</span>" for part in origin if part),
        headline=html.escape(summary_headline(run)),
        lead=html.escape(summary_lead(run)),
        tiles=tiles,
        sections="\n".join(sections),
        plotly=get_plotlyjs(),
        script="\n".join(_asset(f"scripts/{name}") for name in SCRIPTS),
    )


def _asset(name: str) -> str:
    return importlib.resources.files("hwnas.reports").joinpath(name).read_text(encoding="utf-8")


def _device_words(run: Run) -> str:
    searched = [objective.device for objective in run.objectives if objective.device is not None]
    named = list(dict.fromkeys([*([primary_device(run)] if primary_device(run) else []), *searched]))
    return f"{'device' if len(named) == 1 else 'devices'} {', '.join(map(str, named))}" if named else ""


def _model_parts(run: Run) -> list[str]:
    if not run.models:
        text = "Nothing has been exported yet. Train, export and measure the best of the front with "
        return [f'<p class="missing">{text}<code>hwnas export {html.escape(shlex.quote(run.address))}</code></p>']
    exact = [(model, file) for model in run.models for file in model.plain_files if file.precision == "fp32"]
    wrong = [model.name for model, file in exact if file.same_class is not None and file.same_class < 1]
    differences = [file.max_abs_difference for _, file in exact if file.max_abs_difference is not None]
    parts = []
    if wrong:
        parts.append(paragraph(f"Does not give the same classes as its PyTorch model: {', '.join(wrong)}.", "warning"))
    elif differences and all(file.same_class for _, file in exact):
        text = (
            "Every fp32 file gives the same classes as its PyTorch model; "
            f"the largest difference of an output is {max(differences):.1e}."
        )
        parts.append(paragraph(text))
    absent = {
        record.not_measured: device
        for model in run.models
        for file in model.files
        for device, record in file.latency.items()
        if record.not_measured is not None
    }
    parts += [paragraph(f"Not measured on {device}: {reason}", "missing") for reason, device in absent.items()]
    return [*parts, model_table(run)]


def _precision_sections(run: Run) -> list[str]:
    """Every smaller precision beside float, where models were exported in both."""
    sections = []
    for precision in run.verification.precisions if run.verification is not None else ():
        pairs = pairs_of(run, precision) if precision != "fp32" else ()
        drawn = pair_drawings(run, pairs)
        if drawn:
            parts = [paragraph(pair_sentence(run, pairs, precision)), drawings(drawn, shape="own", columns="trio")]
            sections.append(section(precision, f"{precision.upper()} beside float", parts))
    return sections


def _baseline_sections(run: Run) -> list[str]:
    if run.comparison is None or not run.baselines:
        return []
    budget = ", ".join(
        f"{key.replace('_', ' ')} {_written(value)}"
        for key, value in run.comparison.budget.items()
        if isinstance(value, str | int | float)
    )
    words = "Known networks scaled to the same input, trained with the same budget and measured the same way as the "
    parts = [paragraph(f"{words}exported models{f' ({budget})' if budget else ''}."), baseline_table(run)]
    return [section("baselines", "Beside known networks", parts)]


def _prediction_parts(run: Run, tables: Tables) -> list[str]:
    """A drawing for each device and precision that has something to compare, and a sentence for each that has not."""
    devices = run.verification.devices if run.verification is not None else ()
    verified = run.verification.precisions if run.verification is not None else ()
    drawn: list[Drawing] = []
    absent: list[str] = []
    named = len({*verified, *(precision for some in tables.values() for precision in some)}) > 1
    for device in dict.fromkeys([*devices, *tables]):
        for precision in dict.fromkeys([*verified, *tables.get(device, {})]):
            compared = compare_latencies(run.models, device, precision)
            table = tables.get(device, {}).get(precision)
            proven = table if isinstance(table, LatencyTable) and table.networks else None
            if isinstance(table, str):
                absent.append(paragraph(table, "missing"))
            elif table is not None and proven is None:
                reason = f"No networks were measured to prove the {precision} latency table of {device}."
                absent.append(paragraph(reason, "missing"))
            if compared or proven is not None:
                heading = f"On {device}, {precision}" if named else f"On {device}"
                drawn.append(_prediction(len(drawn), heading, device, compared, proven))
    if not drawn:
        reason = "No exported model has both a predicted and a measured latency"
        return [paragraph(f"{reason}." if run.models else f"{reason} yet.", "missing"), *absent]
    if len(drawn) == 1:
        drawn = [replace(drawn[0], heading="")]
    words = "Above the dashed line a network is slower than its latency table predicts, below it faster."
    return [paragraph(words), drawings(drawn, shape="square"), *absent]


def _prediction(
    number: int, heading: str, device: str, compared: Sequence[Comparison], proven: LatencyTable | None
) -> Drawing:
    networks = "" if proven is None else f" and {len(proven.networks)} networks of its table"
    label = f"Predicted against measured latency of {len(compared)} exported models{networks}. {heading}."
    figure, caption = prediction_figure(compared, proven), _prediction_caption(device, compared, proven)
    return Drawing(f"prediction-{number}", figure, label, caption, heading)


def _prediction_caption(device: str, compared: Sequence[Comparison], table: LatencyTable | None) -> str:
    sentences = []
    if compared:
        worst = max(compared, key=lambda item: abs(item.relative_error))
        models = "1 model" if len(compared) == 1 else f"{len(compared)} models"
        sentences.append(
            f"Median error {100 * median_error(compared):.1f}% over {models} on {device}; the worst is "
            f"{worst.model.name}, off by {signed_percent(worst.relative_error)}."
        )
    return " ".join([*sentences, *([] if table is None else [proof_sentence(table)])])


def _estimate_sections(run: Run) -> list[str]:
    """What the search's estimates are worth, each only where the run has it: two sections a line."""
    found: list[tuple[str, Drawing]] = []
    if any(one.median_error for one in run.refinement):
        figure, label = refinement_figure(run.refinement), refinement_label(run.refinement)
        drawn = Drawing("refinement-rounds", figure, label, refinement_sentence(run.refinement))
        found.append(("Predictions refined by measurements", drawn))
    if run.audit is not None:
        drawn = Drawing("audit", audit_figure(run.audit), audit_label(run.audit), audit_sentence(run.audit))
        found.append(("The supernet's order against the truth", drawn))
    if run.predictor is not None:
        figure, label = accuracy_figure(run.predictor), accuracy_label(run.predictor)
        found.append(
            (
                "Errors foretold from the evaluations",
                Drawing("foretold", figure, label, accuracy_sentence(run.predictor)),
            )
        )
    paired = len(found) - len(found) % 2
    return [
        section(f"section-{drawn.key}", heading, [drawing(drawn, shape="square")], half=place < paired)
        for place, (heading, drawn) in enumerate(found)
    ]


def _progress_parts(run: Run) -> list[str]:
    if not run.progress:
        return [paragraph("The run has no search log, so its progress cannot be drawn.", "missing")]
    first, last = run.progress[0], run.progress[-1]
    rise = (
        f"The hypervolume of the front rises from {significant(first.hypervolume)} to {significant(last.hypervolume)}"
    )
    drawn = [Drawing("progress", hypervolume_figure(run.progress), f"{rise} over {last.evaluations} evaluations.")]
    timed = hypervolume_over_time(run.progress)
    if timed is not None:
        drawn.append(Drawing("time", timed, f"{rise} over time."))
    words = "The hypervolume is the part of objective space that the front dominates: the larger, the better."
    return [paragraph(words), drawings(drawn, shape="square")]


def _spent_parts(run: Run) -> list[str]:
    spent = spent_seconds(run)
    if not any(spent.values()):
        return [paragraph("The run folder does not record how long its stages took.", "missing")]
    drawn = Drawing("spent", spent_figure(spent), spent_label(spent), spent_sentence(run, spent), zoomable=False)
    return [drawing(drawn, shape="own")]


def _origin_parts(run: Run) -> list[str]:
    parts = []
    environment = dict(run.verification.environment) if run.verification is not None else {}
    if environment:
        parts.append(f"<h3>Environment of the measurements</h3>{_definitions(environment)}")
    else:
        reason = "No environment is recorded: it comes with the measurement of exported models."
        parts.append(paragraph(reason, "missing"))
    if run.failures:
        rows = "".join(f"<li>{count} × {html.escape(reason)}</li>" for reason, count in run.failures.most_common())
        summary = f"Failed evaluations ({sum(run.failures.values())})"
        parts.append(f"<details><summary>{summary}</summary><ul>{rows}</ul></details>")
    if run.settings is not None:
        parts.append(
            "<details><summary>Settings (run.toml)</summary>"
            f'<pre tabindex="0"><code>{html.escape(run.settings)}</code></pre></details>'
        )
    else:
        parts.append(paragraph("The run folder holds no run.toml.", "missing"))
    return parts


def _definitions(environment: Mapping[str, object]) -> str:
    rows = "".join(
        f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(_written(value))}</dd></div>"
        for key, value in environment.items()
    )
    return f'<dl class="environment">{rows}</dl>'


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
