"""The part of the page that a reader chooses with: bounds, the front in every plane, its members, and one drawn in full."""

import html
import json
import shlex
from collections.abc import Sequence
from typing import Any, Final

from hwnas.reports.axes import FrontPlane, baseline_value, front_planes
from hwnas.reports.candidates import Candidate, candidates_document, candidates_of
from hwnas.reports.documents import ObjectiveRecord, Run
from hwnas.reports.elements import Drawing, drawings, json_script, paragraph
from hwnas.reports.figures import front_figure, marker_diameter
from hwnas.reports.networks import Networks
from hwnas.reports.quantities import Scale, objective_title, scale_for, wilson_interval
from hwnas.reports.tables import front_table

__all__ = ["front_parts"]

STEPS: Final = 200
"""Of a slider: fine enough for any front, coarse enough for arrow keys."""
LOG_FROM_RATIO: Final = 10.0


def front_parts(run: Run, networks: Networks | None) -> list[str]:
    """The section's parts, as HTML.

    Raises:
        ArchitectureError: an architecture of the run is not of the networks' space.
    """
    if not run.front:
        return [paragraph("The front is empty: no architecture evaluated so far meets the bounds.", "missing")]
    members = [one for one in candidates_of(run) if one.number is not None]
    scales = {objective.name: scale_for(objective.unit, _values(objective, members)) for objective in run.objectives}
    parts = [_bounds(run.objectives, scales), _drawings(run, networks), _chooser(run, members, scales, networks)]
    summary = f"The front as a table ({len(run.front)} architectures)"
    parts.append(f"<details><summary>{html.escape(summary)}</summary>{front_table(run)}</details>")
    document = {
        "run": shlex.quote(run.address),
        "objectives": [_objective(one, scales[one.name], _values(one, members)) for one in run.objectives],
        "baselines": [
            {
                "key": f"baseline-{one.letter}",
                "values": {objective.name: baseline_value(one, objective) for objective in run.objectives},
            }
            for one in run.baselines
        ],
        **candidates_document(run, networks),
    }
    return [*parts, json_script("choices", json.dumps(document, allow_nan=False))]


def _values(objective: ObjectiveRecord, members: Sequence[Candidate]) -> list[float]:
    return [one.values[objective.name] for one in members if objective.name in one.values]


def _objective(objective: ObjectiveRecord, scale: Scale, values: Sequence[float]) -> dict[str, Any]:
    """What the script needs to place a slider and to write a value of an objective."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return {
        "name": objective.name,
        "title": objective_title(objective),
        "device": objective.device,
        "maximize": objective.maximize,
        "factor": scale.factor,
        "suffix": scale.suffix,
        "decimals": scale.decimals,
        "low": low,
        "high": high,
        "log": low > 0 and high / low > LOG_FROM_RATIO,
    }


def _bounds(objectives: Sequence[ObjectiveRecord], scales: dict[str, Scale]) -> str:
    """A slider and a number field for each objective; the script shows them, since nothing works without it."""
    rows = []
    for index, objective in enumerate(objectives):
        title, unit = objective_title(objective), scales[objective.name].suffix
        sense = "at least" if objective.maximize else "at most"
        start = 0 if objective.maximize else STEPS
        name = html.escape(f"{title} {sense}")
        rows.append(
            f'<div class="bound" data-objective="{index}"><label for="bound-{index}">{html.escape(title)} '
            f'<span class="sense">{sense}</span></label>'
            f'<input type="range" min="0" max="{STEPS}" value="{start}" aria-label="{name}" aria-valuetext="no bound">'
            f'<span class="amount"><input type="number" id="bound-{index}" step="any" placeholder="any" '
            f'inputmode="decimal" autocomplete="off"><span class="unit">{html.escape(unit)}</span></span></div>'
        )
    return (
        '<form class="bounds" aria-label="Bounds on the objectives" hidden>'
        f'<div class="bound-grid">{"".join(rows)}</div>'
        '<div class="verdict"><p id="verdict"></p>'
        '<p class="command"><span></span><code></code></p>'
        '<button type="reset" disabled>Clear the bounds</button></div></form>'
        '<p class="unseen" role="status"></p>'
    )


def _drawings(run: Run, networks: Networks | None) -> str:
    planes = front_planes(run)
    if not planes:
        return paragraph("The search had a single objective, so there is no trade-off to draw.", "missing")
    drawn = [
        Drawing(
            f"front-{number}",
            front_figure(run, plane, networks),
            label=f"{objective_title(plane.y.objective)} against {objective_title(plane.x.objective)} "
            f"for {len(run.front)} architectures on the front and {len(run.models)} exported models.",
            caption=" ".join([*_outside_words(run, plane), *_absent_words(run, plane)]),
            heading=objective_title(plane.x.objective) if len(planes) > 1 else "",
        )
        for number, plane in enumerate(planes)
    ]
    shape = "wide" if len(planes) == 1 else "tall"
    words = paragraph(" ".join(_front_words(run, planes[0])), "reading")
    return drawings(drawn, extra=_size_key(run, planes[0]), shape=shape) + words


def _front_words(run: Run, plane: FrontPlane) -> list[str]:
    """How to read the front."""
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
            "Blue marks are the search's estimates, with the error of the shared weights on validation images"
            f"{predicted}; numbered marks are exported files, with the error on test images{measured}."
        )
        if run.baselines:
            sentences.append("Letters are known networks, trained with the same budget and measured the same way.")
        if images:
            low, high = wilson_interval(max(accuracies), images)
            sentences.append(
                f"On {images} test images the best accuracy has a 95% interval of {100 * low:.1f} to {100 * high:.1f}%; "
                "bars show such intervals."
            )
    return sentences


def _outside_words(run: Run, plane: FrontPlane) -> list[str]:
    outside = plane.outside(run.evaluations)
    verb = "lies" if outside == 1 else "lie"
    return [f"{outside} of {len(run.evaluations)} evaluations {verb} outside this view."] if outside else []


def _absent_words(run: Run, plane: FrontPlane) -> list[str]:
    device = plane.x.objective.device
    absent = [model.name for model in run.models if device is not None and run.measured_ms(model, device) is None]
    if not absent:
        return []
    subject = "it was" if len(absent) == 1 else "they were"
    return [f"Not drawn, since {subject} not measured on {device} as the search has it: {', '.join(absent)}."]


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


def _chooser(run: Run, members: Sequence[Candidate], scales: dict[str, Scale], networks: Networks | None) -> str:
    """The list of the front's members, in the order that commands count them in, and the place for the chosen one."""
    shown = [objective for objective in run.objectives if objective.name in ("error",) or objective.device is not None]
    shown = (shown or list(run.objectives))[:3]
    several = len(run.precisions) > 1
    heads = "".join(f"<span>{html.escape(_short_title(one, scales[one.name]))}</span>" for one in shown)
    options = "".join(_option(one, shown, scales, several=several) for one in members)
    columns = f"--columns: {len(shown)}"
    empty = "" if networks is not None else paragraph(
        "The blocks of the networks are not shown: the run's search space cannot be made here.", "missing"
    )  # fmt: skip
    return (
        '<div class="chooser" hidden><div class="members"><h3 id="members">Members of the front</h3>'
        '<p class="hint">Arrow keys choose, Enter goes to the blocks.</p>'
        f'<div class="member-heads" style="{columns}" aria-hidden="true"><span></span>{heads}</div>'
        f'<ul role="listbox" tabindex="0" aria-labelledby="members" style="{columns}">{options}</ul></div>'
        f'<div class="architecture"><div id="architecture"></div>{empty}</div></div>'
    )


def _short_title(objective: ObjectiveRecord, scale: Scale) -> str:
    unit = f" ({scale.axis_unit})" if scale.axis_unit else ""
    return (objective.device or objective_title(objective)) + unit


def _option(one: Candidate, shown: Sequence[ObjectiveRecord], scales: dict[str, Scale], *, several: bool) -> str:
    values, spoken = [], [one.name]
    for objective in shown:
        value, scale = one.values.get(objective.name), scales[objective.name]
        values.append(f"<span>{html.escape('–' if value is None else scale.write_bare(value))}</span>")
        if value is not None:
            spoken.append(f"{objective_title(objective)} {scale.write(value)}")
    if several:
        spoken.insert(1, one.precision)
    if one.model is not None:
        spoken.append(f"exported as {one.model.name}, {'partly ' if one.unmeasured else ''}measured")
    badge = f'<span class="badge">{one.model.number}</span>' if one.model is not None else ""
    precision = f'<span class="tag">{html.escape(one.precision)}</span>' if several else ""
    return (
        f'<li role="option" id="option-{one.key}" data-key="{one.key}" aria-selected="false" '
        f'aria-label="{html.escape(", ".join(spoken))}"><span class="who">{one.number}{precision}{badge}</span>'
        f"{''.join(values)}</li>"
    )
