"""The verb `profile`: a latency table of a space on a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwnas.checks import require_fitting_shapes
from hwnas.devices import MeasurementPlan, load_device
from hwnas.latency import CARRIERS, LatencyTable, TableIdentity, profile_space, table_path
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, make_space

__all__ = ["profile"]


def profile(
    device: str,
    space: str | SearchSpace = "mobilenetv3",
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    num_classes: int = 1000,
    space_options: Mapping[str, Any] | None = None,
    runtime: str | None = None,
    batch_size: int = 1,
    precision: str = "fp32",
    carriers: int = CARRIERS,
    calibrate: int = 0,
    tables: str | Path = "latency_tables",
    measurement: MeasurementPlan | None = None,
    seed: int = 0,
    accept_stale: bool = False,
    on_progress: OnProgress = silent,
) -> LatencyTable:
    """Measures what the table of a space on a device does not have yet: operators, and networks that prove it.

    Args:
        device: a device's name, or the path of a device file.
        space: a space's name, or the space itself, whose shape, classes and options then count.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        space_options: further options of the space, such as {"width_mult": 0.5}.
        runtime: one of the device's runtimes, or another; None: the device's preferred one.
        batch_size: images in one inference.
        precision: of the models: "fp32", "fp16" or "int8".
        carriers: random networks that the operators' costs are fitted on; 0: operators are measured alone.
        calibrate: further networks that calibrate and prove the table.
        tables: the folder of latency tables.
        measurement: how long and how often to measure.
        seed: of the random order of measurement, and of the networks.
        accept_stale: whether to go on with a table that was measured in another environment.
        on_progress: told of each step.

    Returns:
        The table, which is also stored at <tables>/<device>/<runtime>-<precision>-<space>-….json.

    Raises:
        UnknownNameError: no such device, space, runtime, precision or option.
        SettingsError: a number out of range.
        TableMismatchError: the file is of another table, or of another environment.
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
    return profile_space(
        where,
        space,
        path=table_path(Path(tables), identity, space),
        batch_size=batch_size,
        precision=precision,
        carriers=carriers,
        calibration_networks=calibrate,
        plan=measurement,
        seed=seed,
        accept_stale=accept_stale,
        on_progress=on_progress,
    )
