"""The verbs of latency tables as data: open, describe, compare, check, plot and import them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwnas.devices import find_runtime, fingerprint, list_devices, load_device
from hwnas.errors import HwnasError, SettingsError, StoredFileError, TableMismatchError, UnknownNameError
from hwnas.exporters import PRECISIONS
from hwnas.latency import (
    Finding,
    LatencyTable,
    TableComparison,
    TableIdentity,
    calibrated_networks,
    compare_tables,
    inspect_table,
    load_table,
    read_block_table,
    save_table,
    space_of,
    table_of_blocks,
    table_path,
)
from hwnas.reports import draw_predictions
from hwnas.spaces import make_space

__all__ = ["describe_table", "diff_tables", "import_table", "open_table", "plot_table", "validate_table"]

TABLES = "latency_tables"
IMPORTED = "imported"


def open_table(table: str | Path, *, tables: str | Path = TABLES) -> LatencyTable:
    """The latency table at a path, or at a path below the folder of tables; ".json" may be left out.

    Raises:
        UnknownNameError: there is none.
        StoredFileError: it is damaged; the error names the entry.
    """
    return load_table(_find(table, Path(tables)))


def describe_table(table: LatencyTable) -> dict[str, Any]:
    """What a table says of itself, ready for JSON: what it is of, whether it is complete, calibration and proof.

    Its keys: "path", "identity", "source", "fingerprint", "operators", "space_operators" (None where its space cannot be
    made here), "missing", "refused", "calibration", "interval_90" (half the 90 % prediction interval, as a share),
    "quality", "calibration_networks", "carriers", "flags".
    """
    space = space_of(table)
    calibrating = calibrated_networks(table)
    missing = [] if space is None else table.missing(space.all_operators())
    return {
        "path": None if table.path is None else str(table.path),
        "identity": asdict(table.identity) | {"input_shape": list(table.identity.input_shape)},
        "source": table.source,
        "fingerprint": dict(table.fingerprint),
        "operators": len(table.entries),
        "space_operators": None if space is None else len(space.all_operators()),
        "missing": [one.key for one in missing if one not in table.refused],
        "refused": {one.key: why for one, why in table.refused.items()},
        "calibration": asdict(table.calibration) | {"form": table.calibration.form},
        "interval_90": table.calibration.half_width(0.9),
        "quality": None if table.quality is None else table.quality.to_json(),
        "calibration_networks": calibrating,
        "carriers": len(table.networks) - calibrating,
        "flags": list(table.flags),
    }


def diff_tables(first: str | Path, second: str | Path, *, tables: str | Path = TABLES) -> TableComparison:
    """How a second table differs from a first. Raises as `open_table`."""
    return compare_tables(open_table(first, tables=tables), open_table(second, tables=tables))


def validate_table(table: str | Path, *, tables: str | Path = TABLES) -> list[Finding]:
    """Reads a table and checks it against its space, and against this machine where it is of this machine.

    Returns:
        What is wrong with it and what else should be known; a damaged file is one such finding.

    Raises:
        UnknownNameError: there is none.
    """
    path = _find(table, Path(tables))
    try:
        found = load_table(path)
    except StoredFileError as error:
        return [Finding("wrong", str(error).removesuffix("."))]
    return inspect_table(found, space=space_of(found), present=_present(found))


def plot_table(table: LatencyTable, path: str | Path) -> Path:
    """Draws the predicted against the measured latencies of a table's networks as a PNG.

    Raises:
        SettingsError: no networks were measured for the table.
        StoredFileError: the file could not be written.
    """
    if not table.networks:
        raise SettingsError(
            f"Table {table.path or ''}".strip(),
            "must hold measured networks to draw",
            came="it holds none",
            do="Measure some: hwnas profile … --calibrate 10",
        )
    return draw_predictions(table, Path(path))


def import_table(
    file: str | Path,
    *,
    device: str,
    space: str = "mobilenetv3",
    input_shape: tuple[int, int, int] = (3, 224, 224),
    num_classes: int = 1000,
    space_options: Mapping[str, Any] | None = None,
    runtime: str | None = None,
    precision: str = "fp32",
    batch_size: int = 1,
    num_threads: int | None = None,
    tables: str | Path = TABLES,
) -> LatencyTable:
    """Makes a latency table of a published table of blocks, of Once-for-All's or NSGANetV2's kind.

    Args:
        file: JSON, YAML or CSV, gzipped or not; see `hwnas.latency.block_tables`. Latencies are taken to be in ms.
        device: the name of the device that it was measured on.
        space: the space's name.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        space_options: further options of the space, such as {"width_mult": 1.2}.
        runtime: what ran the blocks; None: the preferred runtime of the device, which must have a file then.
        precision: of the blocks.
        batch_size: images in one inference.
        num_threads: of one inference; None: as the device's file says, else 1.
        tables: the folder of latency tables.

    Returns:
        The table, which is also stored; where the file lacks operators, one of its flags says which.

    Raises:
        UnknownNameError: no such space, option or precision.
        SettingsError: a number out of range, or no runtime is known.
        StoredFileError: the file cannot be read as a table of blocks.
        TableMismatchError: no operator is made up of its blocks, or a measured table is there already.
    """
    made = make_space(space, input_shape=input_shape, num_classes=num_classes, options=space_options)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    runtime, num_threads = _measured_by(device, runtime, num_threads)
    for name, number in (("batch_size", batch_size), ("num_threads", num_threads)):
        if not 1 <= number <= 4096:
            raise SettingsError(name, "must be from 1 to 4096", came=f"{number} came")
    identity = TableIdentity(device, runtime, precision, batch_size, num_threads, made.name, made.input_shape)
    path = table_path(Path(tables), identity, made)
    if path.exists() and not load_table(path).source.startswith(IMPORTED):
        raise TableMismatchError(
            f"Table {path}", "must not be there or be an imported one", came="it was measured", do="Move it away first"
        )
    source = Path(file)
    return save_table(table_of_blocks(read_block_table(source), made, identity, path=source), path)


def _find(table: str | Path, tables: Path) -> Path:
    named = Path(table)
    for place in (named, tables / named):
        for path in (place, place.with_name(f"{place.name}.json")):
            if path.is_file():
                return path
    known = [path.relative_to(tables).as_posix() for path in sorted(tables.glob("*/*.json"))]
    raise UnknownNameError("latency table", str(table), known, where=f"{tables} and here")


def _measured_by(device: str, runtime: str | None, num_threads: int | None) -> tuple[str, int]:
    """The runtime and threads of an imported table: as told, else as the device's file says."""
    names = {"device": device} | ({} if runtime is None else {"runtime": runtime})
    for what, name in names.items():
        if not name or Path(name).name != name:
            raise SettingsError(what, "must be a name that can be a file's", came=f"{name!r} came")
    known = load_device(device) if device in list_devices() else None
    if known is None and runtime is None:
        raise SettingsError(
            "runtime",
            "must be told where the device has no file",
            came=f"none came for {device}",
            do=f"Give --runtime, or add devices/{device}.toml",
        )
    threads = num_threads if num_threads is not None else known.num_threads if known is not None else 1
    return runtime or (known.runtimes[0] if known is not None else ""), threads


def _present(table: LatencyTable) -> dict[str, Any] | None:
    """This machine's environment, where `table` was measured on this machine and its runtime is here."""
    identity = table.identity
    if table.source.startswith(IMPORTED) or identity.device not in list_devices():
        return None
    try:
        if load_device(identity.device).scheme != "local":
            return None
        runtime = find_runtime(identity.runtime)
        runtime.require()
        return fingerprint(runtime, num_threads=identity.num_threads)
    except HwnasError:
        return None
