"""The run in one sentence and a handful of tiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.reports.axes import primary_device
from hwnas.reports.comparisons import compare_latencies, median_error
from hwnas.reports.documents import EvaluationRecord, ObjectiveRecord, Run
from hwnas.reports.quantities import Scale, objective_title, scale_for, significant, wilson_interval
from hwnas.reports.verifications import ModelRecord

__all__ = ["Tile", "summary_headline", "summary_lead", "summary_tiles"]


@dataclass(frozen=True)
class Tile:
    """One key fact: what it is, its value, and what it rests on."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class _Extremes:
    """The exported models that the sentences name, with the values they are named for (ms on the primary device)."""

    best: ModelRecord
    best_accuracy: float
    best_ms: float | None
    fastest: ModelRecord
    fastest_ms: float
    slowest_ms: float
    scale: Scale


def summary_headline(run: Run) -> str:
    """The page's heading: the two ends of the trade-off."""
    ends = _extremes(run)
    if ends is not None:
        first, fastest_ms = f"{_percent(ends.best_accuracy)} accurate", ends.scale.write(ends.fastest_ms)
        if ends.best is ends.fastest or ends.best_ms is None or ends.fastest.accuracy is None:
            return f"{first}; the fastest model takes {fastest_ms}"
        return f"{first} in {ends.scale.write(ends.best_ms)}, or {_percent(ends.fastest.accuracy)} in {fastest_ms}"
    found = f"{_count(len(run.front), 'architecture')} on the front"
    tiles = [tile for tile in _estimated_tiles(run) if tile.label.startswith("Lowest")][:2]
    reached = [tile.value + (" error" if tile.label == "Lowest error" else "") for tile in tiles]
    return f"{found}, down to {' and '.join(reached)}" if reached else found


def summary_lead(run: Run) -> str:
    """The sentence below the heading: what was exported, the factor spanned, how many evaluations it took."""
    ends = _extremes(run)
    searched = f"{_count(_searched(run), 'evaluation')} left {_count(len(run.front), 'architecture')} on the front"
    if ends is None:
        return f"{searched}. These are the search's own estimates: nothing measured has been recorded for this run yet."
    images = run.verification.test_images if run.verification is not None else None
    judged = f" on {_count(images, 'test image')}" if images else ""
    sentence = (
        f"The best of {_count(len(run.models), 'exported model')} is {ends.best.name}, with "
        f"{_percent(ends.best_accuracy)} test accuracy{judged}; the fastest is {ends.fastest.name}, at "
        f"{ends.scale.write(ends.fastest_ms)} on {primary_device(run)}. "
    )
    if ends.slowest_ms > ends.fastest_ms:
        factor = significant(ends.slowest_ms / ends.fastest_ms, 2)
        sentence += f"The slowest takes {factor} times as long as the fastest. "
    return f"{sentence}{searched}."


def summary_tiles(run: Run) -> list[Tile]:
    """The key facts, as many as the folder supports."""
    measured = _measured_tiles(run)
    tiles = measured or _estimated_tiles(run)
    failed = sum(run.failures.values())
    notes = [f"{len(run.front)} on the front"] + ([f"{failed} failed"] if failed else [])
    tiles.append(Tile("Evaluations", f"{_searched(run):,}", ", ".join(notes)))
    return tiles


def _measured_tiles(run: Run) -> list[Tile]:
    verification, device, ends = run.verification, primary_device(run), _extremes(run)
    if verification is None:
        return []
    tiles = []
    best = max(
        ((model.accuracy, -model.number, model) for model in run.models if model.accuracy is not None), default=None
    )
    if best is not None:
        note = best[2].name
        if verification.test_images:
            low, high = wilson_interval(best[0], verification.test_images)
            note += f", 95% interval {100 * low:.1f} to {100 * high:.1f}"
        tiles.append(Tile("Best test accuracy", _percent(best[0]), note))
    if ends is not None:
        tiles.append(Tile("Fastest model", ends.scale.write(ends.fastest_ms), f"{ends.fastest.name} on {device}"))
        if ends.slowest_ms > ends.fastest_ms:
            span = f"{ends.scale.write_bare(ends.fastest_ms)} to {ends.scale.write(ends.slowest_ms)}, measured"
            tiles.append(Tile("Latency span", f"{significant(ends.slowest_ms / ends.fastest_ms, 2)}×", span))
    compared = compare_latencies(run.models, device) if device is not None else ()
    if compared:
        note = f"median over {_count(len(compared), 'model')}"
        tiles.append(Tile("Prediction error", f"{100 * median_error(compared):.1f}%", note))
    return tiles


def _estimated_tiles(run: Run) -> list[Tile]:
    tiles = []
    first = run.objective("error")
    device = primary_device(run)
    latency = run.objective(f"latency_ms@{device}")
    others = [objective for objective in run.objectives if objective not in (first, latency)]
    for objective in [objective for objective in (first, latency, *others) if objective is not None][:3]:
        best = _best_value(run.front, objective)
        if best is not None:
            word = "Highest" if objective.maximize else "Lowest"
            title = objective_title(objective)
            title = title if title == "MACs" else title[0].lower() + title[1:]
            value = scale_for(objective.unit, [best]).write(best)
            note = "the search's estimate" if objective is first else "on the front"
            tiles.append(Tile(f"{word} {title}", value, note))
    return tiles


def _best_value(front: Sequence[EvaluationRecord], objective: ObjectiveRecord) -> float | None:
    values = [record.values[objective.name] for record in front if objective.name in record.values]
    return (max if objective.maximize else min)(values) if values else None


def _extremes(run: Run) -> _Extremes | None:
    device = primary_device(run) or ""
    accurate = [(model.accuracy, model) for model in run.models if model.accuracy is not None]
    timed = [(model.latency_on(device).measured_ms, model) for model in run.models]
    measured = [(ms, model) for ms, model in timed if ms is not None and ms > 0]
    if not accurate or not measured:
        return None
    best_accuracy, best = max(
        accurate, key=lambda pair: (pair[0], -(pair[1].latency_on(device).measured_ms or math.inf))
    )
    fastest_ms, fastest = min(measured, key=lambda pair: pair[0])
    return _Extremes(
        best=best,
        best_accuracy=best_accuracy,
        best_ms=best.latency_on(device).measured_ms,
        fastest=fastest,
        fastest_ms=fastest_ms,
        slowest_ms=max(ms for ms, _ in measured),
        scale=scale_for("ms", [ms for ms, _ in measured]),
    )


def _searched(run: Run) -> int:
    if run.evaluations:
        return len(run.evaluations)
    return max((record.evaluations for record in run.progress), default=len(run.front))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
