"""The verb `verify`: exported files checked, compared with torch on real images, scored, and measured again."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from hwnas.api.bundling import run_devices, write_run_test_data
from hwnas.api.measured import VERIFICATION_SCHEMA
from hwnas.api.measuring import measure_files, missed
from hwnas.api.proving import Proven, check_structure, prove
from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.stages import stage
from hwnas.api.winners import load_winners
from hwnas.bundles import BundleError, check_bundle
from hwnas.errors import ExportError, StoredFileError
from hwnas.files import write_json
from hwnas.front import non_dominated
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace

__all__ = ["verify", "verify_bundle"]

logger = logging.getLogger(__name__)


def verify(
    run: str | Path,
    *,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Checks every exported file of a run, and ranks the models by what was measured for their own precision.

    Each file is as its manifest says, passes onnx's full check, is compared with torch on random images and on every
    image of the test part (fp32: largest absolute difference at most 1e-4, the same class), is scored on the test part by
    itself, in a process of its own whose memory is watched, and is measured end to end on every device of the run; of a
    device that cannot be reached it is said so. The bundles' manifests then hold what was found.

    Args:
        run: the run folder, or the run.toml in it.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each step.

    Returns:
        What is stored as verification.json: "models", the fastest first.

    Raises:
        RunError: nothing was exported yet.
        ExportError: a file is not what was exported; the other bundles are checked and stored first.
        StoredFileError: a manifest is broken, or a file could not be written.
    """
    folder = open_run(run, space=space, data=data)
    with stage(folder, "verifying"):
        return _verify(folder, on_progress)


def _verify(folder: RunFolder, on_progress: OnProgress) -> dict[str, Any]:
    listed = load_winners(folder)
    write_run_test_data(folder)
    proven: list[Proven] = []
    failures: list[ExportError | StoredFileError] = []
    for number, winner in enumerate(listed, start=1):
        try:
            proven.append(prove(folder, winner))
        except (ExportError, StoredFileError) as error:
            failures.append(error)
        on_progress("checking", number, len(listed))
    if not proven:
        raise failures[0]
    environments = {name: measure_files(folder, proven, name, on_progress=on_progress) for name in run_devices(folder)}
    for one in proven:
        one.record(environments)
    document = _document(folder, proven, environments)
    write_json(folder.verification, document)
    for device in environments:
        _tell_missed(folder, proven, device)
    if failures:
        logger.warning("%d of %d bundles failed; the others are in %s", len(failures), len(listed), folder.verification)
        raise failures[0]
    return document


def verify_bundle(bundle: str | Path, *, data: str | Path | None = None) -> dict[str, Any]:
    """Checks a bundle from its files and the test data alone, on any machine.

    Args:
        bundle: the folder.
        data: the test data, an .npz as `export` writes it; None: test-data.npz in the bundle or beside it, or none.

    Returns:
        What `hwnas.bundles.check_bundle` does; the structural check by onnx adds to its "problems".

    Raises:
        StoredFileError: the manifest is torn or altered, or `data` is not the bundle's test data.
    """
    place = Path(bundle)
    try:
        report = check_bundle(place, data=None if data is None else Path(data))
    except BundleError as error:
        raise StoredFileError(error.where, error.must, came=error.came) from error
    for name in report["files"]:
        try:
            check_structure(place / name)
        except ExportError as error:
            report["problems"].append(str(error))
    return report


def _tell_missed(run: RunFolder, proven: Sequence[Proven], device: str) -> None:
    names = missed(proven, device)
    if names:
        logger.warning(
            "%d of %d models took another latency on %s than their prediction interval: %s. "
            "Correct the table by them, and go on: hwnas search %s --refine",
            len(names),
            len(proven),
            device,
            ", ".join(names),
            run.path,
        )


def _document(
    run: RunFolder, proven: Sequence[Proven], environments: Mapping[str, dict[str, Any] | None]
) -> dict[str, Any]:
    first = next(iter(environments))
    versions = {"torch_version": torch.__version__, "onnx_version": onnx.__version__}
    return {
        "schema_version": VERIFICATION_SCHEMA,
        "device": first,
        "test_images": len(run.data.test),
        "environment": {**(environments[first] or {}), **versions},
        "models": _ranked(run, proven, first),
    }


def _ranked(run: RunFolder, proven: Sequence[Proven], device: str) -> list[dict[str, Any]]:
    """The models by the measured latency of their own file, each marked whether another is both faster and better.

    Those that could not be measured stand last, unmarked.
    """
    pairs = [
        (one.latency[one.own][device]["measured_ms"], 1 - one.findings[one.own]["test_accuracy"]) for one in proven
    ]
    measured = [place for place, (latency_ms, _) in enumerate(pairs) if latency_ms is not None]
    on_front: dict[int, bool | None] = dict.fromkeys(range(len(proven)))
    if measured:
        flags = non_dominated(np.array([pairs[place] for place in measured]))
        on_front |= dict(zip(measured, map(bool, flags), strict=True))
    order = sorted(on_front, key=lambda place: (place not in measured, pairs[place]))
    return [{**_model(run, proven[place]), "on_front": on_front[place]} for place in order]


def _model(run: RunFolder, one: Proven) -> dict[str, Any]:
    space, winner = run.network_space, one.winner
    network, _ = run.split(run.space.from_json(winner.architecture))
    counts = [space.counts[operator] for operator in space.operators(network)]
    files = []
    for name, found in one.findings.items():
        entry = one.manifest["files"][name]
        listed = {key: entry[key] for key in ("precision", "image_input", "size_bytes")}
        files.append({"file": f"{winner.bundle}/{name}", **listed, **found, "latency": one.latency[name]})
    return {
        "name": winner.name,
        "bundle": winner.bundle,
        "architecture": dict(winner.architecture),
        "description": winner.description,
        "validation_error": winner.values.get("error"),
        "macs": sum(one.macs for one in counts),
        "parameters": sum(one.parameters for one in counts),
        "precision": winner.precision,
        "files": files,
    }
