"""The proof of one bundle of a run: its files whole, sound, equal to torch, and scored; and where that is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from hwnas.api.run_folder import RunFolder
from hwnas.api.winner_list import Winner
from hwnas.api.winners import load_network
from hwnas.bundles import (
    DATA,
    MAX_DIFFERENCE,
    REFERENCE,
    BundleError,
    Finding,
    altered_files,
    compare,
    examine,
    load_manifest,
    read_images,
    shortcomings,
    write_manifest,
)
from hwnas.devices import find_runtime
from hwnas.errors import DeviceError, ExportError
from hwnas.training import predict_logits

__all__ = ["Proven", "check_structure", "library_of", "prove"]

UNSEEN: Final = Finding(
    max_abs_difference=None,
    max_abs_difference_random=None,
    same_class=None,
    test_accuracy=None,
    peak_memory_bytes=None,
    bounds={},
)


@dataclass
class Proven:
    """One bundle that has passed its checks.

    Attributes:
        winner: that it is of.
        path: its folder.
        manifest: as it was read.
        findings: of each model file.
        latency: of each model file on each device, as verification.json has it.
    """

    winner: Winner
    path: Path
    manifest: dict[str, Any]
    findings: Mapping[str, Finding]
    latency: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def own(self) -> str:
        """The file of its own precision, which takes what the network takes."""
        return f"{self.winner.precision}.onnx"

    def record(self, fingerprints: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Writes into the manifest what was found, and the environment of each device. Raises StoredFileError."""
        files = dict(self.manifest["files"])
        for name, found in self.findings.items():
            structure = "passes" if name.endswith(".onnx") else None
            files[name] = {**files[name], "found": {**found, "structure": structure, "latency": self.latency[name]}}
        write_manifest(self.path, {**self.manifest, "files": files, "devices": dict(fingerprints)})


def prove(run: RunFolder, winner: Winner) -> Proven:
    """Checks the bundle of `winner`: each file as the manifest says, sound, giving what torch gives, and scored.

    Raises:
        ExportError: a file is not what was exported.
        StoredFileError: the manifest or the weights are broken.
    """
    bundle, again = run.path / winner.bundle, f"Export again: hwnas export {run.path}"
    manifest = load_manifest(bundle)
    for wrong in altered_files(bundle, manifest):
        raise ExportError(wrong.where, wrong.must, came=wrong.came, do=again)
    names = [name for name, entry in manifest["files"].items() if "precision" in entry]
    running = [name for name in names if name.endswith(".onnx")]
    for name in running:
        check_structure(bundle / name)
    _check_reference(run, winner, manifest)
    findings: dict[str, Finding] = dict.fromkeys(names, UNSEEN)
    for name, found in examine(bundle, running, run.models / DATA).items():
        if isinstance(found, str):
            raise ExportError(str(bundle / name), "must run", came=f"it does not: {found.rstrip('.')}", do=again)
        unproven = {**manifest, "files": {name: {**manifest["files"][name], "found": None}}}
        for wrong in shortcomings(bundle / name, unproven, found):
            raise ExportError(wrong.where, wrong.must, came=wrong.came, do=again)
        findings[name] = found
    for name in names:
        library = library_of(name)
        if library is not None:
            findings[name] = _by_library(run, bundle / name, manifest, library)
    return Proven(winner, bundle, manifest, findings)


def library_of(name: str) -> str | None:
    """The runtime that a model file is of by its name, "tensorrt-rtx-fp16.engine"; None for ONNX files: any runs those."""
    if name.endswith(".xml"):
        return "openvino-cpu"
    return name.rpartition("-")[0] if name.endswith(".engine") else None


def check_structure(path: Path) -> None:
    """Raises ExportError where onnx's full check refuses the file."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # a broken file fails in protobuf, in onnx's C++ or in its Python
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(str(path), "must pass the ONNX checker", came=f"it says: {reason}") from error


def _by_library(run: RunFolder, path: Path, manifest: Mapping[str, Any], library: str) -> Finding:
    """What a library gives for its own file beside torch; nothing where it cannot run here. Raises ExportError."""
    runtime = find_runtime(library)
    if runtime.version is None:
        return UNSEEN
    entry = manifest["files"][path.name]
    single = {**manifest, "files": {path.name: {**entry, "batch_size": entry["batch_size"] or 1, "found": None}}}
    try:
        session = runtime.load(path, num_threads=1)
        random, test = read_images(path.parent, manifest, run.models / DATA)
        found = compare(lambda batch: session.run([batch])[0], path.name, single, random, test)
    except (BundleError, DeviceError) as error:
        raise ExportError(error.where, error.must, came=error.came) from error
    for wrong in shortcomings(path, single, found):
        raise ExportError(wrong.where, wrong.must, came=wrong.came)
    return found


def _check_reference(run: RunFolder, winner: Winner, manifest: Mapping[str, Any]) -> None:
    """Raises ExportError where the stored answers are not those that torch gives by the stored weights."""
    bundle, data = run.path / winner.bundle, run.data
    logits_NK = predict_logits(load_network(run, winner), data, data.test).numpy()
    try:
        _, test = read_images(bundle, manifest, run.models / DATA)
    except BundleError as error:
        raise ExportError(error.where, error.must, came=error.came) from error
    difference = np.inf if test is None else float(np.abs(test.logits_NK - logits_NK).max())
    bound = MAX_DIFFERENCE * max(1.0, float(np.abs(logits_NK).max()))
    if not difference <= bound:
        raise ExportError(
            str(bundle / REFERENCE),
            f"must hold what torch gives by its weights, within {bound:.3g}",
            came=f"the largest difference is {difference:.3g}",
            do=f"Export again: hwnas export {run.path}",
        )
