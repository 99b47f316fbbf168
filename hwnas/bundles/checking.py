"""Checks a bundle: the files of one exported model, with what was found of each when it was made.

This file lies in every bundle as verify.py, and hwnas checks bundles by it too, so that both say the same. It stands for
itself: beside Python (3.10 or newer) it needs numpy and onnxruntime alone. In a bundle::

    python verify.py [--data test-data.npz]

It ends with exit code 2 where something differs from what manifest.json states. Latencies are shown beside those of the
devices that were measured, and never fail: another machine has others.

Suffixes: N images, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

__all__ = [
    "DATA",
    "MANIFEST",
    "MAX_DIFFERENCE",
    "BundleError",
    "Finding",
    "Images",
    "altered_files",
    "check_bundle",
    "compare",
    "digest_of",
    "examine",
    "main",
    "read_images",
    "read_manifest",
    "render",
    "serialized",
    "sha256_of",
    "shortcomings",
]

MANIFEST = "manifest.json"
DATA = "test-data.npz"
REFERENCE = "reference.npz"
SCHEMA_VERSION = 1
MAX_DIFFERENCE = 1e-4
"""Of fp32 logits, or probabilities, from torch's; where the largest of these is above 1, as a share of it."""
MAX_DIFFERENCES = {"fp32": MAX_DIFFERENCE, "fp16": 0.02}
"""The same by precision; int8 is judged by its accuracy."""
MAX_OTHER_CLASS = {"fp32": 0.0, "fp16": 0.01}
"""The share of the test images on which another class than torch's may come; below fp32 at least one image."""
MAX_DROP = 0.05
"""Of the accuracy of int8 below torch's, where the manifest states no bound."""
MAX_ACCURACY_CHANGE = 0.005
"""Of a lower precision on another machine, whose kernels may round differently; one image more is allowed."""
BATCH = 64
ROUNDS, RUNS = 20, 5
PATIENCE_S = 3600.0
FAILED = 2

Finding = dict[str, Any]
"""What was found of one file: max_abs_difference (on test images), max_abs_difference_random, same_class, test_accuracy,
peak_memory_bytes; None where it was not looked at. And "bounds": for some of them what the file must keep to, differences
at most, shares at least."""

Keys = Mapping[str, Any]
"""What an object of a manifest must have, with the types that it may be of."""
NUMBER, NOTHING = (int, float), type(None)
OBJECTS = ("architecture", "input", "test_data", "files", "devices")
DOCUMENT: Keys = {"name": str, "labels": list, **dict.fromkeys(OBJECTS, dict)}
INPUT: Keys = {"scale": NUMBER, "mean": list, "std": list}
TEST_DATA: Keys = {"sha256": str, "images": int, "shape": list, "dtype": str}
ANY_FILE: Keys = {"sha256": str, "size_bytes": int}
MODEL: Keys = {"precision": str, "image_input": bool, "batch_size": (int, NOTHING), "found": (dict, NOTHING)}
ONNX: Keys = {**MODEL, "opset": int, "ends": list}


class BundleError(Exception):
    """What is wrong with a bundle or its test data: where, what must hold there, and what came instead."""

    def __init__(self, where: str, must: str, came: str) -> None:
        super().__init__(f"{where} {must}, but {came}.")
        self.where, self.must, self.came = where, must, came


class Images:
    """Images (N, H, W, C) with torch's logits (N, K) for them, and their labels (N,) or None."""

    def __init__(self, images_NHWC: Any, logits_NK: Any, labels_N: Any = None) -> None:
        self.images_NHWC, self.logits_NK, self.labels_N = images_NHWC, logits_NK, labels_N


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def serialized(document: Mapping[str, Any]) -> bytes:
    """The one way to write a manifest: each byte of it follows from its content."""
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def digest_of(document: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest without its own digest."""
    return hashlib.sha256(serialized({k: v for k, v in document.items() if k != "digest"})).hexdigest()


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle. Raises BundleError where it is missing, torn, altered, incomplete, or of another version."""
    path = bundle / MANIFEST
    must = "must be the manifest of a bundle"
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except FileNotFoundError as error:
        raise BundleError(str(path), must, "it is missing") from error
    except OSError as error:
        raise BundleError(str(path), must, f"the system says: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(str(path), must, f"it is torn or altered: {error}") from error
    if not isinstance(document, dict) or "schema_version" not in document:
        raise BundleError(str(path), must, "it is something else")
    try:
        whole = content == serialized(document) and document.get("digest") == digest_of(document)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise BundleError(str(path), must, "it was altered: its digest is not that of its content")
    if document["schema_version"] != SCHEMA_VERSION:
        raise BundleError(
            str(path), f"must have schema_version {SCHEMA_VERSION}", f"it has {document['schema_version']!r}"
        )
    for wrong in _misshapen(document):
        raise BundleError(str(path), must, wrong)
    return document


def _misshapen(document: Mapping[str, Any]) -> Iterator[str]:
    """What a manifest lacks, and which files it must not name, in words."""
    yield from _lacking(document, DOCUMENT, "it")
    yield from _lacking(document["architecture"], {"description": str}, "its architecture")
    yield from _lacking(document["input"], INPUT, "its input")
    yield from _lacking(document["test_data"], TEST_DATA, "its test_data")
    yield from _lacking(document["files"], {REFERENCE: dict}, "its list of files")
    for name, entry in document["files"].items():
        parts = PurePosixPath(name).parts
        if ".." in parts or "\\" in name or PurePosixPath(*parts).as_posix() != name or _is_anchored(name):
            yield f"it names the file {name!r}, which is not one of the bundle's"
        yield from _lacking({name: entry}, {name: dict}, "its list of files")
        model = ONNX if name.endswith(".onnx") else MODEL if "precision" in entry else {}
        yield from _lacking(entry, {**ANY_FILE, **model}, f"its entry of {name}")
    for name, environment in document["devices"].items():
        yield from _lacking({name: environment}, {name: (dict, NOTHING)}, "its list of devices")


def _lacking(given: Mapping[str, Any], keys: Keys, what: str) -> Iterator[str]:
    for key, kind in keys.items():
        if key not in given:
            yield f"{what} has no {key!r}"
        elif not isinstance(given[key], kind):
            yield f"{what} has {str(given[key])[:40]!r} as {key!r}"


def _is_anchored(name: str) -> bool:
    return bool(PurePosixPath(name).anchor or PureWindowsPath(name).anchor)


def altered_files(bundle: Path, manifest: Mapping[str, Any]) -> list[BundleError]:
    """What of the bundle's files is not as `manifest` states, one error a file: missing, altered, a link, or additional.

    The test data may lie in the bundle, too.
    """
    listed: Mapping[str, Any] = manifest["files"]
    found, place = [], bundle.resolve()
    for name, entry in listed.items():
        path = bundle / name
        if not path.is_file():
            found.append(BundleError(str(path), "must be there", "it is missing"))
        elif path.resolve() != place / name:
            found.append(BundleError(str(path), "must be a file of the bundle", "it is a link"))
        elif path.stat().st_size != entry["size_bytes"]:
            came = f"it has {path.stat().st_size}"
            found.append(BundleError(str(path), f"must have {entry['size_bytes']} bytes", came))
        elif sha256_of(path) != entry["sha256"]:
            found.append(BundleError(str(path), f"must have the SHA-256 {entry['sha256'][:12]}…", "it was altered"))
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if not (path.is_file() or path.is_symlink()) or name == MANIFEST or name in listed:
            continue
        if name != DATA:
            found.append(BundleError(str(path), f"must be listed in {MANIFEST}", "it is an additional file"))
        elif not path.is_file() or sha256_of(path) != manifest["test_data"]["sha256"]:
            found.append(BundleError(str(path), "must be the test data that the bundle was proven on", "it is not"))
    return found


def read_images(bundle: Path, manifest: Mapping[str, Any], data: Path | None) -> tuple[Images, Images | None]:
    """The bundle's random images, and the test images at `data` with torch's logits for them.

    Raises:
        BundleError: `data` is not the test data that the bundle was proven on.
    """
    with np.load(bundle / REFERENCE) as stored:
        random = Images(stored["random_images"], stored["random_logits"])
        logits_NK = stored["test_logits"]
    return random, None if data is None else _read_test_images(data, manifest, logits_NK)


def _read_test_images(path: Path, manifest: Mapping[str, Any], logits_NK: Any) -> Images:
    wanted = manifest["test_data"]
    try:
        with np.load(path, allow_pickle=False) as stored:
            images_NHWC, labels_N = stored["images"], stored["labels"]
            names = [str(name) for name in stored["class_names"]]
    except OSError as error:
        raise BundleError(str(path), "must be readable", f"it is not: {error.strerror or error}") from error
    except Exception as error:  # zipfile, numpy and zlib raise errors of many kinds for a broken file
        must = "must be an .npz of images, labels and class_names"
        said = f"reading says: {str(error).rstrip('.')}" if zipfile.is_zipfile(path) else "it is no .npz"
        raise BundleError(str(path), must, said) from error
    shape, own = tuple(wanted["shape"]), images_NHWC.shape[1:]
    if own != shape or images_NHWC.dtype != wanted["dtype"]:
        came = f"they are {_by(own)} of {images_NHWC.dtype}"
        raise BundleError(f"The images of {path}", f"must be {_by(shape)} of {wanted['dtype']}", came)
    if names != manifest["labels"]:
        came = f"they are {_listed(names)}"
        raise BundleError(f"The classes of {path}", f"must be {_listed(manifest['labels'])}", came)
    if labels_N.shape != images_NHWC.shape[:1] or not np.isin(labels_N, range(len(names))).all():
        raise BundleError(f"The labels of {path}", f"must be from 0 to {len(names) - 1}, one an image", "they are not")
    if sha256_of(path) != wanted["sha256"]:
        must = f"must be the {wanted['images']} test images with the labels that the bundle was proven on"
        raise BundleError(str(path), must, f"its SHA-256 is not {wanted['sha256'][:12]}…")
    return Images(images_NHWC, logits_NK, labels_N)


def prepared(images_NHWC: Any, manifest: Mapping[str, Any]) -> Any:
    """Images as the network wants them: (N, C, H, W) floats with mean 0 and standard deviation 1 a channel."""
    given = manifest["input"]
    mean, std = (np.asarray(given[name], np.float32) for name in ("mean", "std"))
    x_NHWC = (images_NHWC.astype(np.float32) * np.float32(given["scale"]) - mean) / std
    return np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2))


def compare(
    run: Callable[[Any], Any], name: str, manifest: Mapping[str, Any], random: Images, test: Images | None
) -> Finding:
    """What `run` gives beside what torch gave.

    Args:
        run: from a batch as the file `name` takes it to its output; of the batch size that the manifest states.
        name: of the bundle's file.
        manifest: of the bundle.
        random: images that look like nothing.
        test: the test images, None where they are not at hand.

    Raises:
        BundleError: outputs are not finite, or not of the shape of torch's.
    """
    entry = manifest["files"][name]
    found = Finding(max_abs_difference=None, same_class=None, test_accuracy=None, peak_memory_bytes=None, bounds={})
    for images, key in ((random, "max_abs_difference_random"), (test, "max_abs_difference")):
        if images is None:
            continue
        wanted_NK = _softmax(images.logits_NK) if entry["image_input"] else images.logits_NK
        given = images.images_NHWC if entry["image_input"] else prepared(images.images_NHWC, manifest)
        came_NK = np.concatenate([run(batch)[:kept] for batch, kept in _batches(given, entry["batch_size"])])
        strange = int((~np.isfinite(came_NK)).sum())
        if came_NK.shape != wanted_NK.shape or strange:
            came = f"it gave {_by(came_NK.shape)}" + (f", {strange} of them not finite" if strange else "")
            raise BundleError(name, f"must give {_by(wanted_NK.shape)} finite numbers", came)
        found[key] = float(np.abs(came_NK - wanted_NK).max())
        if entry["precision"] in MAX_DIFFERENCES:
            found["bounds"][key] = MAX_DIFFERENCES[entry["precision"]] * max(1.0, float(np.abs(wanted_NK).max()))
        if images is test:
            classes_N = came_NK.argmax(1)
            found["same_class"] = float((classes_N == wanted_NK.argmax(1)).mean())
            found["test_accuracy"] = float((classes_N == test.labels_N).mean())
            found["bounds"].update(_bounds(entry, float((wanted_NK.argmax(1) == test.labels_N).mean()), len(classes_N)))
    return found


def _bounds(entry: Mapping[str, Any], torch_accuracy: float, images: int) -> dict[str, float]:
    """What a file must keep to on the test images.

    fp32 and fp16 must give torch's class. int8 may lose as much accuracy as the manifest allows, and by chance two
    standard errors of a share of so many images (Agresti & Coull, 1998).
    """
    precision = entry["precision"]
    if precision in MAX_OTHER_CLASS:
        others = MAX_OTHER_CLASS[precision]
        return {"same_class": 1 - (max(others, 1 / images) if others else 0.0)}
    stated = entry.get("made", {}).get("max_drop")
    share = (torch_accuracy * images + 2) / (images + 4)
    chance = 2 * (share * (1 - share) / (images + 4)) ** 0.5
    return {"test_accuracy": max(0.0, torch_accuracy - (MAX_DROP if stated is None else stated / 100) - chance)}


def examine(bundle: Path, names: Sequence[str], data: Path | None, *, workers: int = 2) -> dict[str, Finding | str]:
    """What is found of ONNX files, each in a process of its own: its memory is its own, and so is its crash.

    Returns:
        For each file a Finding, or a sentence that says why it cannot be run.
    """
    command = [sys.executable, str(Path(__file__)), "--bundle", str(bundle)]
    if data is not None:
        command += ["--data", str(data)]

    def examined(name: str) -> Finding | str:
        done = subprocess.run(
            [*command, "--examine", name], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        if done.returncode:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            return f"{bundle / name} must run, but its process ended: {said}."
        answer: Finding | str = json.loads(done.stdout.splitlines()[-1])
        return answer

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return dict(zip(names, pool.map(examined, names), strict=True))


def _examine_here(bundle: Path, name: str, data: Path | None) -> Finding | str:
    try:
        manifest = read_manifest(bundle)
        random, test = read_images(bundle, manifest, data)
        entry = manifest["files"][name]
        first = random.images_NHWC[: entry["batch_size"] or 1]
        given = first if entry["image_input"] else prepared(first, manifest)
        batch = next(_batches(given, entry["batch_size"]))[0]
        importlib.import_module("onnxruntime")  # its own memory is not the model's
        before = _memory("VmRSS") if _forget_peak() else None
        run = _load(bundle / name, entry)
        run(batch)
        peak = _memory("VmHWM")
        found = compare(run, name, manifest, random, test)
        found["peak_memory_bytes"] = None if before is None or peak is None else peak - before
        return found
    except BundleError as error:
        return str(error)


def _load(path: Path, entry: Mapping[str, Any], threads: int = 1) -> Callable[[Any], Any]:
    """The ONNX file as a function from a batch to its output. Raises BundleError where ONNX Runtime cannot load it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        run = session.run
        (given,), (returned,) = session.get_inputs(), session.get_outputs()
    except Exception as error:  # ONNX Runtime raises classes of its own; two inputs are a ValueError
        reader = f"ONNX Runtime {onnxruntime.__version__}"
        said = " ".join(str(error).split()).rstrip(".")
        raise BundleError(
            f"{path}, of opset {entry['opset']},", f"must load in {reader}", f"it says: {said}"
        ) from error
    ends = [given.name, given.type, returned.name]
    if ends != entry["ends"]:
        raise BundleError(str(path), f"must have the ends {_listed(entry['ends'])}", f"it has {_listed(ends)}")
    return lambda batch: run(None, {given.name: batch})[0]


def check_bundle(bundle: Path, *, data: Path | None = None, workers: int = 2) -> dict[str, Any]:
    """Checks a bundle anew.

    Args:
        bundle: the folder.
        data: the test data; None: test-data.npz in the bundle's folder or beside it, or none.
        workers: files that are run at once.

    Returns:
        "name", "description"; "problems", a sentence each, none where all is well; "notes"; "images", how many test images;
        "here", this machine; "files", of each that was run what is "recorded" and "found", and the "latency_here" in ms
        with its 95 % interval; "again", the devices of the manifest that are this machine.

    Raises:
        BundleError: there is no manifest that can be read, or `data` is not the bundle's test data.
    """
    bundle = bundle.resolve()
    manifest = read_manifest(bundle)
    report: dict[str, Any] = {"name": manifest["name"], "description": manifest["architecture"]["description"]}
    report.update(notes=[], images=0, files={}, here=machine())
    report["again"] = [name for name, one in manifest["devices"].items() if is_this_machine(one)]
    report["problems"] = [str(error) for error in altered_files(bundle, manifest)]
    if report["problems"]:
        report["notes"].append("Nothing was run: these are not the files that the bundle was made of.")
        return report
    if data is None:
        data = next((path for path in (bundle / DATA, bundle.parent / DATA) if path.exists()), None)
    if data is None:
        report["notes"].append(f"Not checked on test images: there is no {DATA} beside the bundle; name it by --data.")
    else:
        read_images(bundle, manifest, data)
        report["images"] = manifest["test_data"]["images"]
    names = [name for name in manifest["files"] if name.endswith(".onnx")]
    others = [name for name in manifest["files"] if name.endswith((".engine", ".xml"))]
    report["notes"] += [f"{name} was not run here, only its hash was checked." for name in others]
    for name, found in examine(bundle, names, data, workers=workers).items():
        recorded = manifest["files"][name]["found"]
        report["files"][name] = {"recorded": recorded, "found": None if isinstance(found, str) else found}
        report["problems"] += (
            [found] if isinstance(found, str) else map(str, shortcomings(bundle / name, manifest, found))
        )
    running = [name for name, one in report["files"].items() if one["found"] is not None]
    for name, latency in _time(bundle, running, manifest).items():
        report["files"][name]["latency_here"] = latency
    return report


def shortcomings(path: Path, manifest: Mapping[str, Any], found: Finding) -> list[BundleError]:
    """What of `found` is not as it must be, or not as the manifest states it, one error each."""
    entry, wrong, bounds = manifest["files"][path.name], [], found["bounds"]
    for key, what in (("max_abs_difference_random", "random"), ("max_abs_difference", "test")):
        if key in bounds and not found[key] <= bounds[key]:
            must = f"must give torch's outputs within {bounds[key]:.3g} on {what} images"
            wrong.append(BundleError(str(path), must, f"the largest difference is {found[key]:.3g}"))
    if "same_class" in bounds and not found["same_class"] >= bounds["same_class"]:
        share = "all" if bounds["same_class"] == 1 else f"{bounds['same_class']:.2%} of the"
        came = f"it gives it on {found['same_class']:.2%}"
        wrong.append(BundleError(str(path), f"must give torch's class on {share} test images", came))
    if "test_accuracy" in bounds and not found["test_accuracy"] >= bounds["test_accuracy"]:
        must = f"must have an accuracy of {bounds['test_accuracy']:.2%} or more: torch's, less what int8 may cost"
        wrong.append(BundleError(str(path), must, f"it has {found['test_accuracy']:.2%}"))
    recorded = (entry["found"] or {}).get("test_accuracy")
    if recorded is not None and found["test_accuracy"] is not None:
        allowed = MAX_ACCURACY_CHANGE + 1 / manifest["test_data"]["images"]
        if abs(found["test_accuracy"] - recorded) > allowed:
            must = f"must have the accuracy {recorded:.2%} that the manifest states, give or take {allowed:.2%}"
            wrong.append(BundleError(str(path), must, f"it has {found['test_accuracy']:.2%}"))
    return wrong


def render(report: Mapping[str, Any]) -> str:
    """The report as plain text: a table of what was found, with what is recorded in brackets, then what differs."""
    devices = list(
        dict.fromkeys(d for one in report["files"].values() for d in (one["recorded"] or {}).get("latency", {}))
    )
    rows = [["file", "random diff", "test diff", "same class", "accuracy", "peak MB", "ms here"]]
    rows[0] += [f"ms on {name}" for name in devices]
    for name, one in report["files"].items():
        found, recorded = one["found"] or {}, one["recorded"] or {}
        latency = recorded.get("latency", {})
        row = [_both(found.get(key), recorded.get(key), form) for key, form in COLUMNS.items()]
        here = one.get("latency_here")
        timed = "not measured" if here is None else f"{here[0]:.3f} ({here[1]:.3f}-{here[2]:.3f})"
        rows.append([name, *row, timed, *(_recorded_latency(latency.get(device)) for device in devices)])
    lines = [f"{report['name']}: {report['description']}", f"Here: {report['here']}", ""]
    lines += _columns(rows) if len(rows) > 1 else []
    lines += ["In brackets what the manifest states, where it is another.", ""] if len(rows) > 1 else []
    lines += [f"{name} is this machine." for name in report["again"]]
    lines += report["notes"]
    if report["problems"]:
        return "\n".join([*lines, f"{len(report['problems'])} of the checks failed:", *report["problems"]]) + "\n"
    return "\n".join([*lines, _passed(report)]) + "\n"


def _passed(report: Mapping[str, Any]) -> str:
    if report["images"]:
        return f"All checks passed ({report['images']} test images)."
    return (
        "What was checked passed: the hash of each file, the ends of the ONNX files, and their outputs on random images, "
        "which are finite, and torch's in fp32 and fp16. There is no test data, so no accuracy and no class was checked."
    )


COLUMNS: dict[str, Callable[[float], str]] = {
    "max_abs_difference_random": "{:.1e}".format,
    "max_abs_difference": "{:.1e}".format,
    "same_class": "{:.2%}".format,
    "test_accuracy": "{:.2%}".format,
    "peak_memory_bytes": lambda value: f"{value / 2**20:.1f}",
}


def machine() -> str:
    """This machine in a few words."""
    import onnxruntime

    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{_processor()}, {system}, Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"


def is_this_machine(fingerprint: Mapping[str, Any] | None) -> bool:
    """Whether a device that was measured by ONNX Runtime on a CPU is this machine, with the same version of it."""
    import onnxruntime

    here = {"cpu": _processor(), "cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    here.update(runtime="onnxruntime-cpu", runtime_version=onnxruntime.__version__)
    return fingerprint is not None and all(fingerprint.get(key) == value for key, value in here.items())


def _processor() -> str:
    """The processor's name as hwnas records it: the board's where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    pairs = [line.partition(":")[::2] for line in reversed(lines)]
    told = {key.strip(): value.strip() for key, value in pairs}
    keys = [key for key in ("Model", "model name", "Hardware") if told.get(key)]
    return told[keys[0]] if keys else platform.processor() or platform.machine()


def _time(bundle: Path, names: Sequence[str], manifest: Mapping[str, Any]) -> dict[str, list[float]]:
    """The latency of each file here in ms, with its 95 % interval: all in turn, so that a slow moment is everyone's."""
    threads = next((one.get("num_threads", 1) for one in manifest["devices"].values() if one), 1)
    random, _ = read_images(bundle, manifest, None)
    calls = {}
    for name in names:
        entry = manifest["files"][name]
        first = random.images_NHWC[: entry["batch_size"] or 1]
        given = first if entry["image_input"] else prepared(first, manifest)
        batch = next(_batches(given, entry["batch_size"] or 1))[0]
        calls[name] = (_load(bundle / name, entry, min(threads, os.cpu_count() or 1)), batch)
    rounds: dict[str, list[float]] = {name: [] for name in names}
    order = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for place in order.permutation(len(names)):
            run, batch = calls[names[place]]
            run(batch)
            began = time.perf_counter()
            for _ in range(RUNS):
                run(batch)
            rounds[names[place]].append((time.perf_counter() - began) / RUNS * 1e3)
    low, high = round(0.25 * ROUNDS), round(0.75 * ROUNDS) - 1  # order statistics: 95.9 % of 20 around the median
    ranked = {name: sorted(values) for name, values in rounds.items()}
    return {name: [float(np.median(one)), one[low], one[high]] for name, one in ranked.items()}


def _batches(given: Any, batch_size: int | None) -> Iterator[tuple[Any, int]]:
    """Batches of the file's own size, the last filled up with zeros, each with how many of it count."""
    step = batch_size or BATCH
    for start in range(0, len(given), step):
        batch = given[start : start + step]
        kept = len(batch)
        if batch_size is not None and kept < batch_size:
            batch = np.concatenate([batch, np.zeros((batch_size - kept, *batch.shape[1:]), batch.dtype)])
        yield batch, kept


def _softmax(logits_NK: Any) -> Any:
    powers = np.exp(logits_NK - logits_NK.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _forget_peak() -> bool:
    """Makes this moment the peak of this process's memory; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _memory(key: str) -> int | None:
    """VmRSS (memory now) or VmHWM (its peak) of this process in bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def _both(found: float | None, recorded: float | None, form: Callable[[float], str]) -> str:
    shown = "-" if found is None else form(found)
    other = None if recorded is None else form(recorded)
    return shown if other is None or other == shown else f"{shown} ({other})"


def _recorded_latency(one: Mapping[str, Any] | None) -> str:
    if one is None or one["measured_ms"] is None:
        return "not measured there"
    low, high = one["measured_ci95_ms"]
    return f"{one['measured_ms']:.3f} ({low:.3f}-{high:.3f})"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description="Checks a bundle against its manifest.")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).parent, help="default: the folder of this file")
    parser.add_argument("--data", type=Path, help=f"the test data; default: {DATA} in the bundle or beside it")
    parser.add_argument("--examine", metavar="FILE", help="of the bundle alone, as JSON; its hash is not looked at")
    given = parser.parse_args(arguments)
    if given.examine:
        sys.stdout.write(json.dumps(_examine_here(given.bundle, given.examine, given.data)) + "\n")
        return 0
    try:
        report = check_bundle(given.bundle, data=given.data)
        sys.stdout.write(render(report))
    except BundleError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return FAILED if report["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
