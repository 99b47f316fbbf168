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
from hwnas.api.measuring import measure_files, missed, timed_images
from hwnas.api.proving import Proven, check_structure, prove
from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.stages import stage
from hwnas.api.winner_list import load_winners
from hwnas.bundles import BundleError, check_bundle
from hwnas.errors import ExportError, HwnasError, StoredFileError
from hwnas.files import exclusive, write_json
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
    image of the test part (see `hwnas.bundles.compare` for what it must keep to), is scored on the test part by
    itself, in a process of its own whose memory is watched, and is measured end to end on every device of the run; of a
    device that cannot be used it is said why. The bundles' manifests then hold what was found.

    Args:
        run: the run folder, or the run.toml in it.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each step.

    Returns:
        What is stored as verification.json: "models", the fastest first.

    Raises:
        RunError: nothing was exported yet.
        HwnasError: of the first bundle that fails, whose file is not what was exported, or whose manifest is broken; the
            others are checked and stored first.
        StoredFileError: a file could not be written, or another process is at work in the folder.
    """
    folder = open_run(run, space=space, data=data)
    with exclusive(folder.path), stage(folder, "verifying"):
        return _verify(folder, on_progress)


def _verify(folder: RunFolder, on_progress: OnProgress) -> dict[str, Any]:
    listed = load_winners(folder)
    write_run_test_data(folder)
    proven: list[Proven] = []
    failures: list[HwnasError] = []
    for number, winner in enumerate(listed, start=1):
        try:
            proven.append(prove(folder, winner))
        except HwnasError as error:
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
    searched = run.settings.batch_size
    comparable = [one for one in proven if timed_images(run, one.manifest["files"][one.own], one.own) == searched]
    names = missed(comparable, device)
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
        "models": _ranked(run, proven, list(environments)),
    }


def _ranked(run: RunFolder, proven: Sequence[Proven], devices: Sequence[str]) -> list[dict[str, Any]]:
    """The models by the measured latency of their own file, each marked whether another is both better and nowhere slower.

    The order is that of the first device where one was measured, the marks are by all such devices. Models that could not
    be measured on all of these stand last, unmarked.
    """
    latencies = [[one.latency[one.own][device]["measured_ms"] for device in devices] for one in proven]
    reached = [place for place in range(len(devices)) if any(own[place] is not None for own in latencies)]
    errors = [1 - one.findings[one.own]["test_accuracy"] for one in proven]
    points = [(*(own[place] for place in reached), error) for own, error in zip(latencies, errors, strict=True)]
    measured = [place for place, point in enumerate(points) if len(point) > 1 and None not in point]
    on_front: dict[int, bool | None] = dict.fromkeys(range(len(proven)))
    if measured:
        flags = non_dominated(np.array([points[place] for place in measured]))
        on_front |= dict(zip(measured, map(bool, flags), strict=True))

    def rank(place: int) -> tuple[bool, float, float]:
        whole = place in measured
        return not whole, points[place][0] if whole else 0.0, errors[place]

    return [{**_model(run, proven[place]), "on_front": on_front[place]} for place in sorted(on_front, key=rank)]


def _model(run: RunFolder, one: Proven) -> dict[str, Any]:
    space, winner = run.network_space, one.winner
    network, _ = run.split(run.space.from_json(winner.architecture))
    counts = [space.counts[operator] for operator in space.operators(network)]
    files = []
    for name, found in one.findings.items():
        entry = one.manifest["files"][name]
        listed = {key: entry[key] for key in ("precision", "image_input", "size_bytes")}
        listed["batch_size"] = timed_images(run, entry, name)
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
