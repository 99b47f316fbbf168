"""From measurements to a table: rows out of operators and carriers, calibration and proof out of further networks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.devices import Measurement
from hwnas.latency.calibration import Calibration, Quality, agreement, by_macs, calibrate
from hwnas.latency.models import sides_of
from hwnas.latency.regression import OperatorCosts, regress_costs
from hwnas.latency.table import LatencyTable, MeasuredNetwork
from hwnas.spaces import Architecture, Operator, SearchSpace

__all__ = ["FEATURES", "averaged", "counts_of", "macs_of", "with_calibration", "with_rows"]

FloatArray = npt.NDArray[np.float64]

FEATURES: Final = ("latency between contexts, in ms", "million parameters")
"""What the cost of an operator is built up from: its work, and the weights that each network brings from memory."""
TWO_SIDED_95: Final = 1.96


def with_rows(
    table: LatencyTable,
    space: SearchSpace,
    operators: Sequence[Operator],
    *,
    measured: Mapping[str, Measurement],
    carriers: Mapping[Architecture, Measurement],
) -> LatencyTable:
    """`table` with rows for `operators`.

    Args:
        table: what is known already.
        space: the space.
        operators: those that were measured.
        measured: the latencies of the operators between their contexts, and of the contexts, by name.
        carriers: whole networks of these operators. Too few to fit costs on: the weights that `table` knows are
            used, or the operators' own measurements.
    """
    alone = {operator: _less_contexts(operator, space, measured) for operator in operators}
    features_OP = np.array([[max(alone[one].latency_ms, 0.0), space.counts[one].parameters / 1e6] for one in operators])
    weights = dict(table.weights)
    fitted = None
    if len(carriers) > len(FEATURES):
        latency_ms_N = np.array([found.latency_ms for found in carriers.values()])
        fitted = regress_costs(counts_of(space, list(carriers), operators), latency_ms_N, features_OP)
        weights = dict(zip(FEATURES, map(float, fitted.weights_P), strict=True))
    if fitted is None:
        weight_P = [weights.get(name, 1.0 if name == FEATURES[0] else 0.0) for name in FEATURES]
        rows = [_row(alone[one], cost, None) for one, cost in zip(operators, features_OP @ weight_P, strict=True)]
    else:
        found = zip(operators, fitted.costs_ms_O, fitted.deviations_ms_O, strict=True)
        rows = [_row(alone[one], cost, deviation) for one, cost, deviation in found]
    table = replace(
        table,
        entries={**table.entries, **dict(zip(operators, rows, strict=True))},
        contexts={**table.contexts, **{name: measured[name] for one in operators for name in sides_of(one, space)}},
        weights=weights,
    )
    return table if fitted is None else _proven_by_carriers(table, space, carriers, fitted)


def with_calibration(
    table: LatencyTable,
    space: SearchSpace,
    networks: Mapping[Architecture, Measurement],
    *,
    again: Mapping[Architecture, Measurement],
) -> LatencyTable:
    """`table` calibrated and proven by whole networks that its rows were not fitted on, in place of those it had.

    Args:
        table: with a row for each operator of `networks`.
        space: the space.
        networks: their latencies.
        again: the same, measured a second time; may be empty. The mean of both counts.
    """
    architectures = list(networks)
    first_ms = np.array([networks[one].latency_ms for one in architectures])
    networks = averaged(networks, again)
    rows = [[table.entries[operator].latency_ms for operator in space.operators(one)] for one in architectures]
    sums_ms = np.array([sum(row) for row in rows])
    measured_ms = np.array([networks[one].latency_ms for one in architectures])
    again_ms = np.array([again[one].latency_ms for one in architectures]) if again else None
    carriers = tuple(one for one in table.networks if one.role == "carrier")
    errors = np.array([one.sum_ms / one.found.latency_ms - 1 for one in carriers])
    calibration, quality, left_out_ms = calibrate(
        sums_ms,
        measured_ms,
        operators_N=np.array([float(len(row)) for row in rows]),
        macs_N=macs_of(space, architectures),
        twice_ms=None if again_ms is None else (first_ms, again_ms),
        known_errors=errors,
    )
    proof = tuple(
        MeasuredNetwork(
            "calibration",
            one.choices,
            networks[one],
            float(sums_ms[number]),
            float(left_out_ms[number]),
            None if again_ms is None else float(again_ms[number]),
        )
        for number, one in enumerate(architectures)
    )
    return replace(table, networks=(*carriers, *proof), calibration=calibration, quality=quality)


def averaged(
    first: Mapping[Architecture, Measurement], second: Mapping[Architecture, Measurement]
) -> dict[Architecture, Measurement]:
    """The mean of two measurements of each network; those that were measured once are left as they are."""
    return {one: _mean(found, second[one]) if one in second else found for one, found in first.items()}


def _mean(first: Measurement, second: Measurement) -> Measurement:
    low, high = ((a + b) / 2 for a, b in zip(first.ci95_ms, second.ci95_ms, strict=True))
    flags = tuple(dict.fromkeys((*first.flags, *second.flags)))
    samples = (*first.samples_ms, *second.samples_ms)
    return Measurement((first.latency_ms + second.latency_ms) / 2, (low, high), samples, first.conditions, flags)


def counts_of(space: SearchSpace, architectures: Sequence[Architecture], operators: Sequence[Operator]) -> FloatArray:
    """How often each of `operators` occurs in each of `architectures`, (N, O)."""
    place = {operator: number for number, operator in enumerate(operators)}
    counts_NO = np.zeros((len(architectures), len(operators)))
    for number, architecture in enumerate(architectures):
        for operator in space.operators(architecture):
            counts_NO[number, place[operator]] += 1
    return counts_NO


def macs_of(space: SearchSpace, architectures: Sequence[Architecture]) -> FloatArray:
    """The MACs of each architecture, (N,)."""
    return np.array(
        [float(sum(space.counts[operator].macs for operator in space.operators(one))) for one in architectures]
    )


def _proven_by_carriers(
    table: LatencyTable, space: SearchSpace, carriers: Mapping[Architecture, Measurement], fitted: OperatorCosts
) -> LatencyTable:
    """The proof that the carriers give, each left out of the fit of the rows that foretell it."""
    architectures, left_out = list(carriers), fitted.left_out_ms_N
    measured = np.array([carriers[one].latency_ms for one in architectures])
    errors = left_out / measured - 1
    found = agreement(left_out, measured)
    calibration = Calibration(
        relative_deviation=float(np.sqrt(np.mean(errors**2))), degrees_of_freedom=float(len(errors))
    )
    networks = tuple(
        MeasuredNetwork("carrier", one.choices, carriers[one], float(value), float(value))
        for one, value in zip(architectures, left_out, strict=True)
    )
    quality = Quality(len(architectures), found, found, by_macs(macs_of(space, architectures), measured), None)
    return replace(table, networks=networks, calibration=calibration, quality=quality)


def _row(alone: Measurement, cost_ms: float, deviation_ms: float | None) -> Measurement:
    """The row of an operator that costs `cost_ms` inside networks and was measured by itself as `alone`."""
    conditions = {**alone.conditions, "between_contexts_ms": alone.latency_ms}
    if deviation_ms is None:
        scale = cost_ms / alone.latency_ms if alone.latency_ms > 0 else 1.0
        low, high = (max(0.0, bound * scale) for bound in alone.ci95_ms)
    else:
        low, high = max(0.0, cost_ms - TWO_SIDED_95 * deviation_ms), cost_ms + TWO_SIDED_95 * deviation_ms
    cost_ms = max(0.0, float(cost_ms))
    interval = (min(float(low), cost_ms), max(float(high), cost_ms))
    return Measurement(cost_ms, interval, alone.samples_ms, conditions, alone.flags)


def _less_contexts(operator: Operator, space: SearchSpace, measured: Mapping[str, Measurement]) -> Measurement:
    """The operator's latency less half of its contexts'; the intervals are added as independent errors."""
    whole, sides = measured[operator.key], sides_of(operator, space)
    latency = whole.latency_ms
    below = (whole.latency_ms - whole.ci95_ms[0]) ** 2
    above = (whole.ci95_ms[1] - whole.latency_ms) ** 2
    for side in (measured[name] for name in sides):
        latency -= side.latency_ms / 2
        below += ((side.ci95_ms[1] - side.latency_ms) / 2) ** 2
        above += ((side.latency_ms - side.ci95_ms[0]) / 2) ** 2
    conditions = {**whole.conditions, "half_subtracted": list(sides)}
    interval = (float(latency - below**0.5), float(latency + above**0.5))
    return Measurement(float(latency), interval, whole.samples_ms, conditions, whole.flags)
