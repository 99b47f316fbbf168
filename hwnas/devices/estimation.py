"""From visits to latencies: what the machine's slowdowns took is divided out, and what cannot be is flagged.

All models of a call are visited in random order, so whatever slows the machine for a while (a neighbour, a lower clock)
slows the visits around it alike. The slowdown at a visit is the median, over the visits around it, of how much longer
each took than its model's usual time; the visit itself is left out, so that it does not explain itself away. How many
visits around are asked is chosen by how well they foretell the one left out: none on a quiet machine. Latencies are
those at the fastest speed that the machine kept up, or, where an earlier call measured the same sentinels, at that
call's speed.

Of a visit's runs the lower quartile counts. Disturbances that only ever slow a run down make the truth lie about as far
below the fastest run as the second fastest lies above it (Robson & Whitlock, "Estimation of a truncation point", 1964),
even noise makes the median true; the interval is as much wider to either side as the fastest and the median are apart,
and reaches down to that point where it lies lower.

Suffixes: V visits in order of time, M models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Estimates", "Measurement", "Visited", "estimate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

HALF_WINDOWS: Final = (8, 32)
"""Visits on either side that may be asked for the slowdown at one."""
NEEDED_GAIN: Final = 0.95
"""A window is used where it lowers the error of foretelling a visit to this share of what no window leaves."""
OUTLYING: Final = 5.0
"""What misses by so many times the median miss misses by no more."""
KEPT_UP: Final = 0.05
"""The quantile of the slowdowns that is the machine's full speed."""
OF_RUNS: Final = 0.25
"""The quantile over the runs of a visit."""
RESAMPLES: Final = 400
MIN_SMOOTHED: Final = 12
"""Visits below which no slowdown is looked for."""
FEW: Final = 3
"""Visits of a model below which nothing is known of its interval …"""
UNKNOWN: Final = 1.0
"""… which then reaches so far to either side, as a logarithm: finite, so that it can be stored."""
LEAST: Final = 1e-4
"""No interval is narrower than this share to either side."""

THROTTLED: Final = 1.10
DRIFTED: Final = 1.03
MOVED: Final = 1.05
WILD: Final = 0.15
OVERLOADED: Final = 0.9


@dataclass(frozen=True)
class Visited:
    """One visit to a model.

    Attributes:
        model: its name.
        round: the round of the visit.
        samples_ms: the time of each timed run.
        call: the number of the call that made it; between two calls the machine may have done anything.
    """

    model: str
    round: int
    samples_ms: tuple[float, ...]
    call: int = 0


@dataclass(frozen=True)
class Measurement:
    """A latency with what it rests on.

    Attributes:
        latency_ms: the estimate.
        ci95_ms: its 95 % interval (low, high).
        samples_ms: the raw samples, one tuple a visit.
        conditions: the machine's state while they were taken.
        flags: what speaks against trusting it, a sentence each.
    """

    latency_ms: float
    ci95_ms: tuple[float, float]
    samples_ms: tuple[tuple[float, ...], ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimates:
    """What a call of `measure` has found.

    Attributes:
        measurements: the latency of each model.
        slowdowns: for each round by how much the machine was slower than at its full speed, 1 is not at all.
        speed: by what the latencies were multiplied to be those at the speed of the references, 1 where there are none.
        flags: what was seen of the machine, a sentence each.
        unsettled: the models that more visits would still tell more of.
        refused: the models that the runtime does not run, each with what it says.
    """

    measurements: Mapping[str, Measurement]
    slowdowns: tuple[float, ...]
    speed: float
    flags: tuple[str, ...]
    unsettled: frozenset[str]
    refused: Mapping[str, str] = field(default_factory=dict)


def estimate(
    visits: Sequence[Visited],
    *,
    references_ms: Mapping[str, float] | None = None,
    target: float = 0.01,
    conditions: Mapping[str, Any] | None = None,
) -> Estimates:
    """The latency of each visited model, slowdowns divided out.

    Args:
        visits: in order of time.
        references_ms: what some of the models, the sentinels, took in an earlier call at whose speed the latencies are
            wanted. Where none of them was visited, these visits are their own reference.
        target: the half width of the 95 % interval, as a share, above which a model is flagged.
        conditions: kept in each measurement.

    Returns:
        Estimates. An interval is the percentile bootstrap over a model's visits, widened by what is not known of the
        machine's full speed, and by what is not known of the disturbances within a visit.
    """
    names = sorted({visit.model for visit in visits})
    index = {name: number for number, name in enumerate(names)}
    model_V = np.array([index[visit.model] for visit in visits])
    log_ms_V, reach_V2 = _within_visits(visits)
    call_V = np.array([visit.call for visit in visits])
    slow_V, full_speed_error = _slowdowns(log_ms_V, model_V, call_V, len(names))
    corrected_V = log_ms_V - slow_V
    middle_M = _medians(corrected_V, model_V, len(names))
    faster_M, slower_M = (_medians(reach_V, model_V, len(names)) for reach_V in reach_V2.T)
    speed = 1.0
    tied = [np.log(value) - middle_M[index[name]] for name, value in (references_ms or {}).items() if name in index]
    if tied:
        speed = float(np.exp(np.mean(tied)))
    rng = np.random.default_rng(0)
    measurements, unsettled = {}, set()
    for number, name in enumerate(names):
        own = [visit.samples_ms for visit in visits if visit.model == name]
        deviations = corrected_V[model_V == number] - middle_M[number]
        below, above = _bootstrap(deviations, rng)
        flags = []
        if max(below, above) > target:
            unsettled.add(name)
            flags.append(f"unsettled: known to ±{max(below, above):.1%} only, after {len(own)} visits")
        if np.median(np.abs(deviations)) > WILD:
            flags.append(f"wild: half of its {len(own)} visits are more than {np.median(np.abs(deviations)):.0%} off")
        scale = float(np.exp(middle_M[number]) * speed)
        low = scale * np.exp(-np.hypot(below, 1.96 * full_speed_error) - faster_M[number])
        high = scale * np.exp(np.hypot(above, 1.96 * full_speed_error) + slower_M[number])
        measurements[name] = Measurement(
            scale, (float(low), float(high)), tuple(own), dict(conditions or {}), tuple(flags)
        )
    slow_R = _by_round(slow_V, visits)
    return Estimates(
        measurements,
        tuple(round(float(np.exp(slow)), 5) for slow in slow_R),
        speed,
        (*_machine_flags(slow_R), *_speed_flags(speed), *_load_flags(conditions or {})),
        frozenset(unsettled),
    )


def _within_visits(visits: Sequence[Visited]) -> tuple[FloatArray, FloatArray]:
    """Of each visit the logarithm of the run that counts, (V,), and how far below and above it the truth may lie, (V, 2)."""
    ordered = [sorted(visit.samples_ms) for visit in visits]
    chosen = [(one[0], one[min(1, len(one) - 1)], _quantile(one, OF_RUNS), _quantile(one, 0.5)) for one in ordered]
    fastest_V, second_V, log_ms_V, typical_V = np.log(chosen).T
    above_V = typical_V - fastest_V
    below_V = np.maximum(above_V, log_ms_V - (2 * fastest_V - second_V))
    return log_ms_V, np.stack([below_V, above_V], axis=1)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """As np.quantile, which takes far longer for a few numbers."""
    place = share * (len(ordered) - 1)
    low = int(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def _bootstrap(deviations: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """How far the median of resampled deviations reaches below and above zero, at 95 %."""
    count = len(deviations)
    if count < FEW:
        return UNKNOWN, UNKNOWN
    middles = np.median(deviations[rng.integers(0, count, (RESAMPLES, count))], axis=1)
    low, high = np.quantile(middles, [0.025, 0.975]) * (1 + 2 / count)  # few visits resample too narrowly
    return float(max(-low, LEAST)), float(max(high, LEAST))


def _slowdowns(log_ms_V: FloatArray, model_V: IntArray, call_V: IntArray, models: int) -> tuple[FloatArray, float]:
    """The logarithm of the slowdown at each visit against full speed, and the standard error of that full speed."""
    usual_V = _medians(log_ms_V, model_V, models)[model_V]
    nothing_V = np.zeros_like(log_ms_V)
    bend = OUTLYING * max(LEAST, float(np.median(np.abs(log_ms_V - usual_V))))
    best_V, least = nothing_V, NEEDED_GAIN * _mean_error(log_ms_V - usual_V, bend)
    for half_window in HALF_WINDOWS:
        if len(log_ms_V) < max(MIN_SMOOTHED, half_window):
            continue
        slow_V = nothing_V
        for _ in range(4):  # a model's usual time and the slowdowns are found from each other
            usual_V = _medians(log_ms_V - slow_V, model_V, models)[model_V]
            slow_V = _around(log_ms_V - usual_V, call_V, half_window)
        usual_V = _medians(log_ms_V - slow_V, model_V, models)[model_V]
        left = _mean_error(log_ms_V - slow_V - usual_V, bend)
        if left < least:
            best_V, least = slow_V, left
    if best_V is nothing_V:
        return nothing_V, 0.0
    blocks = np.array_split(best_V, max(2, min(40, len(best_V) // 32)))
    picks = np.random.default_rng(1).integers(0, len(blocks), (100, len(blocks)))
    levels = [np.quantile(np.concatenate([blocks[block] for block in pick]), KEPT_UP) for pick in picks]
    return best_V - np.quantile(best_V, KEPT_UP), float(np.std(levels))


def _mean_error(residual_V: FloatArray, bend: float) -> float:
    """The mean size of the residuals, those beyond `bend` counted as `bend`: a slow quarter counts, an outlier hardly."""
    return float(np.minimum(np.abs(residual_V), bend).mean())


def _around(residual_V: FloatArray, call_V: IntArray, half_window: int) -> FloatArray:
    """The median of the residuals around each visit of the same call, its own left out."""
    found_V = np.zeros_like(residual_V)
    for call in np.unique(call_V):
        own = residual_V[call_V == call]
        width = min(half_window, len(own) - 1)
        if width < 1:
            continue
        padded = np.pad(own, width, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1)
        found_V[call_V == call] = np.median(np.delete(windows, width, axis=1), axis=1)
    return found_V


def _medians(values_V: FloatArray, model_V: IntArray, models: int) -> FloatArray:
    return np.array([np.median(values_V[model_V == number]) for number in range(models)])


def _by_round(slow_V: FloatArray, visits: Sequence[Visited]) -> FloatArray:
    """The slowdown of each round, in order of time."""
    keys = list(dict.fromkeys((visit.call, visit.round) for visit in visits))
    number = {key: index for index, key in enumerate(keys)}
    round_V = np.array([number[visit.call, visit.round] for visit in visits])
    return np.array([np.median(slow_V[round_V == index]) for index in range(len(keys))])


def _machine_flags(slow_R: FloatArray) -> tuple[str, ...]:
    """What the slowdowns of the rounds tell of the machine."""
    flags = []
    if len(slow_R) >= MIN_SMOOTHED:
        sustained = float(np.exp(np.quantile(slow_R, 0.9)))
        share = float(np.mean(slow_R > np.log(THROTTLED)))
        if sustained > THROTTLED:
            flags.append(
                f"slowed down: for {share:.0%} of the time the machine was slower by more than {THROTTLED - 1:.0%} than at "
                f"its full speed, by {sustained - 1:.0%} at the 90th percentile (throttling, or other load)"
            )
        quarter = max(1, len(slow_R) // 4)
        ratio = float(np.exp(np.median(slow_R[-quarter:]) - np.median(slow_R[:quarter])))
        if not 1 / DRIFTED < ratio < DRIFTED:
            flags.append(f"drifted: the last quarter of the time was {ratio - 1:+.1%} against the first")
    return tuple(flags)


def _speed_flags(speed: float) -> tuple[str, ...]:
    if 1 / MOVED < speed < MOVED:
        return ()
    return (f"another speed: the sentinels took {1 / speed - 1:+.1%} against the earlier measurement",)


def _load_flags(conditions: Mapping[str, Any]) -> tuple[str, ...]:
    load, cores = conditions.get("before", {}).get("load_average"), conditions.get("cores")
    if load is None or not cores or load < OVERLOADED * cores:
        return ()
    return (f"busy: the load average was {load} on {cores} cores when it began",)
