"""What a bundle says and holds besides its models."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hwnas.api.bundling import run_devices, write_bundle, write_run_test_data
from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import find_table
from hwnas.api.settings import RunSettings
from hwnas.bundles import DATA, check_bundle, load_manifest
from hwnas.training import ImageData, Part


def made(run: RunFolder) -> Path:
    torch.manual_seed(0)
    architecture = run.space.smallest()
    network = run.space.build(architecture).eval()
    about = {"name": "winner-1", "values": {"error": 0.5}, "training": {"epochs": 0}, "commands": ["hwnas export RUN"]}
    write_bundle(run, run.models / "winner-1", network, architecture, BundleOptions.of(run), about)
    return run.models / "winner-1"


def test_a_bundle_of_images_of_bytes_passes_its_checks(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, RunSettings(space_options={"width_mult": 0.1}, tables=str(tmp_path / "here")))
    bundle = made(run)
    report = check_bundle(bundle)
    assert report["problems"] == []
    assert report["images"] == len(run.data.test)
    manifest = load_manifest(bundle)
    assert manifest["values"] == {"error": 0.5}
    assert manifest["architecture"]["in_search"] == run.space.smallest().to_json()
    assert (manifest["supernet"], manifest["tables"]) == (None, [])
    assert manifest["commands"] == ["hwnas export RUN"]
    assert manifest["options"] == BundleOptions.of(run).to_json()
    assert "tables = " not in manifest["settings"]
    assert 'data = "digits"' in manifest["settings"]
    with np.load(run.models / DATA) as stored:
        assert stored["images"].shape == (len(run.data.test), 8, 8, 1)
        assert stored["images"].dtype == np.uint8
        assert list(stored["class_names"]) == list(run.data.class_names)


def test_a_bundle_of_float_images_passes_its_checks(tmp_path: Path) -> None:
    part = Part(torch.rand(20, 3, 16, 16), torch.arange(20) % 2)
    data = ImageData("mine", part, part, part, ("a", "b"), (0.5, 0.4, 0.3), (0.3, 0.2, 0.1), False)
    run = RunFolder(tmp_path, RunSettings(space="convnet", tables=str(tmp_path / "here")), given_data=data)
    bundle = made(run)
    assert check_bundle(bundle)["problems"] == []
    manifest = load_manifest(bundle)
    assert manifest["input"]["scale"] == 1
    metadata = {one.key: one.value for one in onnx.load(bundle / "fp32.onnx").metadata_props}
    assert metadata["input"] == "float32 1x3x16x16, (pixel - mean) / std for each channel"
    assert manifest["test_data"]["dtype"] == "float32"


def test_the_test_images_are_the_same_each_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, RunSettings())
    first = write_run_test_data(run)
    (run.models / DATA).unlink()
    assert write_run_test_data(run) == first


@pytest.mark.parametrize("objectives", [["error", "latency@browser", "latency@local-cpu"], ["error", "macs"]])
def test_a_run_without_latencies_is_measured_on_this_machine(tmp_path: Path, objectives: list[str]) -> None:
    run = RunFolder(tmp_path, RunSettings(objectives=objectives, tables=str(tmp_path)))
    assert run_devices(run) == (["browser", "local-cpu"] if len(objectives) == 3 else ["local-cpu"])
    assert find_table(run, "local-cpu", "fp32", batch_size=1) is None
