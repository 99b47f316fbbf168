"""The verb `export`."""

import json
import logging
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from hwnas.api import export
from hwnas.api.run_folder import open_run
from hwnas.api.winners import load_network, load_winners
from hwnas.errors import RunError, SettingsError, StoredFileError
from hwnas.training import Part


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_winners_are_members_of_the_front(finished: Path) -> None:
    front = [one["architecture"] for one in json.loads((finished / "front.json").read_text())["evaluations"]]
    winners = load_winners(open_run(finished))
    assert 1 <= len(winners) <= 3
    assert all(dict(winner.architecture) in front for winner in winners)
    assert len({winner.file for winner in winners}) == len(winners)


def test_a_file_has_its_own_weights_alone_and_nothing_of_the_supernet(finished: Path) -> None:
    folder = open_run(finished)
    for winner in load_winners(folder):
        model = onnx.load(finished / winner.file)
        network = load_network(folder, winner)
        floats = sum(torch.tensor(t.dims).prod().item() for t in model.graph.initializer if t.data_type == 1)
        assert floats <= sum(p.numel() for p in network.parameters())
        assert not {node.op_type for node in model.graph.node} & {"Slice", "Gather", "BatchNormalization", "If"}
        assert [node.name for node in model.graph.input] == ["input"]
        assert [node.name for node in model.graph.output] == ["logits"]


def test_a_file_says_what_it_is_and_nothing_of_this_machine(finished: Path) -> None:
    winner = load_winners(open_run(finished))[0]
    model = onnx.load(finished / winner.file)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["task"] == "image classification"
    assert metadata["labels"].split("\n") == [str(digit) for digit in range(10)]
    assert metadata["architecture"] == winner.description
    assert str(Path.cwd()).encode() not in (finished / winner.file).read_bytes()


def test_run_again_it_writes_nothing_anew(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "models").glob("winner*")}
    with caplog.at_level(logging.INFO, logger="hwnas"):
        export(run)
    assert {path: path.stat().st_mtime_ns for path in (run / "models").glob("winner*")} == before
    assert caplog.text.count("Nothing to export") == len(before) // 2


def test_a_lost_file_is_exported_again_the_same(run: Path) -> None:
    path = run / load_winners(open_run(run))[0].weights
    before = torch.load(path, weights_only=True)
    path.unlink()
    export(run)
    after = torch.load(path, weights_only=True)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_killed_export_goes_on_within_a_training(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run / load_winners(open_run(run))[0].weights
    undisturbed = torch.load(path, weights_only=True)
    path.unlink()
    monkeypatch.setattr("hwnas.training.engine.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("hwnas.training.engine.TOLD_SECONDS", 0.0)
    told: list[tuple[str, int, int]] = []

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage.startswith("training winner") and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(run, on_progress=stop)
    export(run, on_progress=lambda stage, done, total, note="": told.append((stage, done, total)))
    stage, first, _ = told[0]
    assert stage == f"training winner 1 of {len(load_winners(open_run(run)))}"
    assert first > 1
    resumed = torch.load(path, weights_only=True)
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)
    assert not list((run / "models").glob("*checkpoint*"))


def test_another_export_does_not_stumble_over_a_killed_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, checkpoint: Path, **__: object) -> None:
        checkpoint.write_bytes(b"of two epochs")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hwnas.api.winners.train_alone", stop)
        with pytest.raises(KeyboardInterrupt):
            export(run, finetune_epochs=2)
    assert len(list((run / "models").glob("*checkpoint*"))) == 1
    assert len(export(run, winners=1)) == 1
    assert not list((run / "models").glob("*checkpoint*"))


def test_winners_learn_from_each_image_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[Part] = []

    def remember(*_: object, part: Part, **__: object) -> None:
        parts.append(part)
        raise KeyboardInterrupt

    monkeypatch.setattr("hwnas.api.winners.train_alone", remember)
    with pytest.raises(KeyboardInterrupt):
        export(run, winners=1, finetune_epochs=3)
    data = open_run(run).data
    assert len(parts[0]) == len(data.train) + len(data.validation) // 5 == 1797 - len(data.test)


def test_of_several_processes_none_exports(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SettingsError, match="hwnas export must run in one process, but torchrun has started several"):
        export(run)


def test_fewer_winners_leave_no_files_of_the_others(run: Path) -> None:
    export(run, winners=1)
    assert sorted(path.name for path in (run / "models").glob("winner*")) == ["winner-1.onnx", "winner-1.pt"]


def test_what_was_said_of_models_that_are_gone_goes_too(run: Path) -> None:
    said = [run / name for name in ("verification.json", "comparison.json", "report.html")]
    said[1].write_text("{}")
    export(run, winners=1, finetune_epochs=0)
    assert not [path for path in said if path.exists()]


def test_no_winners_are_refused(run: Path) -> None:
    with pytest.raises(SettingsError, match="winners must be at least 1"):
        export(run, winners=0)
    assert (run / "verification.json").exists()


def test_without_a_front_it_says_what_to_do(run: Path) -> None:
    (run / "front.json").unlink()
    with pytest.raises(RunError, match="hwnas search"):
        export(run)


def test_an_empty_front_is_refused(run: Path) -> None:
    document = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(json.dumps({**document, "evaluations": []}))
    with pytest.raises(RunError, match="its front is empty"):
        export(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"must hold a run\.toml"):
        export(tmp_path)


def test_a_broken_list_of_models_is_refused(run: Path) -> None:
    (run / "models" / "models.json").write_text('{"schema_version": 1, "models": [{"file": 3}]}')
    with pytest.raises(StoredFileError, match="must list exported models"):
        load_winners(open_run(run))
