"""A bundle checked by the one file that lies in it."""

import importlib.metadata
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.bundles import DATA, BundleError, altered_files, check_bundle, checking, examine, load_manifest, render

Rewrite = Callable[..., None]
IMAGES = 40
LABELS = ["ant", "bee", "cat"]
STRANGERS = ("torch", "hwnas", "onnx", "scipy", "pydantic")


def problems(bundle: Path, data: Path | None = None) -> list[str]:
    found: list[str] = check_bundle(bundle, data=data)["problems"]
    return found


def test_a_whole_bundle_passes(made: Path) -> None:
    report = check_bundle(made)
    assert report["problems"] == []
    assert report["images"] == IMAGES
    fp32, int8 = (report["files"][name]["found"] for name in ("fp32.onnx", "int8.onnx"))
    assert fp32["max_abs_difference"] < 1e-5
    assert fp32["same_class"] == 1
    assert fp32["test_accuracy"] == (IMAGES - 4) / IMAGES
    assert int8["max_abs_difference"] == pytest.approx(1e-3, rel=0.01)
    assert int8["max_abs_difference_random"] == pytest.approx(1e-3, rel=0.01)
    low, middle, high = (report["files"]["fp32.onnx"]["latency_here"][place] for place in (1, 0, 2))
    assert 0 < low <= middle <= high


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_memory_of_a_file_is_that_of_its_own_process(bundle: Path, rewrite: Rewrite) -> None:
    ballast = np.zeros(40_000_000, np.uint8)
    model = onnx.load(bundle / "fp32.onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(ballast, "ballast"))
    onnx.save(model, bundle / "fp32.onnx")
    rewrite()
    found = examine(bundle, ["fp32.onnx", "int8.onnx"], None)
    large, small = (found[name]["peak_memory_bytes"] for name in ("fp32.onnx", "int8.onnx"))  # type: ignore[index]
    assert 0 < small < 40_000_000 < large


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_flipped_bit_in_any_file_is_found_and_named(bundle: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(bundle.iterdir())), label="file")
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1), label="byte")
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(flipped)
    try:
        if path.name == "manifest.json":
            with pytest.raises(BundleError, match=r"manifest\.json must be the manifest of a bundle"):
                checking.read_manifest(bundle)
        else:
            (found,) = altered_files(bundle, checking.read_manifest(bundle))
            assert found.where == str(path)
    finally:
        path.write_bytes(whole)


def test_files_that_are_missing_torn_or_additional_are_named_and_nothing_is_run(bundle: Path) -> None:
    (bundle / "int8.onnx").unlink()
    (bundle / "reference.npz").write_bytes((bundle / "reference.npz").read_bytes()[:-1])
    (bundle / "inside").mkdir()
    (bundle / "inside" / "notes.txt").write_text("mine")
    report = check_bundle(bundle)
    missing, torn, additional = report["problems"]
    assert missing == f"{bundle / 'int8.onnx'} must be there, but it is missing."
    assert torn.startswith(f"{bundle / 'reference.npz'} must have")
    assert additional.startswith(f"{bundle / 'inside' / 'notes.txt'} must be listed in manifest.json")
    assert report["files"] == {}


def test_a_file_that_is_not_its_model_differs(bundle: Path, replace: Rewrite, rewrite: Rewrite) -> None:
    replace("fp32.onnx", shift=5.0)
    rewrite()
    with np.load(bundle / "reference.npz") as stored:
        within = 1e-4 * np.abs(stored["random_logits"]).max()
    assert within > 1e-4
    random, test = problems(bundle)
    assert f"must give torch's outputs within {within:.3g} on random images, but the largest difference is 5" in random
    assert "on test images" in test


def test_another_class_is_told(bundle: Path, replace: Rewrite, rewrite: Rewrite) -> None:
    replace("fp32.onnx", shift=np.array([50, 0, 0]))
    rewrite()
    assert any("must give torch's class on all test images, but it gives it on" in one for one in problems(bundle))


def test_an_fp16_file_that_gives_something_else_fails(bundle: Path, replace: Rewrite, rewrite: Rewrite) -> None:
    replace("fp32.onnx", shift=0.01)
    rewrite(lambda document: document["files"]["fp32.onnx"].update(precision="fp16"))
    assert problems(bundle) == []
    replace("fp32.onnx", shift=np.array([50, 0, 0]))
    rewrite(lambda document: document["files"]["fp32.onnx"].update(precision="fp16"))
    random, test, classes = problems(bundle)
    assert "on random images, but the largest difference is 50" in random
    assert "on test images, but the largest difference is 50" in test
    assert "must give torch's class on 97.50% of the test images" in classes  # all but one of 40


def test_an_int8_file_that_has_lost_its_accuracy_fails_without_a_record_too(
    bundle: Path, replace: Rewrite, rewrite: Rewrite
) -> None:
    replace("int8.onnx", shift=np.array([50, 0, 0]))
    rewrite(lambda document: document["files"]["int8.onnx"].update(batch_size=None))
    (only,) = problems(bundle)
    assert "int8.onnx must have an accuracy of" in only
    found = check_bundle(bundle)["files"]["int8.onnx"]["found"]
    assert found["test_accuracy"] < found["bounds"]["test_accuracy"] < (IMAGES - 4) / IMAGES - 0.05


def test_the_drop_that_the_manifest_states_is_the_bound(bundle: Path, rewrite: Rewrite) -> None:
    bounds = []
    for made in ({}, {"max_drop": 0.5}, {"max_drop": 20.0}):
        rewrite(lambda document, made=made: document["files"]["int8.onnx"].update(made=made))
        bounds.append(check_bundle(bundle)["files"]["int8.onnx"]["found"]["bounds"]["test_accuracy"])
    default, tight, wide = bounds
    assert (default - tight, default - wide) == (pytest.approx(-0.045), pytest.approx(0.15))


def test_test_data_may_lie_in_the_bundle_if_it_is_its_own(bundle: Path) -> None:
    (bundle.parent / DATA).rename(bundle / DATA)
    report = check_bundle(bundle)
    assert (report["problems"], report["images"]) == ([], IMAGES)
    (bundle / DATA).write_bytes(b"rubbish")
    (only,) = problems(bundle)
    assert only == f"{bundle / DATA} must be the test data that the bundle was proven on, but it is not."


def test_links_to_elsewhere_are_refused(bundle: Path) -> None:
    (bundle / "fp32.onnx").rename(bundle.parent / "fp32.onnx")
    (bundle / "fp32.onnx").symlink_to(bundle.parent / "fp32.onnx")
    (bundle / "more").symlink_to(bundle.parent)
    link, additional = problems(bundle)
    assert link == f"{bundle / 'fp32.onnx'} must be a file of the bundle, but it is a link."
    assert additional.startswith(f"{bundle / 'more'} must be listed")


def test_an_accuracy_that_is_not_the_recorded_one_is_told(bundle: Path, rewrite: Rewrite) -> None:
    found = {"test_accuracy": 0.5, "latency": {}}
    rewrite(lambda document: document["files"]["int8.onnx"].update(found=found))
    (only,) = problems(bundle)
    assert "int8.onnx must have the accuracy 50.00% that the manifest states" in only


def test_an_opset_that_the_runtime_cannot_read_is_one_sentence(
    bundle: Path, replace: Rewrite, rewrite: Rewrite
) -> None:
    replace("fp32.onnx", opset=999)
    rewrite(lambda document: document["files"]["fp32.onnx"].update(opset=999))
    (only,) = problems(bundle)
    assert "fp32.onnx, of opset 999, must load in ONNX Runtime" in only
    assert "\n" not in only


def test_other_ends_are_told(bundle: Path, rewrite: Rewrite) -> None:
    rewrite(lambda document: document["files"]["fp32.onnx"].update(ends=["image", "tensor(uint8)", "probabilities"]))
    (only,) = problems(bundle)
    assert "must have the ends image, tensor(uint8), probabilities, but it has input, tensor(float), logits" in only


def test_outputs_that_are_not_finite_are_told(bundle: Path, replace: Rewrite, rewrite: Rewrite) -> None:
    replace("int8.onnx", shift=np.inf)
    rewrite(lambda document: document["files"]["int8.onnx"].update(batch_size=None))
    (only,) = problems(bundle)
    assert "int8.onnx must give 8x3 finite numbers, but it gave 8x3, 24 of them not finite" in only


def test_a_crash_of_the_runtime_is_one_file_s_alone(
    made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text(f'#!/bin/sh\ncase "$*" in *int8*) kill -SEGV $$;; esac\nexec {sys.executable} "$@"\n')
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    found = examine(made, ["fp32.onnx", "int8.onnx"], None)
    assert found["fp32.onnx"]["max_abs_difference_random"] < 1e-5  # type: ignore[index]
    assert "int8.onnx must run, but its process ended: exit code -11" in found["int8.onnx"]


IMAGES_44 = np.zeros((IMAGES, 4, 4, 1), np.uint8)
LABELS_0 = np.zeros(IMAGES, np.int64)


@pytest.mark.parametrize(
    ("images", "labels", "names", "said"),
    [
        (
            np.zeros((5, 8, 8, 3), np.uint8),
            np.zeros(5, np.int64),
            LABELS,
            "must be 4x4x1 of uint8, but they are 8x8x3 of",
        ),
        (IMAGES_44.astype(np.float32), LABELS_0, LABELS, "must be 4x4x1 of uint8, but they are 4x4x1 of float32"),
        (IMAGES_44, LABELS_0, ["ant", "bee", "dog"], "must be ant, bee, cat, but they are ant, bee, dog"),
        (IMAGES_44, LABELS_0 + 3, LABELS, "must be from 0 to 2, one an image"),
        (IMAGES_44, LABELS_0[:2], LABELS, "must be from 0 to 2, one an image"),
        (IMAGES_44, LABELS_0, LABELS, "must be the 40 test images with the labels that the bundle was proven on"),
    ],
)
def test_other_test_data_are_one_sentence(
    made: Path, tmp_path: Path, images: np.ndarray, labels: np.ndarray, names: list[str], said: str
) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, images=images, labels=labels, class_names=np.array(names))
    with pytest.raises(BundleError, match=said) as caught:
        check_bundle(made, data=path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PK rubbish"])
def test_test_data_that_are_none_are_one_sentence(made: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"other\.npz must"):
        check_bundle(made, data=path)


def test_without_test_data_the_rest_is_checked_and_it_says_so(bundle: Path) -> None:
    (bundle.parent / DATA).unlink()
    report = check_bundle(bundle)
    assert report["problems"] == []
    assert report["files"]["fp32.onnx"]["found"]["test_accuracy"] is None
    shown = render(report)
    assert "Not checked on test images" in shown
    assert "There is no test data, so no accuracy and no class was checked." in shown
    assert "All checks passed" not in shown


def test_latencies_of_another_machine_stand_beside_and_do_not_fail(bundle: Path, rewrite: Rewrite) -> None:
    known = {"measured_ms": 1e6, "measured_ci95_ms": [0.9e6, 1.1e6]}
    unknown = {"measured_ms": None, "measured_ci95_ms": None, "not_measured": "it was offline"}
    own = load_manifest(bundle)["files"]["fp32.onnx"]
    found = {"test_accuracy": 0.9, "latency": {"board": known, "phone": unknown}}

    def alter(document: dict) -> None:
        document["files"]["fp32.onnx"] = {**own, "found": found}
        document["devices"] = {"board": {"cpu": "another", "num_threads": 1}, "phone": None}

    rewrite(alter)
    report = check_bundle(bundle)
    assert report["problems"] == report["again"] == []
    shown = render(report)
    assert "1000000.000 (900000.000-1100000.000)" in shown
    assert "not measured there" in shown


def test_a_device_that_is_this_machine_is_known_as_such() -> None:
    from hwnas.devices import find_runtime, fingerprint

    here = fingerprint(find_runtime("onnxruntime-cpu"), num_threads=1)
    assert checking.is_this_machine(here)
    assert not checking.is_this_machine({**here, "cpu": "another"})
    assert not checking.is_this_machine({**here, "runtime_version": "0.1"})
    assert not checking.is_this_machine(None)


def test_what_differs_from_the_manifest_stands_in_brackets(bundle: Path, rewrite: Rewrite) -> None:
    found = {"test_accuracy": 0.9 + 1 / IMAGES, "same_class": 1.0, "latency": {}}
    rewrite(lambda document: document["files"]["fp32.onnx"].update(found=found))
    shown = render(check_bundle(bundle))
    assert "90.00% (92.50%)" in shown
    assert "All checks passed (40 test images)." in shown


def own_environment() -> dict[str, str]:
    """Without what would let a program find hwnas all the same."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(bundle: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, str(bundle / "verify.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=own_environment(), cwd=bundle.parent
    )


def test_the_file_in_the_bundle_does_the_same(bundle: Path) -> None:
    done = run(bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert "All checks passed (40 test images)." in done.stdout
    assert not list(bundle.glob("__pycache__"))
    (bundle / "int8.onnx").write_bytes(b"rubbish")
    done = run(bundle)
    assert done.returncode == 2
    assert f"{bundle / 'int8.onnx'} must have" in done.stdout
    (bundle / "manifest.json").unlink()
    done = run(bundle, "--data", "nowhere.npz")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_it_imports_numpy_and_onnxruntime_alone() -> None:
    code = f"import sys; sys.argv = ['x']; import runpy; runpy.run_path({checking.__file__!r}); import onnxruntime; "
    code += f"print([name for name in {STRANGERS!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.slow
def test_it_passes_where_only_numpy_and_onnxruntime_are_installed(made: Path, tmp_path: Path) -> None:
    """In a fresh virtual environment, with the versions that are installed here."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "onnxruntime")]
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"pip cannot install {' '.join(wanted)} here: {installed.stderr.strip().splitlines()[-1]}")
    code = f"import importlib.util, json; print(json.dumps([n for n in {STRANGERS!r} if importlib.util.find_spec(n)]))"
    alone = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True, env=own_environment(), cwd=tmp_path
    )
    assert json.loads(alone.stdout) == []
    done = run(made, python=python)
    assert (done.returncode, done.stderr) == (0, "")
    assert "All checks passed (40 test images)." in done.stdout


def test_logits_of_the_fixture_are_those_of_its_model(made: Path) -> None:
    """Or else every check above would pass by agreement of two mistakes."""
    import onnxruntime

    with np.load(made / "reference.npz") as stored:
        images, logits = stored["random_images"], stored["random_logits"]
    session = onnxruntime.InferenceSession(str(made / "fp32.onnx"))
    x = ((images / 255 - 0.4) / 0.3).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(session.run(None, {"input": x})[0], logits, atol=1e-5)
