"""The page: its sections put into page.html, with the style, the script and plotly.js inlined.

Nothing in the page is fetched: a Content-Security-Policy forbids it, so that the file opens and looks the same on a
train, in a mail attachment and in ten years.
"""

import html
import importlib.resources
import json
import shlex
from collections.abc import Mapping, Sequence
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from hwnas.latency import LatencyTable
from hwnas.reports.audits import audit_figure, audit_label, audit_sentence
from hwnas.reports.axes import FrontPlane, front_planes, primary_device
from hwnas.reports.comparisons import Comparison, compare_latencies, median_error
from hwnas.reports.documents import Run
from hwnas.reports.figures import front_figure, hypervolume_figure, marker_diameter
from hwnas.reports.foretold import accuracy_figure, accuracy_label, accuracy_sentence
from hwnas.reports.predictions import prediction_figure, proof_sentence
from hwnas.reports.quantities import objective_title, scale_for, signed_percent, significant, wilson_interval
from hwnas.reports.summary import summary_headline, summary_lead, summary_tiles
from hwnas.reports.tables import front_table, model_table

__all__ = ["compose_page"]


def compose_page(run: Run, tables: Mapping[str, LatencyTable | str] | None = None) -> str:
    """The whole HTML file for `run`, as text; `tables` by device, or why there is none."""
    sections = [
        _section("front", "The front", _front_parts(run)),
        _section("models", "Exported models", _model_parts(run)),
        _section("predictions", "Predicted against measured latency", _prediction_parts(run, tables or {})),
        *_ranking_sections(run),
        _section("progress", "Progress of the search", _progress_parts(run)),
        _section("origin", "Where this comes from", _origin_parts(run)),
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
        style=_asset("style.css"),
        origin="".join(f"<span>{html.escape(part)}</span>" for part in origin if part),
        headline=html.escape(summary_headline(run)),
        lead=html.escape(summary_lead(run)),
        tiles=tiles,
        sections="\n".join(sections),
        plotly=get_plotlyjs(),
        script=_asset("script.js"),
    )


def _asset(name: str) -> str:
    return importlib.resources.files("hwnas.reports").joinpath(name).read_text(encoding="utf-8")


def _device_words(run: Run) -> str:
    device = primary_device(run)
    return "" if device is None else f"device {device}"


def _section(key: str, heading: str, parts: Sequence[str]) -> str:
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{html.escape(heading)}</h2>{"".join(parts)}</section>'


def _paragraph(text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def _figure(key: str, figure: go.Figure, *, label: str, caption: str, extra: str = "", shape: str = "wide") -> str:
    """A drawing with its legend, its two buttons and its caption; `label` is what a screen reader says for it.

    Args:
        key: unique in the page.
        figure: the drawing.
        label: what it shows, in a sentence.
        caption: the text below it, escaped here.
        extra: HTML that follows the legend.
        shape: the CSS class that sets its height.
    """
    drawing = figure.to_json()  # plotly writes "<" as \u003c, so no string in it ends the script element
    legend = "".join(
        f'<button type="button" class="key" aria-pressed="true" data-trace="{index}">'
        f'<span class="swatch {trace.meta["role"]}" aria-hidden="true"></span>{html.escape(trace.name)}</button>'
        for index, trace in enumerate(figure.data)
    )
    return (
        f'<figure class="drawing" id="figure-{key}"><div class="legend">{legend}{extra}</div>'
        f'<div class="plot {shape}" role="img" aria-label="{html.escape(label)}"></div>'
        f'<script type="application/json" class="spec">{drawing}</script>'
        f'<div class="tools"><button type="button" data-do="reset">Reset view</button>'
        f'<button type="button" data-do="save">Save as SVG</button></div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _front_parts(run: Run) -> list[str]:
    if not run.front:
        return [_paragraph("The front is empty: no architecture evaluated so far meets the bounds.", "missing")]
    parts = []
    planes = front_planes(run)
    if not planes:
        parts.append(_paragraph("The search had a single objective, so there is no trade-off to draw.", "missing"))
    for number, plane in enumerate(planes):
        if len(planes) > 1:
            parts.append(f"<h3>{html.escape(objective_title(plane.x.objective))}</h3>")
        label = (
            f"{objective_title(plane.y.objective)} against {objective_title(plane.x.objective)} "
            f"for {len(run.front)} architectures on the front and {len(run.models)} exported models."
        )
        figure = front_figure(run, plane)
        caption = " ".join([*([] if number else _front_words(run, plane)), *_outside_words(run, plane)])
        parts.append(_figure(f"front-{number}", figure, label=label, caption=caption, extra=_size_key(run, plane)))
    summary = f"The front as a table ({len(run.front)} architectures)"
    parts.append(f"<details><summary>{html.escape(summary)}</summary>{front_table(run)}</details>")
    return parts


def _front_words(run: Run, plane: FrontPlane) -> list[str]:
    """How to read the front: said once, below its first drawing."""
    sentences = []
    if len(run.objectives) > 2:
        sentences.append(
            f"The front is over {len(run.objectives)} objectives, so some of its architectures lie off the border "
            "drawn in these two."
        )
    images = run.verification.test_images if run.verification is not None else None
    accuracies = [model.accuracy for model in run.models if model.accuracy is not None]
    if plane.y.objective.name == "error" and accuracies:
        timed = plane.x.objective.device is not None
        predicted, measured = (" and the latency predicted", " and the latency measured") if timed else ("", "")
        sentences.append(
            "Circles are the search's estimates, with the error of the shared weights on validation images"
            f"{predicted}; squares are exported files, with the error on test images{measured}."
        )
        if images:
            low, high = wilson_interval(max(accuracies), images)
            sentences.append(
                f"On {images} test images the best accuracy has a 95% interval of {100 * low:.1f} to {100 * high:.1f}%."
            )
    return sentences


def _outside_words(run: Run, plane: FrontPlane) -> list[str]:
    outside = plane.outside(run.evaluations)
    verb = "lies" if outside == 1 else "lie"
    return [f"{outside} of {len(run.evaluations)} evaluations {verb} outside this view."] if outside else []


def _size_key(run: Run, plane: FrontPlane) -> str:
    """Three circles that say what the markers' area stands for."""
    if plane.size is None:
        return ""
    name = plane.size.name
    sizes = [record.values[name] for record in run.front if name in record.values]
    if not sizes or max(sizes) <= 0:
        return ""
    largest = max(sizes)
    scale = scale_for(plane.size.unit, [largest / 4, largest])
    circles = "".join(
        f'<span class="size"><span class="circle" style="width:{diameter:.1f}px;height:{diameter:.1f}px"></span>'
        f"{html.escape(scale.write(value))}</span>"
        for value in (largest / 4, largest / 2, largest)
        for diameter in [marker_diameter(value, largest)]
    )
    return f'<span class="sizes">{html.escape(objective_title(plane.size))} {circles}</span>'


def _model_parts(run: Run) -> list[str]:
    if not run.models:
        text = "Nothing has been exported yet. Train, export and measure the best of the front with "
        return [f'<p class="missing">{text}<code>hwnas export {html.escape(shlex.quote(run.address))}</code></p>']
    parts = []
    wrong = [model.name for model in run.models if model.same_class is False]
    differences = [model.max_abs_difference for model in run.models if model.max_abs_difference is not None]
    if wrong:
        parts.append(_paragraph(f"Does not give the same classes as its PyTorch model: {', '.join(wrong)}.", "warning"))
    elif differences and all(model.same_class for model in run.models):
        text = (
            "Every file gives the same classes as its PyTorch model; "
            f"the largest difference of an output is {max(differences):.1e}."
        )
        parts.append(_paragraph(text))
    return [*parts, model_table(run)]


def _prediction_parts(run: Run, tables: Mapping[str, LatencyTable | str]) -> list[str]:
    devices = run.verification.devices if run.verification is not None else ()
    parts, absent = [], []
    for number, device in enumerate(dict.fromkeys([*devices, *tables])):
        compared, table = compare_latencies(run.models, device), tables.get(device)
        proven = table if isinstance(table, LatencyTable) and table.networks else None
        if isinstance(table, str):
            absent.append(_paragraph(table, "missing"))
        elif table is not None and proven is None:
            absent.append(_paragraph(f"No networks were measured to prove the latency table of {device}.", "missing"))
        if compared or proven is not None:
            networks = "" if proven is None else f" and {len(proven.networks)} networks of its table"
            label = f"Predicted against measured latency of {len(compared)} exported models{networks} on {device}."
            figure, caption = prediction_figure(compared, proven), _prediction_caption(device, compared, proven)
            drawing = _figure(f"prediction-{number}", figure, label=label, caption=caption, shape="square")
            parts.append((f"<h3>On {html.escape(device)}</h3>", drawing))
    if not parts:
        reason = "No exported model has both a predicted and a measured latency"
        return [_paragraph(f"{reason}." if run.models else f"{reason} yet.", "missing"), *absent]
    drawn = [f"<div>{heading if len(parts) > 1 else ''}{drawing}</div>" for heading, drawing in parts]
    return [*(drawn if len(drawn) == 1 else [f'<div class="pair">{"".join(drawn)}</div>']), *absent]


def _prediction_caption(device: str, compared: Sequence[Comparison], table: LatencyTable | None) -> str:
    sentences = []
    if compared:
        worst = max(compared, key=lambda item: abs(item.relative_error))
        models = "1 model" if len(compared) == 1 else f"{len(compared)} models"
        sentences.append(
            f"Median error {100 * median_error(compared):.1f}% over {models} on {device}; the worst is "
            f"{worst.model.name}, off by {signed_percent(worst.relative_error)}. "
            "Below the dashed line the model is faster than predicted."
        )
    return " ".join([*sentences, *([] if table is None else [proof_sentence(table)])])


def _ranking_sections(run: Run) -> list[str]:
    """How truly the supernet ranks, and how well its errors are foretold; each only where the run has it."""
    sections = []
    if run.audit is not None:
        figure, caption = audit_figure(run.audit), audit_sentence(run.audit)
        drawing = _figure("audit", figure, label=audit_label(run.audit), caption=caption, shape="square")
        sections.append(_section("audit", "The supernet's order against the truth", [drawing]))
    if run.predictor is not None:
        figure, caption = accuracy_figure(run.predictor), accuracy_sentence(run.predictor)
        drawing = _figure("foretold", figure, label=accuracy_label(run.predictor), caption=caption, shape="square")
        sections.append(_section("foretold", "Errors foretold from the evaluations", [drawing]))
    return sections


def _progress_parts(run: Run) -> list[str]:
    if not run.progress:
        return [_paragraph("The run has no search log, so its progress cannot be drawn.", "missing")]
    last = run.progress[-1]
    label = (
        f"The hypervolume of the front rises from {significant(run.progress[0].hypervolume)} "
        f"to {significant(last.hypervolume)} over {last.evaluations} evaluations."
    )
    caption = "The hypervolume is the part of objective space that the front dominates: the larger, the better."
    return [_figure("progress", hypervolume_figure(run.progress), label=label, caption=caption, shape="square")]


def _origin_parts(run: Run) -> list[str]:
    parts = []
    environment = dict(run.verification.environment) if run.verification is not None else {}
    if environment:
        parts.append(f"<h3>Environment of the measurements</h3>{_definitions(environment)}")
    else:
        reason = "No environment is recorded: it comes with the measurement of exported models."
        parts.append(_paragraph(reason, "missing"))
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
        parts.append(_paragraph("The run folder holds no run.toml.", "missing"))
    return parts


def _definitions(environment: Mapping[str, object]) -> str:
    rows = "".join(
        f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(_written(value))}</dd></div>"
        for key, value in environment.items()
    )
    return f'<dl class="environment">{rows}</dl>'


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
