"""Latencies of exported files on the devices of a run, measured together, beside what its tables have foretold."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onnx

from hwnas.api.measured import lie_apart
from hwnas.api.proving import Proven, library_of
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import find_table
from hwnas.devices import Device, Host, LocalHost, Measurement, connect, find_runtime, load_device, measure
from hwnas.errors import DeviceError, HwnasError
from hwnas.latency import LatencyTable
from hwnas.progress import OnProgress, silent

__all__ = ["measure_files", "missed", "timed_images"]

logger = logging.getLogger(__name__)

SYMMETRIC: Final = "int8-symmetric.onnx"
ASYMMETRIC: Final = f"its runtime there wants symmetric int8, and the bundle has no {SYMMETRIC} for it"
LEVEL: Final = 0.9

Files = Mapping[str, tuple[Proven, str]]
"""By a name of its own each file of a run: the bundle, and its name there."""


@dataclass
class Seen:
    """What a device has shown.

    Attributes:
        measured: the latency of each file that was measured.
        reasons: why each of the others was not.
        measured_by: what was run in place of a file in the device's own runtime: another file, or a library.
        fingerprint: of the environment there, None where it could not be used.
    """

    measured: dict[str, Measurement] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    measured_by: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] | None = None


def measure_files(
    run: RunFolder, proven: Sequence[Proven], device: str, *, on_progress: OnProgress = silent
) -> dict[str, Any] | None:
    """Measures the files of all bundles on a device, in turn, and puts what is known into their `latency`.

    Args:
        run: that they are of.
        proven: the bundles.
        device: its name. Where it cannot be used, a sentence says why in place of the latencies.
        on_progress: told of each round.

    Returns:
        The environment there, None where it could not be used.
    """
    files = {f"{one.winner.name}/{name}": (one, name) for one in proven for name in one.findings}
    seen, tables = Seen(), dict[tuple[str, int], LatencyTable | None]()
    libraries = dict.fromkeys(library_of(name) for _, name in files.values())
    with tempfile.TemporaryDirectory() as scratch:
        for library in libraries:
            own = {key: one for key, one in files.items() if library_of(one[1]) == library}
            try:
                with _reach(load_device(device), library) as host:
                    _measure_on(host, run, own, seen, Path(scratch), f"models on {device}", on_progress)
                    if library is None:
                        seen.fingerprint = host.fingerprint()
            except HwnasError as error:
                seen.reasons |= dict.fromkeys(own, str(error))
                logger.warning("Not measured on %s: %s", device, error)
    for key, (one, name) in files.items():
        entry = one.manifest["files"][name]
        asked = entry["precision"], timed_images(run, entry, name)
        if asked not in tables:
            tables[asked] = _table(run, device, *asked)
        foretold = _foretold(run, one, name, device, tables[asked])
        one.latency.setdefault(name, {})[device] = {**foretold, **_entry(seen, key)}
    return seen.fingerprint


def timed_images(run: RunFolder, entry: Mapping[str, Any], name: str) -> int:
    """How many images at once a file is timed on: its own number, or where it takes any, that of the run.

    Args:
        run: that it is of.
        entry: of its manifest.
        name: of the file.
    """
    anything = run.settings.batch_size if library_of(name) is None else 1
    return int(entry["batch_size"] or anything)


def missed(proven: Sequence[Proven], device: str) -> list[str]:
    """The models whose own file took another latency on `device` than foretold, in words: the intervals lie apart."""
    found = []
    for one in proven:
        latency = one.latency[one.own][device]
        measured, interval = latency["measured_ci95_ms"], latency["predicted_interval_ms"]
        if measured is not None and interval is not None and lie_apart(interval, measured):
            predicted = f"predicted {interval[0]:.3f} to {interval[1]:.3f}"
            found.append(f"{one.winner.name} ({latency['measured_ms']:.3f} ms, {predicted})")
    return found


def _reach(device: Device, library: str | None) -> Host:
    """The device for ONNX files; for those of another library that one, here: it may run nowhere else.

    Raises:
        DeviceError: it cannot be used.
    """
    if library is None:
        return connect(device)
    if device.scheme != "local":
        raise DeviceError(
            f"Device {device.name!r}", f"must be this machine to run files of {library}", came=f"it is {device.address}"
        )
    family, preferred = library.partition("-cpu")[0], device.runtimes[0]
    runtime = find_runtime(preferred if preferred.startswith(f"{family}-") and family == "openvino" else library)
    return LocalHost(runtime, num_threads=device.num_threads)


def _measure_on(
    host: Host, run: RunFolder, files: Files, seen: Seen, scratch: Path, stage: str, on_progress: OnProgress
) -> None:
    """Measures `files` on `host` and puts what it shows into `seen`. Raises DeviceError."""
    instead, running = dict[str, str](), dict[str, Path]()
    for key, (one, name) in files.items():
        entry = one.manifest["files"][name]
        if host.symmetric_int8 and entry["precision"] == "int8" and library_of(name) is None and name != SYMMETRIC:
            if entry["image_input"] or SYMMETRIC not in one.findings:
                seen.reasons[key] = ASYMMETRIC
            else:
                instead[key] = f"{one.winner.name}/{SYMMETRIC}"
        else:
            running[key] = _of_fixed_size(run, one, name, scratch)
    if not running:
        return
    found = measure(
        host, running, plan=run.settings.measurement, seed=run.settings.seed, on_progress=on_progress, stage=stage
    )
    for flag in found.flags:
        logger.warning("%s: %s", stage, flag)
    instead = {key: instead.get(key, key) for key in (*running, *instead)}
    seen.measured |= {key: found.measurements[own] for key, own in instead.items() if own in found.measurements}
    said = {key: found.refused[own] for key, own in instead.items() if own in found.refused}
    seen.reasons |= {key: f"its runtime there refuses it: {reason}" for key, reason in said.items()}
    seen.measured_by |= {key: SYMMETRIC for key, own in instead.items() if own != key}
    environment = host.fingerprint()
    by = f"{environment.get('runtime')} {environment.get('runtime_version')}"
    seen.measured_by |= {key: by for key, (_, name) in files.items() if library_of(name) and key in seen.measured}


def _of_fixed_size(run: RunFolder, one: Proven, name: str, scratch: Path) -> Path:
    """The file; one that takes images of any size or number as a copy that takes those that it is timed on."""
    path, entry = one.path / name, one.manifest["files"][name]
    if library_of(name) is not None or not (entry["image_input"] or entry["batch_size"] is None):
        return path
    model = onnx.load(path, load_external_data=False)
    channels, height, width = run.data.input_shape
    shape = (height, width, channels) if entry["image_input"] else (channels, height, width)
    sizes = (timed_images(run, entry, name), *shape)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = size
    copy = scratch / f"{one.winner.name}-{name}"
    onnx.save(model, copy)
    return copy


def _table(run: RunFolder, device: str, precision: str, batch_size: int) -> LatencyTable | None:
    """The table; None where there is none that can be used."""
    try:
        return find_table(run, device, precision, batch_size=batch_size)
    except HwnasError as error:
        logger.warning("Not foretold for %s in %s: %s", device, precision, error)
        return None


def _foretold(run: RunFolder, one: Proven, name: str, device: str, table: LatencyTable | None) -> dict[str, Any]:
    """What the search, or else the table of the file's precision and batch size, has foretold; None where nothing has."""
    entry = one.manifest["files"][name]
    predicted, half = None, None
    if name == f"{entry['precision']}.onnx":
        network, _ = run.split(run.space.from_json(one.winner.architecture))
        operators = run.network_space.operators(network)
        if name == one.own and timed_images(run, entry, name) == run.settings.batch_size:
            predicted = one.winner.values.get(f"latency_ms@{device}")
        if table is not None and not table.missing(operators):
            predicted = table.predict_ms(operators) if predicted is None else predicted
            half = table.calibration.half_width(LEVEL)
    interval = None if predicted is None or half is None else [(1 - half) * predicted, (1 + half) * predicted]
    return {"predicted_ms": predicted, "predicted_interval_ms": interval}


def _entry(seen: Seen, key: str) -> dict[str, Any]:
    found = seen.measured.get(key)
    if found is None:
        return {"measured_ms": None, "measured_ci95_ms": None, "not_measured": seen.reasons[key]}
    by = {"measured_by": seen.measured_by[key]} if key in seen.measured_by else {}
    return {"measured_ms": found.latency_ms, "measured_ci95_ms": list(found.ci95_ms), "not_measured": None, **by}
