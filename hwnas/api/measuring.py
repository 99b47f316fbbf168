"""Latencies of exported files on the devices of a run, measured together, beside what its tables have foretold."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from hwnas.api.measured import lie_apart
from hwnas.api.proving import Proven
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import find_table
from hwnas.devices import Measurement, connect, load_device, measure
from hwnas.errors import DeviceError
from hwnas.latency import LatencyTable
from hwnas.progress import OnProgress, silent

__all__ = ["measure_files", "missed"]

logger = logging.getLogger(__name__)

NOT_ONNX: Final = "only ONNX files are measured on devices"
LEVEL: Final = 0.9


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
    names = {one.winner.name + "/" + name: (one, name) for one in proven for name in one.findings}
    running = {key: one.path / name for key, (one, name) in names.items() if name.endswith(".onnx")}
    measured: Mapping[str, Measurement] = {}
    fingerprint, reasons = None, dict.fromkeys(names, NOT_ONNX)
    try:
        with tempfile.TemporaryDirectory() as scratch, connect(load_device(device)) as host:
            found = measure(
                host,
                {key: _of_own_size(run, path, Path(scratch)) for key, path in running.items()},
                plan=run.settings.measurement,
                sentinels=[f"{proven[0].winner.name}/{proven[0].own}"],
                seed=run.settings.seed,
                on_progress=on_progress,
                stage=f"models on {device}",
            )
            measured, fingerprint = found.measurements, host.fingerprint()
            reasons |= {key: f"its runtime there refuses it: {said}" for key, said in found.refused.items()}
            for flag in found.flags:
                logger.warning("%s: %s", device, flag)
    except DeviceError as error:
        reasons |= dict.fromkeys(running, str(error))
        logger.warning("Not measured on %s: %s", device, error)
    tables: dict[tuple[str, int], LatencyTable | None] = {}
    for key, (one, name) in names.items():
        entry = one.manifest["files"][name]
        asked = entry["precision"], entry["batch_size"] or 1
        if asked not in tables:
            tables[asked] = find_table(run, device, asked[0], batch_size=asked[1])
        foretold = _foretold(run, one, name, device, tables[asked])
        one.latency.setdefault(name, {})[device] = {**foretold, **_seen(measured.get(key), reasons[key])}
    return fingerprint


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


def _of_own_size(run: RunFolder, path: Path, scratch: Path) -> Path:
    """The file; one that takes images of any size as a copy that takes one of the network's own, to be timed on that."""
    model = onnx.load(path, load_external_data=False)
    given = model.graph.input[0].type.tensor_type
    if given.elem_type != onnx.TensorProto.UINT8:
        return path
    channels, height, width = run.data.input_shape
    sizes = (given.shape.dim[0].dim_value or 1, height, width, channels)
    for dim, size in zip(given.shape.dim, sizes, strict=True):
        dim.dim_value = size
    copy = scratch / f"{path.parent.name}-{path.name}"
    onnx.save(model, copy)
    return copy


def _foretold(run: RunFolder, one: Proven, name: str, device: str, table: LatencyTable | None) -> dict[str, Any]:
    """What the search, or else the table of the file's precision and batch size, has foretold; None where nothing has."""
    entry = one.manifest["files"][name]
    predicted, half = None, None
    if not entry["image_input"] and name.endswith(".onnx"):
        network, _ = run.split(run.space.from_json(one.winner.architecture))
        operators = run.network_space.operators(network)
        if name == one.own and (entry["batch_size"] or 1) == run.settings.batch_size:
            predicted = one.winner.values.get(f"latency_ms@{device}")
        if table is not None and not table.missing(operators):
            predicted = table.predict_ms(operators) if predicted is None else predicted
            half = table.calibration.half_width(LEVEL)
    interval = None if predicted is None or half is None else [(1 - half) * predicted, (1 + half) * predicted]
    return {"predicted_ms": predicted, "predicted_interval_ms": interval}


def _seen(found: Measurement | None, reason: str) -> dict[str, Any]:
    if found is None:
        return {"measured_ms": None, "measured_ci95_ms": None, "not_measured": reason}
    return {"measured_ms": found.latency_ms, "measured_ci95_ms": list(found.ci95_ms), "not_measured": None}
