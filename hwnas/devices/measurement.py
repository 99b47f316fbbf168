"""The measuring protocol: many loaded models visited in rounds of random order, a few runs a visit, until all is settled.

Timing one model after the other confuses the model with the minute: the same network varies by several percent as the
machine's load and clock drift. Rounds spread every model over the whole time; sentinels are visited all along, which tie
one call to another; `estimation` makes latencies of the visits.

Where in memory a model comes to lie makes it faster or slower by some percent until it is loaded anew (pages that lie
apart cost more address translations), so all models are loaded anew, in another order, as often as that is cheap.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.estimation import Estimates, Visited, estimate
from hwnas.devices.hosts import Host
from hwnas.errors import DeviceError, SettingsError
from hwnas.progress import OnProgress, silent

__all__ = ["MeasurementPlan", "measure", "warm_up"]

SENTINEL_EVERY: Final = 8
"""Other visits between two of sentinels."""
CHECKED_AFTER: Final = 1.25
"""What is settled is looked at when there are so many times the rounds of the last look."""
LOADED_FOR: Final = 2.0
"""Models are loaded anew when they were measured for so many times as long as loading them takes."""
STEADY: Final = 0.98
MAX_WARMUPS: Final = 10


@dataclass(frozen=True)
class MeasurementPlan:
    """How long and how often to measure.

    Attributes:
        rounds: visits to each model, at least.
        max_rounds: and at most.
        seconds: no further round is begun after so many seconds.
        target: a model is settled when the 95 % interval of its latency reaches no further than this share to either
            side. All are visited until all are settled: fewer models in turn would find more of their weights in caches.
        warmup_seconds: all models are run in turn for at least so long before the first round, until none gets faster.
        visit_ms: the timed runs of a visit take about this long …
        min_runs: … but are at least so many,
        max_runs: … and at most so many.
    """

    rounds: int = 16
    max_rounds: int = 1000
    seconds: float = 50.0
    target: float = 0.01
    warmup_seconds: float = 0.5
    visit_ms: float = 2.0
    min_runs: int = 3
    max_runs: int = 20

    def __post_init__(self) -> None:
        limits = {
            "rounds": (1, 10_000),
            "max_rounds": (1, 100_000),
            "seconds": (0, 1e6),
            "target": (1e-6, 1),
            "warmup_seconds": (0, 600),
            "visit_ms": (0, 1e6),
            "min_runs": (1, 10_000),
            "max_runs": (1, 10_000),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"measurement.{name}", f"must be from {low} to {high}", came=f"{value} came")
        for least, most in (("rounds", "max_rounds"), ("min_runs", "max_runs")):
            value, limit = getattr(self, least), getattr(self, most)
            if value > limit:
                raise SettingsError(f"measurement.{least}", f"must be at most {most}={limit}", came=f"{value} came")

    def runs_a_visit(self, run_ms: float) -> int:
        """Timed runs in one visit of a model whose run takes `run_ms`."""
        return min(self.max_runs, max(self.min_runs, math.ceil(self.visit_ms / max(run_ms, 1e-6))))


def measure(
    host: Host,
    models: Mapping[str, Path],
    *,
    plan: MeasurementPlan,
    sentinels: Sequence[str] = (),
    references_ms: Mapping[str, float] | None = None,
    seed: int = 0,
    earlier: Sequence[Visited] = (),
    on_visit: Callable[[Visited], None] | None = None,
    on_progress: OnProgress = silent,
    stage: str = "models",
    clock: Callable[[], float] = time.monotonic,
) -> Estimates:
    """Measures models together.

    Args:
        host: where.
        models: the files by name.
        plan: how long and how often.
        sentinels: one or more of the models, visited several times a round; the same in calls that are to be compared.
            With none named it is the first that the runtime takes, which is enough where no other call is to be compared.
        references_ms: what they took in an earlier call at whose speed the latencies are wanted.
        seed: of the random order.
        earlier: the visits of a stopped call, in order; they count, and their time is taken off `plan.seconds`. Nothing
            is loaded where they are enough.
        on_visit: called after each visit, to keep it.
        on_progress: told of each round.
        stage: what the models are, for `on_progress`.
        clock: seconds, from any start.

    Returns:
        The latencies, what was seen of the machine, and which models the runtime refuses.

    Raises:
        MissingRuntimeError: the runtime is not there.
        DeviceError: the device is gone, a model fails after it has run, or a sentinel is refused.
    """
    state: dict[str, Any] = {"cores": host.fingerprint().get("cores"), "before": host.conditions()}
    if _is_enough(earlier, models, plan):
        return estimate(earlier, references_ms=references_ms, target=plan.target, conditions=state)
    order = np.random.default_rng([seed, len(earlier)])
    began = clock()
    refused = _load(host, models, order, on_progress=on_progress, stage=f"loading {stage}")
    for name in sentinels:
        if name in refused:
            raise DeviceError("The runtime", f"must run {name}", came=f"it says: {refused[name]}")
    running = {name: path for name, path in models.items() if name not in refused}
    if not running:
        return Estimates({}, (), 1.0, (), frozenset(), refused)
    sentinels = sentinels or [next(iter(running))]
    loaded, load_seconds = clock(), clock() - began
    run_ms = warm_up(host, running, plan=plan, clock=clock)
    visits = [visit for visit in earlier if visit.model in running]
    call = max((visit.call for visit in visits), default=-1) + 1
    number = max((visit.round for visit in visits), default=-1) + 1
    done = _whole_rounds(visits, running)  # where an earlier call was stopped within a round, fewer than were begun
    checked: float = max(done + 1, plan.rounds)
    began = clock() - _spent_seconds(visits)
    while done < plan.max_rounds:
        for name, samples in _round(host, running, sentinels, run_ms, plan, np.random.default_rng([seed, number])):
            visits.append(Visited(name, number, tuple(round(sample, 6) for sample in samples), call))
            if on_visit is not None:
                on_visit(visits[-1])
        number, done = number + 1, done + 1
        if done >= checked:
            checked = CHECKED_AFTER * done
            if not estimate(visits, target=plan.target).unsettled:
                break
        if done >= plan.rounds and clock() - began > plan.seconds:
            break
        if clock() - loaded > LOADED_FOR * load_seconds:
            _load_anew(host, running, order)
            loaded = clock()
        on_progress(f"measuring {stage}", done, _expected_rounds(plan, done, clock() - began))
    on_progress(f"measuring {stage}", done, done)
    state["after"] = host.conditions()
    host.unload(running)
    found = estimate(visits, references_ms=references_ms, target=plan.target, conditions=state)
    return replace(found, refused=refused)


def _load(
    host: Host,
    models: Mapping[str, Path],
    rng: np.random.Generator,
    *,
    on_progress: OnProgress = silent,
    stage: str = "",
) -> dict[str, str]:
    """Loads models in random order; those that are refused, each with what the runtime says."""
    names = list(models)
    shuffled = {names[place]: models[names[place]] for place in rng.permutation(len(names))}
    refused = {}
    for done, (name, refusal) in enumerate(host.load(shuffled), start=1):
        if refusal is not None:
            refused[name] = refusal
        on_progress(stage, done, len(models))
    return refused


def _load_anew(host: Host, models: Mapping[str, Path], rng: np.random.Generator) -> None:
    host.unload(models)
    for name, refusal in _load(host, models, rng).items():
        raise DeviceError("The runtime", f"must run {name} again after it has run", came=f"it says: {refusal}")


def _round(
    host: Host,
    models: Collection[str],
    sentinels: Sequence[str],
    run_ms: Mapping[str, float],
    plan: MeasurementPlan,
    rng: np.random.Generator,
) -> Iterator[tuple[str, list[float]]]:
    """Visits all models in random order, a sentinel before every few others, each of the sentinels at least once."""
    others = [name for name in sorted(models) if name not in sentinels]
    order = [others[place] for place in rng.permutation(len(others))]
    visits = max(len(sentinels), -(-len(order) // SENTINEL_EVERY))
    parts = np.array_split(np.array(order, dtype=object), visits)
    first = int(rng.integers(len(sentinels)))
    turns = [sentinels[(first + turn) % len(sentinels)] for turn in range(visits)]
    names = [name for turn, part in zip(turns, parts, strict=True) for name in (turn, *part)]
    requests = [(name, plan.runs_a_visit(run_ms[name])) for name in names]
    yield from zip(names, host.visit(requests), strict=True)


def warm_up(
    host: Host, models: Collection[str], *, plan: MeasurementPlan, clock: Callable[[], float] = time.monotonic
) -> dict[str, float]:
    """Runs all models in turn until none gets faster; returns the fastest run of each in ms."""
    names = sorted(models)
    began = clock()
    fastest = dict.fromkeys(names, math.inf)
    for _ in range(MAX_WARMUPS):
        before = dict(fastest)
        for name, samples in zip(names, host.visit([(name, 1) for name in names]), strict=True):
            fastest[name] = min(fastest[name], *samples)
        steady = np.median([fastest[name] / before[name] for name in names]) > STEADY
        if steady and clock() - began >= plan.warmup_seconds:
            break
    return fastest


def _is_enough(visits: Sequence[Visited], models: Collection[str], plan: MeasurementPlan) -> bool:
    """Whether a call that made `visits` of `models` had come to its end."""
    done = _whole_rounds(visits, models)
    if done < plan.rounds:
        return False
    spent = done >= plan.max_rounds or _spent_seconds(visits) > plan.seconds
    return spent or not estimate(visits, target=plan.target).unsettled


def _whole_rounds(visits: Sequence[Visited], models: Collection[str]) -> int:
    """How many times each of `models` was visited, at least."""
    counts = Counter(visit.model for visit in visits)
    return min(counts[name] for name in models)


def _spent_seconds(visits: Sequence[Visited]) -> float:
    return sum(sum(visit.samples_ms) for visit in visits) / 1e3


def _expected_rounds(plan: MeasurementPlan, number: int, elapsed: float) -> int:
    """How many rounds there may be in all, when `number` have taken `elapsed` seconds."""
    if number < plan.rounds:
        return plan.rounds
    within = number + int(number * max(0.0, plan.seconds - elapsed) / max(elapsed, 1e-6))
    return min(plan.max_rounds, max(number + 1, within))
