"""Building a latency table: operators and networks measured on a device, and costs made of them.

The operators are measured between contexts (see `models`), the carriers and the networks of the calibration whole. Costs
come from the carriers (see `regression`), the calibration and the proof from networks that no cost was fitted on. All
samples lie in a journal beside the table until the table is whole, so that a stopped profiling goes on where it was.
"""

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices import Device, Host, Measurement, MeasurementPlan, connect
from hwnas.errors import DeviceError, SettingsError, UnknownNameError
from hwnas.exporters import PRECISIONS
from hwnas.files import exclusive
from hwnas.latency.costing import averaged, with_calibration, with_rows
from hwnas.latency.models import SENTINELS, MeasuredModels, choose_networks, network_name, sentinel_networks, spread
from hwnas.latency.phases import Phase, Phases
from hwnas.latency.stored_table import load_table, save_table
from hwnas.latency.table import LatencyTable, TableIdentity, profile_command
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, Operator, SearchSpace

__all__ = ["CARRIERS", "Profiler", "check_precision", "check_settings", "profile_space"]

logger = logging.getLogger(__name__)

CARRIERS: Final = 40
JOURNAL_VERSION: Final = 2
MAX_BATCH: Final = 4096
MAX_NETWORKS: Final = 10_000
ENDS_FROM: Final = 5
"""Calibration networks from which on the smallest and the largest network are among them."""
TRIED: Final = 8
"""How many networks are drawn for each wanted one where the runtime refuses operators."""


def profile_space(
    device: Device,
    space: SearchSpace,
    *,
    path: Path,
    batch_size: int = 1,
    precision: str = "fp32",
    carriers: int = CARRIERS,
    calibration_networks: int = 0,
    plan: MeasurementPlan | None = None,
    seed: int = 0,
    accept_stale: bool = False,
    on_progress: OnProgress = silent,
) -> LatencyTable:
    """Measures what the table at `path` lacks, and writes it.

    A run that was stopped is gone on with: what it measured lies beside the table until the table is whole.

    Args:
        device: where to measure; its preferred runtime is used.
        space: whose operators.
        path: the table's file.
        batch_size: images in one inference.
        precision: of the models: one of PRECISIONS.
        carriers: random networks that costs are fitted on; 0: the operators' own measurements are the costs.
        calibration_networks: further networks that calibrate and prove the table.
        plan: how long and how often to measure.
        seed: of the random order and of the networks.
        accept_stale: go on with a table that was measured in another environment.
        on_progress: told of each export and each round.

    Raises:
        SettingsError, UnknownNameError: a precision, batch size or number that cannot be measured.
        MissingRuntimeError, DeviceError: the runtime or the device is not there, or fails.
        TableMismatchError: the file at `path` is of another table, or its rows are of another environment.
        StoredFileError: the file at `path` is broken, or could not be written.
    """
    check_settings(precision, batch_size, carriers, calibration_networks, seed)
    identity = TableIdentity.of(device, space, batch_size=batch_size, precision=precision)
    known = load_table(path) if path.exists() else None
    if known is not None:
        known.check_identity(identity, command=profile_command(identity, space))
    with connect(device) as host:
        check_precision(host.precisions, device, precision)
        fingerprint = host.fingerprint()
        if known is not None and not accept_stale:
            known.check_fingerprint(fingerprint)
        if known is not None and _is_whole(known, space, calibration_networks):
            logger.info("Nothing to measure: %s has all %d operators", path, len(known.entries))
            return known
        if known is not None and (changes := known.changes(fingerprint)):
            flag = f"measured in part in another environment: {', '.join(changes)}"
            known = replace(known, flags=tuple(dict.fromkeys((*known.flags, flag))))
        work = Profiler(device, space, identity, host, fingerprint, path, plan or MeasurementPlan(), seed, on_progress)
        with exclusive(work.folder):
            table = work.extend(known, carriers, calibration_networks)
    shutil.rmtree(work.folder, ignore_errors=True)
    return table


@dataclass
class Profiler:
    """One profiling on a device that was reached, able to go on where an earlier one was stopped.

    Attributes:
        device: where.
        space: whose operators.
        identity: of the table to be.
        host: the device, reached.
        fingerprint: its environment.
        path: the table's file.
        plan: how long and how often to measure.
        seed: of the random order and of the networks.
        on_progress: told of each step.
    """

    device: Device
    space: SearchSpace
    identity: TableIdentity
    host: Host
    fingerprint: dict[str, Any]
    path: Path
    plan: MeasurementPlan
    seed: int
    on_progress: OnProgress

    @property
    def folder(self) -> Path:
        """Where models and samples lie until the table is whole."""
        return self.path.with_suffix(".work")

    def extend(self, known: LatencyTable | None, carriers: int, calibration_networks: int) -> LatencyTable:
        """`known` with the rows and the calibration that it lacks, stored."""
        table = known or LatencyTable(self.identity, self.fingerprint, {})
        operators = [one for one in table.missing(self.space.all_operators()) if one not in table.refused]
        self._open(operators, carriers, calibration_networks)
        measured: Mapping[str, Measurement] = {}
        if operators:
            table, measured = self._measure_operators(table, operators)
            operators = [one for one in operators if one not in table.refused]
        wanted = calibration_networks if calibration_networks > _proving(table) else 0
        fitted = [self.space.architecture(one.choices) for one in table.networks if one.role == "carrier"]
        calibrating = self._draw(table, wanted, 1, fitted, with_ends=wanted >= ENDS_FROM)
        if len(calibrating) < wanted:
            logger.warning("%d networks to calibrate on were found, not %d", len(calibrating), wanted)
        carrying = self._draw(table, 0 if table.entries else carriers, 0, calibrating)
        table, first = self._measure_networks(table, "networks", [*carrying, *calibrating])
        again: dict[Architecture, Measurement] = {}
        if calibrating:
            table, again = self._measure_networks(table, "networks again", list(first))
        if operators:
            carriers_found = averaged({one: first[one] for one in carrying if one in first}, again)
            table = with_rows(table, self.space, operators, measured=measured, carriers=carriers_found)
        proof = {one: first[one] for one in calibrating if one in first}
        if proof:
            table = with_calibration(table, self.space, proof, again=again)
        return save_table(table, self.path)

    def measure_twice(
        self, architectures: Sequence[Architecture]
    ) -> tuple[LatencyTable, dict[Architecture, Measurement], dict[Architecture, Measurement]]:
        """A table without rows, and the latencies of networks in two measurements."""
        self._open([], 0, len(architectures))
        table = LatencyTable(self.identity, self.fingerprint, {})
        table, found = self._measure_networks(table, "networks", architectures)
        table, again = self._measure_networks(table, "networks again", list(found))
        return table, found, again

    def _open(self, operators: Sequence[Operator], carriers: int, calibration_networks: int) -> None:
        header = {
            "schema_version": JOURNAL_VERSION,
            "identity": asdict(self.identity) | {"input_shape": list(self.identity.input_shape)},
            "fingerprint": self.fingerprint,
            "operators": [operator.key for operator in operators],
            "networks": [carriers, calibration_networks],
            "plan": asdict(self.plan) | {"seed": self.seed},
        }
        self._phases = Phases(
            self.host,
            self.folder / "samples.jsonl",
            header=header,
            plan=self.plan,
            seed=self.seed,
            on_progress=self.on_progress,
        )
        self._models = MeasuredModels(
            self.space,
            self.folder,
            batch_size=self.identity.batch_size,
            precision=self.identity.precision,
            symmetric=self.host.symmetric_int8,
        )

    def _draw(
        self,
        table: LatencyTable,
        count: int,
        stream: int,
        without: Collection[Architecture],
        *,
        with_ends: bool = False,
    ) -> list[Architecture]:
        """Networks in which no operator occurs that the runtime refuses; none where no sentinel is free of them either.

        `with_ends`: the smallest and the largest are among them, since searches end there and random networks do not.
        """
        sentinels = sentinel_networks(self.space, SENTINELS, without=table.refused)
        if not count or not all(self._runs(table, one) for one in sentinels):
            return []
        drawn = choose_networks(
            self.space,
            count if not table.refused else TRIED * count,
            rng=np.random.default_rng([self.seed, stream]),
            without=[*without, *sentinels],
        )
        ends = [self.space.smallest(), self.space.largest()] if with_ends else []
        listed = dict.fromkeys([*(one for one in ends if one not in without and one not in sentinels), *drawn])
        return [one for one in listed if self._runs(table, one)][:count]

    def _runs(self, table: LatencyTable, architecture: Architecture) -> bool:
        return not table.refused.keys() & set(self.space.operators(architecture))

    def _measure_operators(
        self, table: LatencyTable, operators: Sequence[Operator]
    ) -> tuple[LatencyTable, Mapping[str, Measurement]]:
        """The latencies of operators between their contexts, and of the contexts; `table` with those that are refused."""
        logger.info("%d distinct operators to measure on %s", len(operators), self.device.name)
        paths = self._models.probes(operators, self.on_progress)
        keys = {operator.key: operator for operator in operators}
        contexts = [name for name in paths if name not in keys]
        known = [name for name in contexts if name in table.contexts]
        sentinels = spread(known or contexts or [operators[0].key], SENTINELS)
        references_ms = {name: table.contexts[name].latency_ms for name in sentinels if name in table.contexts}
        phase = self._phases.run("operators", paths, sentinels=sentinels, references_ms=references_ms)
        for name, why in phase.refused.items():
            if name in contexts:
                raise DeviceError(f"Runtime {self.identity.runtime}", f"must run {name}", came=f"it says: {why}")
            logger.warning("%s refuses %s: %s", self.identity.runtime, name, why)
        refused = {keys[name]: why for name, why in phase.refused.items()}
        return self._noting(table, phase, sentinels, refused), phase.measurements

    def _measure_networks(
        self, table: LatencyTable, stage: str, architectures: Sequence[Architecture]
    ) -> tuple[LatencyTable, dict[Architecture, Measurement]]:
        """The latencies of networks, at the speed of those that `table` knows; those that are refused are left out."""
        if not architectures:
            return table, {}
        chosen = sentinel_networks(self.space, SENTINELS, without=table.refused)
        sentinels = [network_name(one) for one in chosen]
        paths = self._models.networks([*chosen, *architectures], self.on_progress)
        references_ms = {name: table.sentinels_ms[name] for name in sentinels if name in table.sentinels_ms}
        phase = self._phases.run(stage, paths, sentinels=sentinels, references_ms=references_ms)
        for name, why in phase.refused.items():
            logger.warning("%s refuses %s: %s", self.identity.runtime, name, why)
        names = {network_name(one): one for one in architectures}
        found = {names[name]: one for name, one in phase.measurements.items() if name in names}
        return self._noting(table, phase, sentinels, {}), found

    @staticmethod
    def _noting(
        table: LatencyTable, phase: Phase, sentinels: Sequence[str], refused: Mapping[Operator, str]
    ) -> LatencyTable:
        """`table` with what `phase` has seen besides latencies."""
        return replace(
            table,
            refused={**table.refused, **refused},
            sentinels_ms={**{one: phase.measurements[one].latency_ms for one in sentinels}, **table.sentinels_ms},
            flags=(*table.flags, *phase.flags),
        )


def check_precision(precisions: Collection[str], device: Device, precision: str) -> None:
    """Raises DeviceError where the runtime of `device`, which has kernels of `precisions`, has none of `precision`."""
    if precision not in precisions:
        raise DeviceError(
            f"Runtime {device.runtimes[0]} on {device.name}",
            f"must run {precision} models at their own speed",
            came=f"it runs {', '.join(precisions)}",
        )


def _proving(table: LatencyTable) -> int:
    return sum(one.role == "calibration" for one in table.networks)


def _is_whole(table: LatencyTable, space: SearchSpace, calibration_networks: int) -> bool:
    """Whether `table` has all that can be measured."""
    missing = [one for one in table.missing(space.all_operators()) if one not in table.refused]
    return not missing and calibration_networks <= _proving(table)


def check_settings(precision: str, batch_size: int, carriers: int, calibration_networks: int, seed: int) -> None:
    """Raises SettingsError, UnknownNameError where a setting is out of range."""
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    limits = {
        "batch_size": (batch_size, 1, MAX_BATCH),
        "carriers": (carriers, 0, MAX_NETWORKS),
        "calibration_networks": (calibration_networks, 0, MAX_NETWORKS),
        "seed": (seed, 0, 2**63 - 1),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise SettingsError(name, f"must be from {low} to {high}", came=f"{value} came")
