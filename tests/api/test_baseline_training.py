"""How long baselines are trained, and what their training leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from hwnas.api import baseline_training, open_run
from hwnas.api.baseline_training import Budget, baseline_options, file_accuracy
from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import RunFolder
from hwnas.api.winner_list import Winner, load_winners
from hwnas.baselines import Baseline
from hwnas.errors import ExportError
from hwnas.exporters import export_onnx, save_onnx
from hwnas.training import engine

BASELINE = Baseline("mobilenet_v3_small", 0.1)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunFolder:
    """A copy of the finished run, with settings that may be changed."""
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("supernet.pt"))
    return open_run(tmp_path / "run")


def train_baseline(run: RunFolder, baseline: Baseline, budget: Budget, **more: Any) -> list[dict[str, Any]]:
    options = more.pop("options", BundleOptions.of(run))
    return baseline_training.train_baseline(run, baseline, budget, options, **more)


def winner_of(run: RunFolder, **changed: object) -> Winner:
    return Winner(**{**vars(load_winners(run)[0]), **changed})  # type: ignore[arg-type]


def with_settings(run: RunFolder, **changed: object) -> RunFolder:
    return RunFolder(run.path, run.settings.model_copy(update=changed))


def test_a_baseline_has_the_epochs_of_the_supernet_and_of_the_fine_tuning(run: RunFolder) -> None:
    images = len(run.data.train) + len(run.data.validation) // run.data.validation_copies
    budget = Budget.of(run, load_winners(run))
    assert budget == Budget(2, 1, 1, images, 2 * (images // 128))
    assert Budget.of(run, [winner_of(run), winner_of(run, finetune_epochs=7)]).epochs == 8


def test_a_winner_from_scratch_had_no_epochs_before(run: RunFolder) -> None:
    assert Budget.of(run, [winner_of(run, start="scratch", finetune_epochs=5)]).epochs == 5


@pytest.mark.parametrize(("weights", "epochs"), [("inherited", 3 * 4), ("scratch", 4)])
def test_a_winner_that_grew_from_others_had_their_epochs_too(run: RunFolder, weights: str, epochs: int) -> None:
    own = list(load_winners(run)[0].architecture["choices"])
    lineage = [{"choices": [0]}, {"choices": [1], "parent": [0]}, {"choices": own, "parent": [1]}]
    lines = [{"schema_version": 1}, *({"architecture": {"choices": one.pop("choices")}, **one} for one in lineage)]
    run.evaluations.write_text("".join(json.dumps(line) + "\n" for line in lines))
    grown = with_settings(run, weights=weights, network_epochs=4)
    assert Budget.of(grown, [winner_of(run)]).search_epochs == epochs


def test_all_images_are_seen_at_full_resolution_by_the_settings_of_the_run(run: RunFolder) -> None:
    training = run.settings.training
    grown = with_settings(run, training=type(training)(**{**vars(training), "first_resolution": 0.5}))
    settings = Budget(6, 4, 2, 100, 12).settings(grown)
    assert (settings.epochs, settings.first_resolution) == (6, 1.0)
    assert settings.batch_size == training.batch_size


def test_a_trained_baseline_is_scored_by_its_file_and_not_trained_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget.of(run, load_winners(run))
    [entry] = train_baseline(run, BASELINE, budget)
    path = run.path / entry["file"]
    assert path == run.baselines / "mobilenet_v3_small-0.1" / "fp32.onnx"
    assert entry["size_bytes"] == path.stat().st_size
    assert entry["test_accuracy"] == file_accuracy(run, path)
    assert entry["parameters"] == BASELINE.counts((1, 8, 8), 10).parameters
    assert sorted(one.name for one in path.parent.iterdir()) == ["fp32.onnx", "result.json"]
    monkeypatch.setattr(baseline_training, "train_network", None)
    assert train_baseline(run, BASELINE, budget) == [entry]
    with pytest.raises(TypeError):  # winners that had more make it be trained anew
        train_baseline(run, BASELINE, Budget(3, 2, 1, budget.images, budget.steps))


def test_a_stopped_training_goes_on_to_the_same_file(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget.of(run, load_winners(run))
    whole = run.path / train_baseline(run, BASELINE, budget)[0]["file"]
    other = RunFolder(tmp_path / "other", run.settings)
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(engine, "TOLD_SECONDS", 0.0)
    steps: list[int] = []

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        steps.append(done)
        if done == steps.count(done) * budget.steps // 2:  # once: the step that it is told of is not kept yet
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_baseline(other, BASELINE, budget, on_progress=stop)
    [entry] = train_baseline(other, BASELINE, budget, on_progress=stop)
    assert steps.count(1) == 1
    assert steps[-1] == budget.steps
    assert (other.path / entry["file"]).read_bytes() == whole.read_bytes()


def test_a_file_that_is_not_its_network_is_refused(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    other = BASELINE.build((1, 8, 8), 10).eval()
    write = baseline_training.write_models
    monkeypatch.setattr(
        baseline_training, "write_models", lambda run, place, _, *given: write(run, place, other, *given)
    )
    with pytest.raises(
        ExportError, match=r"must give torch's outputs within 0\.0001 of the largest and its class on all 359"
    ):
        train_baseline(run, BASELINE, Budget.of(run, load_winners(run)))


def test_it_has_the_precisions_and_batch_size_of_the_run(run: RunFolder) -> None:
    both = with_settings(run, precisions=["fp32", "int8"], batch_size=7)
    floating, quantised = train_baseline(both, BASELINE, Budget.of(run, load_winners(run)))
    assert [one["precision"] for one in (floating, quantised)] == ["fp32", "int8"]
    assert quantised["name"] == f"{BASELINE.name}, int8"
    assert Path(quantised["file"]).name == "int8.onnx"
    kinds = {node.op_type for node in onnx.load(both.path / quantised["file"]).graph.node}
    assert "QuantizeLinear" in kinds
    assert abs(quantised["test_accuracy"] - floating["test_accuracy"]) < 0.1


def test_large_logits_may_differ_by_more(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 has no absolute error: the difference counts as a share of the largest output."""
    logits = baseline_training._logits
    largest = 0.0

    def shifted(run: RunFolder, path: Path) -> Any:
        nonlocal largest
        found = logits(run, path)
        largest = float(abs(found).max())
        return found + 0.9e-4 * largest * scale

    monkeypatch.setattr(baseline_training, "_logits", shifted)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    torch.nn.init.constant_(network[1].weight, 5.0)
    torch.nn.init.constant_(network[1].bias, 0.0)
    with torch.no_grad():
        network[1].bias[3] = 50.0
    path = run.path / "fp32.onnx"
    save_onnx(export_onnx(network, (1, 8, 8), batch_size=1), path)
    scale = 1.0
    baseline_training._check_parity(run, network, path)
    assert 0.9e-4 * largest > 1e-3
    scale = 2.0
    with pytest.raises(ExportError, match=r"they are 0\.00018 apart"):
        baseline_training._check_parity(run, network, path)


def test_baselines_have_the_options_that_the_winners_were_exported_with(run: RunFolder) -> None:
    options = {**load_winners(run)[0].options, "batch_size": 8, "opset": 19, "image_input": True, "openvino": True}
    chosen = baseline_options(run, [winner_of(run, options=options)])
    assert (chosen.batch_size, chosen.opset, chosen.precisions) == (8, 19, ("fp32",))
    assert (chosen.image_input, chosen.openvino, chosen.engine) == (False, False, None)
    [entry] = train_baseline(run, BASELINE, Budget.of(run, load_winners(run)), options=chosen)
    model = onnx.load(run.path / entry["file"])
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    assert entry["test_accuracy"] == file_accuracy(run, run.path / entry["file"]) > 0


def test_a_file_that_was_replaced_is_made_again(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget.of(run, load_winners(run))
    [entry] = train_baseline(run, BASELINE, budget)
    path = run.path / entry["file"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert train_baseline(run, BASELINE, budget) == [entry]
    assert path.read_bytes() == whole

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(baseline_training, "_check_parity", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_baseline(run, BASELINE, Budget(1, 1, 0, budget.images, budget.steps // 2))
    assert not path.with_name("result.json").exists()


def test_training_leaves_torch_as_it_was(run: RunFolder) -> None:
    before = torch.get_rng_state()
    train_baseline(run, BASELINE, Budget.of(run, load_winners(run)))
    assert torch.equal(torch.get_rng_state(), before)
