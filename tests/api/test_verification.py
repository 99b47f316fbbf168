"""The verb `verify`."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hwnas.api import verify
from hwnas.api.run_folder import open_run
from hwnas.api.winners import load_network, load_winners
from hwnas.errors import ExportError, RunError, StoredFileError
from hwnas.training import accuracy

KEYS = {
    "file",
    "architecture",
    "test_accuracy",
    "onnx_test_accuracy",
    "max_abs_difference",
    "predicted_ms",
    "measured_ms",
    "measured_ci95_ms",
}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_verification_json_has_the_keys_that_other_programs_read(finished: Path) -> None:
    document = json.loads((finished / "verification.json").read_text())
    assert document["schema_version"] == 1
    for model in document["models"]:
        assert model.keys() >= KEYS
        assert model["max_abs_difference"] <= 1e-4
        assert model["same_class"]
        low, high = model["measured_ci95_ms"]
        assert 0 < low <= model["measured_ms"] <= high


def test_models_are_ranked_by_what_was_measured(finished: Path) -> None:
    models = json.loads((finished / "verification.json").read_text())["models"]
    assert [m["measured_ms"] for m in models] == sorted(m["measured_ms"] for m in models)
    for model in models:
        better = [
            other
            for other in models
            if other["measured_ms"] <= model["measured_ms"]
            and other["onnx_test_accuracy"] >= model["onnx_test_accuracy"]
            and other is not model
        ]
        assert model["on_front"] == (not better)


def test_accuracy_and_prediction_are_those_of_the_model(finished: Path) -> None:
    folder = open_run(finished)
    reports = {m["file"]: m for m in json.loads((finished / "verification.json").read_text())["models"]}
    for winner in load_winners(folder):
        network = load_network(folder, winner)
        report = reports[winner.file]
        assert report["test_accuracy"] == pytest.approx(accuracy(network, folder.data, folder.data.test))
        assert report["predicted_ms"] == winner.values["latency_ms@local-cpu"]
        assert report["parameters"] == sum(p.numel() for p in network.parameters())
        assert report["size_bytes"] == (finished / winner.file).stat().st_size


def test_a_file_that_is_not_its_model_is_refused(run: Path) -> None:
    winner = load_winners(open_run(run))[0]
    model = onnx.load(run / winner.file)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("logits.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32), bias.name))
    onnx.save(model, run / winner.file)
    with pytest.raises(ExportError, match=r"must give torch's outputs within 0\.0001"):
        verify(run)


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_broken_or_missing_file_is_named(run: Path, content: bytes | None) -> None:
    path = run / load_winners(open_run(run))[0].file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=path.name):
        verify(run)


def test_one_broken_file_does_not_hide_the_others(run: Path) -> None:
    winners = load_winners(open_run(run))
    assert len(winners) > 1
    (run / winners[0].file).write_bytes(b"rubbish")
    with pytest.raises(ExportError):
        verify(run)
    checked = {model["file"] for model in json.loads((run / "verification.json").read_text())["models"]}
    assert checked == {winner.file for winner in winners[1:]}


def test_broken_weights_are_named(run: Path) -> None:
    winner = load_winners(open_run(run))[0]
    torch.save({"other": torch.zeros(1)}, run / winner.weights)
    with pytest.raises(StoredFileError, match="must hold the weights of"):
        verify(run)


def test_without_models_it_says_what_to_do(run: Path) -> None:
    shutil.rmtree(run / "models")
    with pytest.raises(RunError, match="hwnas export"):
        verify(run)
