"""The verb `adapt`: a latency table for a new device from a few networks, with the tables of known devices as its basis."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwnas.checks import require_fitting_shapes
from hwnas.devices import MeasurementPlan, load_device
from hwnas.errors import HwnasError
from hwnas.latency import LatencyTable, TableIdentity, adapt_space, load_table, table_path
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, make_space

__all__ = ["adapt"]

logger = logging.getLogger(__name__)


def adapt(
    device: str,
    space: str | SearchSpace = "mobilenetv3",
    *,
    networks: int = 10,
    basis: Sequence[str | Path] | None = None,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    num_classes: int = 1000,
    space_options: Mapping[str, Any] | None = None,
    runtime: str | None = None,
    batch_size: int = 1,
    precision: str = "fp32",
    tables: str | Path = "latency_tables",
    measurement: MeasurementPlan | None = None,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> LatencyTable:
    """Builds a latency table for a device from a few whole networks measured there.

    Args:
        device: a device's name, or the path of a device file.
        space: a space's name, or the space itself, whose shape, classes and options then count.
        networks: how many networks to measure.
        basis: files of tables of the same space on other devices; None: all that lie in `tables`.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        space_options: further options of the space.
        runtime: None: the device's preferred one.
        batch_size: images in one inference.
        precision: of the models: "fp32", "fp16" or "int8".
        tables: the folder of latency tables.
        measurement: how long and how often to measure.
        seed: of the random order and of the networks.
        on_progress: told of each step.

    Returns:
        The table, which is also stored where `profile` would store it.

    Raises:
        UnknownNameError: no such device, space, runtime, precision or option.
        SettingsError: too few networks, or a number out of range.
        TableMismatchError: there is a table already.
        TableIncompleteError: a file of `basis` lacks operators of the space.
        SpaceError: operators of a space of your own do not fit together.
        MissingRuntimeError, DeviceError: the runtime or the device is not there, or fails.
        StoredFileError: a file is broken or could not be written.
    """
    where = load_device(device)
    if runtime is not None:
        where = where.with_runtime(runtime)
    if isinstance(space, str):
        space = make_space(space, input_shape=input_shape, num_classes=num_classes, options=space_options)
    require_fitting_shapes(space)
    identity = TableIdentity.of(where, space, batch_size=batch_size, precision=precision)
    path = table_path(Path(tables), identity, space)
    known = _fitting(Path(tables), path, space) if basis is None else [load_table(Path(one)) for one in basis]
    names = ", ".join(f"{one.identity.device} ({one.identity.runtime}, {one.identity.precision})" for one in known)
    logger.info("Basis: %s", names or "no other table of this space: MACs and parameters alone")
    return adapt_space(
        where,
        space,
        path=path,
        basis=known,
        networks=networks,
        batch_size=batch_size,
        precision=precision,
        plan=measurement,
        seed=seed,
        on_progress=on_progress,
    )


def _fitting(folder: Path, own: Path, space: SearchSpace) -> list[LatencyTable]:
    """The tables in `folder` that have each operator of `space`; broken ones are left out with a warning."""
    found = []
    for path in sorted(folder.glob("*/*.json")):
        if path == own:
            continue
        try:
            table = load_table(path)
        except HwnasError as error:
            logger.warning("Left out: %s", error)
            continue
        if not table.missing(space.all_operators()):
            found.append(table)
    return found
