"""The verb `verify`: exported files checked, compared with torch on real images, scored, and measured again."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch

from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.stages import stage
from hwnas.api.winners import Winner, load_network, load_winners
from hwnas.devices import (
    Device,
    Measurement,
    connect,
    find_runtime,
    load_device,
    measure,
)
from hwnas.errors import DeviceError, ExportError, StoredFileError
from hwnas.files import write_json
from hwnas.front import non_dominated
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace
from hwnas.training import predict_logits

__all__ = ["verify"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
MAX_DIFFERENCE: Final = 1e-4
DEFAULT_DEVICE: Final = "local-cpu"


def verify(
    run: str | Path,
    *,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Checks every exported model of a run, and ranks them by what was measured.

    Each file passes onnx's full check, gives what torch gives on every image of the test part (largest absolute
    difference at most 1e-4, the same class), is scored on the test part by itself, and is measured end to end on every
    device of the run.

    Args:
        run: the run folder, or the run.toml in it.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each step.

    Returns:
        What is stored as verification.json: "models", the fastest first.

    Raises:
        RunError: nothing was exported yet.
        ExportError: a file is not the model that it was exported from; the others are checked and stored first.
        StoredFileError: a file is broken, missing or could not be written.
    """
    folder = open_run(run, space=space, data=data)
    with stage(folder, "verifying"):
        return _verify(folder, on_progress)


def _verify(folder: RunFolder, on_progress: OnProgress) -> dict[str, Any]:
    listed = load_winners(folder)
    reports, winners, failures = [], [], []
    for number, winner in enumerate(listed, start=1):
        try:
            reports.append(_check(folder, winner))
            winners.append(winner)
        except (ExportError, StoredFileError) as error:
            failures.append(error)
        on_progress("checking", number, len(listed))
    if not winners:
        raise failures[0]
    devices = [load_device(name) for name in folder.settings.devices] or [load_device(DEFAULT_DEVICE)]
    environments = {}
    for device in devices:
        environments[device.name], measured = _measure(folder, winners, device, on_progress)
        for report, winner, found in zip(reports, winners, measured, strict=True):
            report["latency"][device.name] = {
                "predicted_ms": winner.values.get(f"latency_ms@{device.name}"),
                "measured_ms": found.latency_ms,
                "measured_ci95_ms": list(found.ci95_ms),
            }
    first = devices[0]
    for report in reports:
        report.update(report["latency"][first.name])
    document = {
        "schema_version": SCHEMA_VERSION,
        "device": first.name,
        "test_images": len(folder.data.test),
        "environment": {
            **environments[first.name],
            "torch_version": torch.__version__,
            "onnx_version": onnx.__version__,
        },
        "models": _ranked(reports),
    }
    write_json(folder.verification, document)
    if failures:
        logger.warning("%d of %d models failed; the others are in %s", len(failures), len(listed), folder.verification)
        raise failures[0]
    return document


def _check(folder: RunFolder, winner: Winner) -> dict[str, Any]:
    """Structure, parity with torch and accuracy of one file."""
    path = folder.path / winner.file
    if not path.exists():
        raise ExportError(
            str(path), "must be there", came="it is missing", do=f"Export again: hwnas export {folder.path}"
        )
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # a broken file fails in protobuf, in onnx's C++ or in its Python
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            str(path), "must pass the ONNX checker", came=reason, do=f"Export again: hwnas export {folder.path}"
        ) from error
    data = folder.data
    torch_logits_NK = predict_logits(load_network(folder, winner), data, data.test).numpy()
    onnx_logits_NK = _onnx_logits(folder, winner)
    difference = float(np.abs(torch_logits_NK - onnx_logits_NK).max())
    same_class = bool((torch_logits_NK.argmax(1) == onnx_logits_NK.argmax(1)).all())
    if not difference <= MAX_DIFFERENCE or not same_class:
        raise ExportError(
            str(path),
            f"must give torch's outputs within {MAX_DIFFERENCE:g} and its class on all {len(data.test)} test images",
            came=f"the largest difference is {difference:.3g}{'' if same_class else ', and classes differ'}",
            do=f"Export again: hwnas export {folder.path}",
        )
    labels_N = data.test.labels_N.numpy()
    architecture = folder.space.from_json(winner.architecture)
    counts = [folder.space.counts[operator] for operator in folder.space.operators(architecture)]
    return {
        "file": winner.file,
        "architecture": dict(winner.architecture),
        "description": winner.description,
        "validation_error": winner.values.get("error"),
        "test_accuracy": float((torch_logits_NK.argmax(1) == labels_N).mean()),
        "onnx_test_accuracy": float((onnx_logits_NK.argmax(1) == labels_N).mean()),
        "max_abs_difference": difference,
        "same_class": same_class,
        "macs": sum(one.macs for one in counts),
        "parameters": sum(one.parameters for one in counts),
        "size_bytes": path.stat().st_size,
        "latency": {},
    }


def _onnx_logits(folder: RunFolder, winner: Winner) -> Any:
    """The logits (N, K) of the exported file for the test part, by ONNX Runtime on this machine's CPU."""
    data, batch = folder.data, winner.batch_size
    session = find_runtime("onnxruntime-cpu").load(folder.path / winner.file, num_threads=1)
    rows = []
    for start in range(0, len(data.test), batch):
        x_BCHW = data.normalized(data.test.images_NCHW[start : start + batch]).contiguous().numpy()
        short = batch - len(x_BCHW)
        padded = np.concatenate([x_BCHW, np.zeros((short, *x_BCHW.shape[1:]), x_BCHW.dtype)]) if short else x_BCHW
        rows.append(session.run([padded])[0][: len(x_BCHW)])
    return np.concatenate(rows)


def _measure(
    folder: RunFolder, winners: list[Winner], device: Device, on_progress: OnProgress
) -> tuple[dict[str, Any], list[Measurement]]:
    """The environment of `device`, and the winners' end-to-end latencies there, measured together."""
    paths = {winner.file: folder.path / winner.file for winner in winners}
    with connect(device) as host:
        found = measure(
            host,
            paths,
            plan=folder.settings.measurement,
            sentinels=sorted(paths)[:1],
            seed=folder.settings.seed,
            on_progress=on_progress,
        )
        for name, refusal in found.refused.items():
            raise DeviceError(f"Device {device.name}", f"must run {name}", came=f"it says: {refusal}")
        for flag in found.flags:
            logger.warning("%s: %s", device.name, flag)
        return host.fingerprint(), [found.measurements[winner.file] for winner in winners]


def _ranked(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The models by measured latency, each marked whether another is both faster and more accurate."""
    pairs = np.array([[report["measured_ms"], 1 - report["onnx_test_accuracy"]] for report in reports])
    for report, on_front in zip(reports, non_dominated(pairs), strict=True):
        report["on_front"] = bool(on_front)
    return sorted(reports, key=lambda report: float(report["measured_ms"]))
