"""What a run's architectures are scored by: its objectives, and the latency tables that they need."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas import objectives as makers
from hwnas.api.profiling import profile
from hwnas.api.run_folder import RunFolder
from hwnas.devices import load_device
from hwnas.errors import TableQualityError
from hwnas.latency import LatencyTable, TableIdentity, load_table, profile_command, table_path
from hwnas.objectives import Objective
from hwnas.progress import OnProgress
from hwnas.spaces import SearchSpace

__all__ = [
    "Leniency",
    "check_quality",
    "find_table",
    "known_table",
    "latency_table",
    "make_objectives",
    "table_identity",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leniency:
    """Which doubtful latency tables a search may use: of too low a quality, of another environment."""

    force: bool
    accept_stale: bool


def make_objectives(run: RunFolder, *, measured: bool = True) -> list[Objective]:
    """The objectives of `run`, bounds included; "error" cannot be evaluated yet.

    Args:
        run: the run.
        measured: whether latencies, which need a table, are wanted too.

    Raises:
        TableError: a table is missing, of something else, or lacks rows.
    """
    settings, space = run.settings, run.space
    found = []
    for name in settings.objectives:
        if name == "error":
            objective = makers.error(_not_trained)
        elif name == "macs":
            objective = makers.macs(space)
        elif name == "parameters":
            objective = makers.parameters(space)
        elif measured:
            device = name.removeprefix("latency@")
            objective = makers.latency(space, {one: known_table(run, device, one) for one in settings.precisions})
        else:
            continue
        found.append(objective.bounded(settings.bounds.get(name)))
    return found


def table_identity(
    run: RunFolder, device: str, precision: str, *, batch_size: int | None = None, space: SearchSpace | None = None
) -> TableIdentity:
    """What the table of `device` for networks in `precision` is of; `batch_size` and `space` None: the run's.

    Raises UnknownNameError: no such device.
    """
    images = run.settings.batch_size if batch_size is None else batch_size
    return TableIdentity.of(load_device(device), space or run.network_space, batch_size=images, precision=precision)


def find_table(
    run: RunFolder, device: str, precision: str, *, batch_size: int | None = None, space: SearchSpace | None = None
) -> LatencyTable | None:
    """The stored table of `device`, the run's own where winners have corrected it; None where there is none.

    Args:
        run: whose networks it is of.
        device: its name.
        precision: of the networks.
        batch_size: None: the run's.
        space: of the networks; None: the run's, whose images are loaded to make it.

    Raises:
        UnknownNameError: no such device.
        TableMismatchError: it is of something else.
        StoredFileError: it is broken.
    """
    space = space or run.network_space
    wanted = table_identity(run, device, precision, batch_size=batch_size, space=space)
    for folder in (run.corrected_tables, Path(run.settings.tables)):
        path = table_path(folder, wanted, space)
        if path.exists():
            table = load_table(path)
            table.check_identity(wanted, command=profile_command(wanted, space))
            return table
    return None


def known_table(run: RunFolder, device: str, precision: str, *, space: SearchSpace | None = None) -> LatencyTable:
    """The same, which must be there. Raises UnknownNameError, StoredFileError, TableMismatchError."""
    space = space or run.network_space
    found = find_table(run, device, precision, space=space)
    if found is None:
        wanted = table_identity(run, device, precision, space=space)
        return load_table(table_path(Path(run.settings.tables), wanted, space))
    return found


def latency_table(
    run: RunFolder, device: str, precision: str, leniency: Leniency, on_progress: OnProgress
) -> LatencyTable:
    """The table of `device`, with what it lacks measured; one that is stale by leave is taken as it is."""
    settings, space = run.settings, run.network_space
    if (
        leniency.accept_stale
        and table_path(Path(settings.tables), table_identity(run, device, precision), space).exists()
    ):
        known = known_table(run, device, precision)
        if not known.missing(space.all_operators()):
            return known
    return profile(
        device,
        space,
        batch_size=settings.batch_size,
        precision=precision,
        calibrate=settings.calibration_networks,
        tables=settings.tables,
        measurement=settings.measurement,
        seed=settings.seed,
        accept_stale=leniency.accept_stale,
        on_progress=on_progress,
    )


def check_quality(table: LatencyTable, leniency: Leniency) -> None:
    """Raises TableQualityError, or warns where it is to be used all the same, where `table` foretells latencies badly."""
    shortfall = None if table.quality is None else table.quality.shortfall
    if shortfall is None:
        return
    if not leniency.force:
        raise TableQualityError(
            f"Table {table.path}",
            "must foretell latencies well enough to search by",
            came=shortfall,
            do="Measure longer on a quieter machine (move the file away first), or search all the same with --force",
        )
    logger.warning("Table %s: %s", table.path, shortfall)


def _not_trained(architectures: Sequence[Any]) -> list[float]:
    raise NotImplementedError(f"{len(architectures)} architectures were to be scored before the supernet was trained")
