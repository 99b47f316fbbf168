"""A table for a device from a few whole networks measured there, with the tables of other devices as its basis.

The numerics are in `adaptation`; here networks are chosen and measured, and the table is made and proven.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.devices import Device, Measurement, MeasurementPlan, connect
from hwnas.errors import SettingsError, TableMismatchError
from hwnas.files import exclusive
from hwnas.latency.adaptation import AdaptedCosts, adapt_costs, cost_features
from hwnas.latency.calibration import Calibration, Quality, agreement, by_macs
from hwnas.latency.costing import averaged, counts_of, macs_of
from hwnas.latency.models import SENTINELS, sentinel_networks
from hwnas.latency.profiling import Profiler, check_precision, check_settings
from hwnas.latency.stored_table import save_table
from hwnas.latency.table import LatencyTable, MeasuredNetwork, TableIdentity
from hwnas.latency.transfer import choose_networks
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace

__all__ = ["LEAST_NETWORKS", "adapt_space", "adapted_table", "corrected_table"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

CANDIDATES: Final = 500
LEAST_NETWORKS: Final = 3


def adapt_space(
    device: Device,
    space: SearchSpace,
    *,
    path: Path,
    basis: Sequence[LatencyTable],
    networks: int = 10,
    batch_size: int = 1,
    precision: str = "fp32",
    plan: MeasurementPlan | None = None,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> LatencyTable:
    """Measures `networks` on `device` and writes a table with a row for each operator of `space`.

    A run that was stopped is gone on with.

    Args:
        device: where to measure; its preferred runtime is used.
        space: whose networks.
        path: the table's file, which must not exist.
        basis: whole tables of the space on other devices, or otherwise on this one; may be empty.
        networks: how many to measure; which ones follows from the basis.
        batch_size: images in one inference.
        precision: of the models.
        plan: how long and how often to measure.
        seed: of the random order and of the candidates.
        on_progress: told of each step.

    Raises:
        SettingsError: too few networks, or numbers out of range.
        TableMismatchError: there is a table at `path`, or a table of the basis lacks operators of the space.
        MissingRuntimeError, DeviceError: the runtime or the device is not there, or fails.
        StoredFileError: a file could not be written.
    """
    check_settings(precision, batch_size, 0, networks, seed)
    if networks < LEAST_NETWORKS:
        raise SettingsError("networks", f"must be at least {LEAST_NETWORKS}", came=f"{networks} came")
    if path.exists():
        raise TableMismatchError(
            f"Table {path}", "must not be there yet", came="it is", do="Move the file away to adapt anew"
        )
    for table in basis:
        table.require(space.all_operators())
    chosen = _choose(space, basis, networks, seed)
    identity = TableIdentity.of(device, space, batch_size=batch_size, precision=precision)
    with connect(device) as host:
        check_precision(host.precisions, device, precision)
        work = Profiler(
            device, space, identity, host, host.fingerprint(), path, plan or MeasurementPlan(), seed, on_progress
        )
        with exclusive(work.folder):
            table, found, again = work.measure_twice(chosen)
    table = save_table(adapted_table(table, space, basis, found, again=again), path)
    shutil.rmtree(work.folder, ignore_errors=True)
    return table


def adapted_table(
    table: LatencyTable,
    space: SearchSpace,
    basis: Sequence[LatencyTable],
    networks: Mapping[Architecture, Measurement],
    *,
    again: Mapping[Architecture, Measurement],
) -> LatencyTable:
    """`table` with rows adapted to `networks`, each of which is left out in turn for the proof."""
    operators = list(space.all_operators())
    architectures = list(networks)
    counts_NO = counts_of(space, architectures, operators)
    first_N = np.array([networks[one].latency_ms for one in architectures])
    networks = averaged(networks, again)
    measured_N = np.array([networks[one].latency_ms for one in architectures])
    costs = _adapt(space, basis, counts_NO, measured_N)
    everyone = np.arange(len(architectures))
    left_out_N = np.array(
        [
            _adapt(space, basis, counts_NO[everyone != one], measured_N[everyone != one]).predict(counts_NO[[one]])[0][
                0
            ]
            for one in everyone
        ]
    )
    found = agreement(left_out_N, measured_N)
    again_N = np.array([again[one].latency_ms for one in architectures]) if again else None
    deviation = float(np.sqrt(np.mean((left_out_N / measured_N - 1) ** 2)))
    rows = {
        operator: Measurement(float(cost), (max(0.0, float(cost - 1.96 * std)), float(cost + 1.96 * std)))
        for operator, cost, std in zip(operators, costs.costs_ms_O, costs.std_ms_O, strict=True)
    }
    names = ", ".join(f"{one.identity.device} ({one.identity.runtime}, {one.identity.precision})" for one in basis)
    return replace(
        table,
        entries=rows,
        networks=tuple(
            MeasuredNetwork(
                "calibration",
                one.choices,
                networks[one],
                float(left_out_N[number]),
                float(left_out_N[number]),
                None if again_N is None else float(again_N[number]),
            )
            for number, one in enumerate(architectures)
        ),
        calibration=Calibration(
            overhead_ms=costs.overhead_ms,
            relative_deviation=deviation,
            degrees_of_freedom=float(max(1, len(architectures) - 1)),
        ),
        quality=Quality(
            len(architectures),
            found,
            found,
            by_macs(macs_of(space, architectures), measured_N),
            None if again_N is None else agreement(again_N, first_N),
        ),
        source=f"adapted from {names or 'MACs and parameters'} by {len(architectures)} networks",
    )


def corrected_table(
    table: LatencyTable, space: SearchSpace, networks: Mapping[Architecture, Measurement]
) -> LatencyTable:
    """`table` after networks that it foretells badly were measured: its rows are what they deviate from as little as fits.

    The interval is that of these networks, each left out in turn; the proof stays that of the rows as they were measured.

    Args:
        table: with a row for each operator of `space`.
        space: whose networks.
        networks: their latencies, of at least 3.

    Raises:
        SettingsError: too few networks.
    """
    if len(networks) < LEAST_NETWORKS:
        raise SettingsError("networks", f"must be at least {LEAST_NETWORKS}", came=f"{len(networks)} came")
    adapted = adapted_table(table, space, [table], networks, again={})
    source = f"{table.source}, corrected by {len(networks)} networks"
    return replace(adapted, quality=table.quality, source=source)


def _adapt(
    space: SearchSpace, basis: Sequence[LatencyTable], counts_NO: FloatArray, measured_N: FloatArray
) -> AdaptedCosts:
    return adapt_costs(counts_NO, measured_N, basis_ms_KO=_basis(space, basis), facts_OF=_facts(space))


def _basis(space: SearchSpace, basis: Sequence[LatencyTable]) -> FloatArray | None:
    return np.stack([table.costs(space.all_operators()) for table in basis]) if basis else None


def _facts(space: SearchSpace) -> FloatArray:
    """MACs and parameters of each operator, (O, 2)."""
    counts = [space.counts[operator] for operator in space.all_operators()]
    return np.array([[float(one.macs), float(one.parameters)] for one in counts])


def _choose(space: SearchSpace, basis: Sequence[LatencyTable], count: int, seed: int) -> list[Architecture]:
    """The networks that tell most of the costs, out of random ones."""
    rng = np.random.default_rng([seed, 3])
    taken = set(sentinel_networks(space, SENTINELS))
    drawn = dict.fromkeys(space.architectures(space.sample_choices(CANDIDATES, rng=rng)))
    candidates = [one for one in drawn if one not in taken]
    counts_NO = counts_of(space, candidates, list(space.all_operators()))
    features = cost_features(counts_NO, basis_ms_KO=_basis(space, basis), facts_OF=_facts(space))
    return [candidates[place] for place in choose_networks(features, min(count, len(candidates)), rng=rng)]
