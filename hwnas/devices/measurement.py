"""The measuring protocol: many loaded models visited in rounds of random order, a few runs a visit.

Timing one model after the other confuses the model with the minute: the same network varies by several percent as the
machine's load and clock drift. Rounds spread every model over the whole time, and a low quantile over rounds is what the
model takes when nothing disturbs it.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwnas.devices.runtimes.runtime import Session
from hwnas.errors import SettingsError
from hwnas.progress import OnProgress, silent

__all__ = ["Measurement", "MeasurementPlan", "Samples", "measure", "pinned", "summarize", "warm_up"]

Samples = dict[str, dict[int, list[float]]]
"""For each model, for each round, the samples of its visit in ms."""


@dataclass(frozen=True)
class Measurement:
    """A latency with what it rests on.

    Attributes:
        latency_ms: the estimate.
        ci95_ms: its 95 % interval (low, high).
        samples_ms: the samples, one tuple a round.
        conditions: the machine's state while they were taken.
    """

    latency_ms: float
    ci95_ms: tuple[float, float]
    samples_ms: tuple[tuple[float, ...], ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasurementPlan:
    """How long and how often to measure.

    Attributes:
        rounds: visits to each model.
        warmup_runs: runs of each model before the first round; the first run of each visit is also left out.
        visit_ms: a visit takes about this long …
        min_runs: … but at least so many runs,
        max_runs: … and at most so many.
        quantile: the quantile over rounds that is the estimate.
    """

    rounds: int = 30
    warmup_runs: int = 3
    visit_ms: float = 2.0
    min_runs: int = 3
    max_runs: int = 20
    quantile: float = 0.2

    def __post_init__(self) -> None:
        limits = {
            "rounds": (1, 10_000),
            "warmup_runs": (1, 10_000),
            "visit_ms": (0, 1e6),
            "min_runs": (1, 10_000),
            "max_runs": (1, 10_000),
            "quantile": (0, 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"measurement.{name}", f"must be from {low} to {high}", came=f"{value} came")

    def runs_a_visit(self, run_ms: float) -> int:
        """Timed runs in one visit of a model whose run takes `run_ms`."""
        return min(self.max_runs, max(self.min_runs, math.ceil(self.visit_ms / max(run_ms, 1e-6))))

    def estimated_seconds(self, run_ms: Mapping[str, float]) -> float:
        """About how long all rounds will take for models whose runs take `run_ms`."""
        return self.rounds * sum((1 + self.runs_a_visit(value)) * value for value in run_ms.values()) / 1e3


def warm_up(sessions: Mapping[str, Session], plan: MeasurementPlan) -> dict[str, float]:
    """Runs each model `plan.warmup_runs` times; returns the fastest run of each in ms."""
    return {name: min(session.time_ms(plan.warmup_runs)) for name, session in sessions.items()}


def measure(
    sessions: Mapping[str, Session],
    *,
    plan: MeasurementPlan,
    seed: int = 0,
    run_ms: Mapping[str, float] | None = None,
    samples: Samples | None = None,
    on_visit: Callable[[str, int, list[float]], None] | None = None,
    on_progress: OnProgress = silent,
) -> Samples:
    """Measures many models together.

    Args:
        sessions: the loaded models by name.
        plan: how long and how often.
        seed: of the random order; a resumed measurement keeps its order.
        run_ms: what `warm_up` returned, if it was called.
        samples: what an earlier, stopped call has measured; those visits are not made again.
        on_visit: called after each visit with the model, the round and its samples, to keep them.
        on_progress: told of each visit.

    Returns:
        All samples, the earlier ones included.
    """
    found: Samples = {name: dict((samples or {}).get(name, {})) for name in sessions}
    run_ms = warm_up(sessions, plan) if run_ms is None else run_ms
    names = sorted(sessions)
    total = plan.rounds * len(names)
    done = sum(len(rounds) for rounds in found.values())
    for number in range(plan.rounds):
        for index in np.random.default_rng([seed, number]).permutation(len(names)):
            name = names[index]
            if number in found[name]:
                continue
            session = sessions[name]
            session.time_ms(1)
            taken = [round(sample, 6) for sample in session.time_ms(plan.runs_a_visit(run_ms[name]))]
            found[name][number] = taken
            if on_visit is not None:
                on_visit(name, number, taken)
            done += 1
            on_progress("measuring", done, total)
    return found


def summarize(
    rounds: Mapping[int, Sequence[float]], *, quantile: float, conditions: Mapping[str, Any] | None = None
) -> Measurement:
    """The estimate from the samples of one model: a low quantile over rounds of the median of each visit.

    The interval is the percentile bootstrap over rounds (1,000 resamples, fixed seed).
    """
    visits = [tuple(rounds[number]) for number in sorted(rounds)]
    medians = np.array([np.median(visit) for visit in visits])
    resamples = np.random.default_rng(0).integers(0, len(medians), size=(1000, len(medians)))
    low, high = np.quantile(np.quantile(medians[resamples], quantile, axis=1), [0.025, 0.975])
    latency = float(np.quantile(medians, quantile))
    return Measurement(latency, (float(low), float(high)), tuple(visits), dict(conditions or {}))


@contextlib.contextmanager
def pinned(num_threads: int) -> Iterator[tuple[int, ...] | None]:
    """Pins this thread, and the threads it starts inside, to the last `num_threads` cores that it may use.

    Yields:
        The cores, or None where the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-num_threads:]
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:  # a container may forbid it
        yield None
        return
    try:
        yield tuple(chosen)
    finally:
        os.sched_setaffinity(0, before)
