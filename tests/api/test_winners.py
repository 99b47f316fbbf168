"""The verb `export`."""

import json
import logging
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from hwnas.api import export
from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.settings import RunSettings
from hwnas.api.winner_list import Winner, load_winners
from hwnas.api.winners import _training, export_again, export_evaluations, load_network
from hwnas.bundles import check_bundle, load_manifest, sha256_of
from hwnas.errors import HwnasError, RunError, SettingsError, StoredFileError
from hwnas.front import Candidate, Evaluation, ParetoFront
from hwnas.spaces import MixedPrecision, make_space
from hwnas.training import Part


@pytest.fixture
def run(verified: Path, tmp_path: Path) -> Path:
    shutil.copytree(verified, tmp_path / "run")
    return tmp_path / "run"


def test_winners_are_members_of_the_front(verified: Path) -> None:
    front = [one["architecture"] for one in json.loads((verified / "front.json").read_text())["evaluations"]]
    winners = load_winners(open_run(verified))
    assert 1 <= len(winners) <= 3
    assert all(dict(winner.architecture) in front for winner in winners)
    assert len({winner.bundle for winner in winners}) == len(winners)


def test_a_file_has_its_own_weights_alone_and_nothing_of_the_supernet(verified: Path) -> None:
    folder = open_run(verified)
    for winner in load_winners(folder):
        model = onnx.load(verified / winner.bundle / "fp32.onnx")
        network = load_network(folder, winner)
        floats = sum(torch.tensor(t.dims).prod().item() for t in model.graph.initializer if t.data_type == 1)
        assert floats <= sum(p.numel() for p in network.parameters())
        assert not {node.op_type for node in model.graph.node} & {"Slice", "Gather", "BatchNormalization", "If"}
        assert [node.name for node in model.graph.input] == ["input"]
        assert [node.name for node in model.graph.output] == ["logits"]


def test_a_file_says_what_it_is_and_nothing_of_this_machine(verified: Path) -> None:
    winner = load_winners(open_run(verified))[0]
    path = verified / winner.bundle / "fp32.onnx"
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["task"] == "image classification"
    assert metadata["labels"].split("\n") == [str(digit) for digit in range(10)]
    assert metadata["architecture"] == winner.description
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_run_again_it_writes_nothing_anew(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "models").rglob("*.*")}
    with caplog.at_level(logging.INFO, logger="hwnas"):
        export(run, precisions=["fp32", "int8"])
    after = {path: path.stat().st_mtime_ns for path in (run / "models").rglob("*.*")}
    assert {path for path in before if before[path] != after[path]} == {run / "models" / "models.json"}
    assert caplog.text.count("Nothing to export") == len(load_winners(open_run(run)))


def torch_state(run: Path) -> dict[str, torch.Tensor]:
    winner = load_winners(open_run(run))[0]
    state: dict[str, torch.Tensor] = torch.load(run / winner.bundle / "weights.pt", weights_only=True)
    return state


@pytest.mark.parametrize("name", ["weights.pt", "int8.onnx"])
def test_a_lost_or_altered_file_is_exported_again_the_same(run: Path, name: str) -> None:
    before, place = torch_state(run), run / load_winners(open_run(run))[0].bundle
    whole = {path.name: path.read_bytes() for path in place.iterdir()}
    (place / name).write_bytes(b"rubbish")
    export(run, precisions=["fp32", "int8"])
    after = torch_state(run)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert {path.name for path in place.iterdir()} == whole.keys()
    assert (place / "int8.onnx").read_bytes() == whole["int8.onnx"]


def test_other_options_train_nothing_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch_state(run)
    monkeypatch.setattr("hwnas.api.winners.train_alone", lambda *_, **__: pytest.fail("it trained"))
    (bundle, *_) = export(run, precisions=["fp16"], batch_size="dynamic", image_input=True, opset=21, licence="CC0-1.0")
    assert all(torch.equal(before[key], value) for key, value in torch_state(run).items())
    models = {path.stem: onnx.load(path) for path in bundle.glob("*.onnx")}
    assert sorted(models) == ["fp16", "fp16-image", "fp32", "fp32-image"]
    for name, model in models.items():
        batch = model.graph.input[0].type.tensor_type.shape.dim[0]
        assert batch.dim_param
        assert {entry.key: entry.value for entry in model.metadata_props}["licence"] == "CC0-1.0"
        assert next(one.version for one in model.opset_import if not one.domain) == 21
        assert model.graph.input[0].name == ("image" if name.endswith("-image") else "input")
    files = load_manifest(bundle)["files"]
    assert files["fp16-image.onnx"]["ends"] == ["image", "tensor(uint8)", "probabilities"]
    assert {name: entry["batch_size"] for name, entry in files.items() if "batch_size" in entry}.keys() == {
        f"{name}.onnx" for name in models
    }
    assert check_bundle(bundle)["problems"] == []


def test_a_manifest_says_what_the_bundle_is_and_how_it_came_to_be(verified: Path) -> None:
    folder = open_run(verified)
    for winner in load_winners(folder):
        manifest = load_manifest(verified / winner.bundle)
        assert (manifest["name"], manifest["precision"]) == (winner.name, "fp32")
        assert manifest["labels"] == list(folder.data.class_names)
        assert manifest["input"]["mean"] == list(folder.data.mean)
        space = make_space(
            "mobilenetv3", input_shape=(1, 8, 8), num_classes=10, options=manifest["architecture"]["options"]
        )
        made = space.architecture(manifest["architecture"]["choices"])
        assert made.to_json() == winner.architecture
        assert manifest["supernet"]["sha256"] == sha256_of(folder.supernet)
        (table,) = manifest["tables"]
        (path,) = (verified.parent / "tables").rglob("*.json")
        assert (table["file"], table["sha256"]) == (path.name, sha256_of(path))
        assert 0 < table["mean_error"] < 1
        assert manifest["test_data"]["sha256"] == sha256_of(folder.models / "test-data.npz")
        command = "hwnas export RUN --winners 3 --finetune-epochs 1 --precision fp32 --precision int8 --batch-size 1"
        assert manifest["commands"][1] == f"{command} --max-drop 0.5 --licence 'not stated'"
        assert manifest["versions"].keys() == {"python", "hwnas", "torch", "onnx", "onnxruntime", "numpy"}
        assert str(verified) not in (verified / winner.bundle / "manifest.json").read_text()


def test_a_killed_export_goes_on_within_a_training(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = torch_state(run)
    (run / load_winners(open_run(run))[0].bundle / "weights.pt").unlink()
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
    resumed = torch_state(run)
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)
    assert not list((run / "models").glob("*checkpoint*"))


def test_an_export_killed_while_it_writes_leaves_no_half_bundle(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    bundle = run / load_winners(open_run(run))[0].bundle
    with monkeypatch.context() as patched:
        patched.setattr("hwnas.api.bundling.write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            export(run, winners=1, licence="another")
    assert check_bundle(bundle)["problems"] == []
    export(run, winners=1, licence="another")
    assert load_manifest(bundle)["licence"] == "another"
    assert [path.name for path in (run / "models").iterdir() if path.name.startswith(".")] == []


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
    assert sorted(path.name for path in (run / "models").glob("winner*")) == ["winner-1"]


def test_evaluations_are_exported_besides_the_winners(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Winner] = []
    monkeypatch.setattr("hwnas.api.winners._make", lambda _, wanted, **__: made.extend(wanted))
    folder = open_run(run)
    before = load_winners(folder)
    known = {str(winner.architecture) for winner in before}
    members = list(folder.load_front())
    old = next(one for one in members if str(one.architecture.to_json()) in known)
    new = Evaluation(Candidate(folder.space.largest()), old.values)
    old_bundle, new_bundle = export_evaluations(folder, [old, new], bounds="macs < 9 M")
    assert old_bundle.name in {winner.name for winner in before}
    assert new_bundle.name == f"winner-{len(before) + 1}"
    assert made[:-1] == before
    assert made[-1].options == before[0].options


def test_what_was_said_of_models_that_are_gone_goes_too(run: Path) -> None:
    said = [run / name for name in ("verification.json", "comparison.json", "report.html")]
    said[1].write_text("{}")
    export(run, winners=1, finetune_epochs=0)
    assert not [path for path in said if path.exists()]


def picked_beside(run: Path) -> Path:
    """A bundle of another member than the winners are; it is picked, without training."""
    folder = open_run(run)
    known = {str(winner.architecture) for winner in load_winners(folder)}
    new = next(one for one in folder.load_front() if str(one.architecture.to_json()) not in known)
    [bundle] = export_evaluations(folder, [new], bounds="macs < 9 M and 'x' < 1", finetune_epochs=0)
    return bundle


def test_what_was_said_of_the_others_stays_where_one_is_picked(run: Path) -> None:
    told = {"schema_version": 1, "winners": [{"name": "winner-1"}]}
    (run / "comparison.json").write_text(json.dumps(told))
    before = {name: (run / name).read_bytes() for name in ("verification.json", "comparison.json")}
    bundle = picked_beside(run)
    assert {name: (run / name).read_bytes() for name in before} == before
    first, last = (load_manifest(path)["commands"] for path in (run / "models" / "winner-1", bundle))
    assert last[:2] == first[:2]
    assert shlex.split(last[2]) == ["hwnas", "pick", "RUN", "macs < 9 M and 'x' < 1", "--finetune-epochs", "0"]
    assert last[3] == first[2] == "hwnas verify RUN"


def test_only_what_was_said_of_a_rewritten_bundle_goes(run: Path) -> None:
    (run / "models" / "winner-2" / "int8.onnx").unlink()
    export(run, precisions=["fp32", "int8"])
    names = {one["name"] for one in json.loads((run / "verification.json").read_text())["models"]}
    assert names == {one.name for one in load_winners(open_run(run))} - {"winner-2"}
    assert names


def test_picked_bundles_outlive_an_export_and_a_refinement(run: Path) -> None:
    bundle = picked_beside(run)
    content = {path.name: path.read_bytes() for path in bundle.iterdir()}
    own = {one.name for one in load_winners(open_run(run))} - {bundle.name}
    export(run, winners=1, finetune_epochs=0)
    listed = {one.name: one for one in load_winners(open_run(run))}
    assert listed.keys() == {"winner-1", bundle.name}
    export_again(open_run(run))
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == content
    assert (listed[bundle.name].picked_by, listed[bundle.name].is_exported) == ("macs < 9 M and 'x' < 1", False)
    assert len(own) > 1


def test_a_picked_bundle_keeps_its_name_from_winners_that_come_later(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_run(run)
    shutil.rmtree(folder.models)
    bundle = picked_beside_none(folder)
    monkeypatch.setattr("hwnas.api.winners._make", lambda _, wanted, **__: made.extend(wanted))
    made: list[Winner] = []
    export(run, finetune_epochs=1)
    names = [one.name for one in made]
    assert len(names) == len(set(names)) == 4
    assert next(one for one in made if one.name == bundle.name).picked_by == "macs < 9 M"


def picked_beside_none(folder: RunFolder) -> Path:
    first = next(iter(folder.load_front()))
    [bundle] = export_evaluations(folder, [first], bounds="macs < 9 M", finetune_epochs=0)
    assert load_manifest(bundle)["commands"][1] == "hwnas pick RUN 'macs < 9 M' --finetune-epochs 0"
    return bundle


def test_exported_again_they_are_as_they_were(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(run, winners=2, precisions=["fp16"], batch_size="dynamic", licence="CC0-1.0", opset=21)
    folder = open_run(run)
    before = load_winners(folder)
    assert len(before) == 2
    made: list[Winner] = []
    monkeypatch.setattr("hwnas.api.winners._make", lambda _, wanted, **__: made.extend(wanted))
    export_again(folder)
    assert made == before
    assert [one.among for one in made] == [2, 2]


def test_another_s_bundle_in_its_place_is_not_its_own(run: Path) -> None:
    first, second, *_ = load_winners(open_run(run))
    shutil.rmtree(run / first.bundle)
    shutil.copytree(run / second.bundle, run / first.bundle)
    export(run, precisions=["fp32", "int8"])
    assert load_manifest(run / first.bundle)["name"] == first.name
    assert load_manifest(run / first.bundle)["architecture"]["in_search"] == dict(first.architecture)


@pytest.mark.parametrize(
    ("weights", "start", "networks"),
    [("inherited", "inherited", 2), ("shared", "inherited", 1), ("inherited", "scratch", 1)],
)
def test_each_pair_of_network_and_precision_has_the_weights_that_the_search_gave_it(
    run: Path, tmp_path: Path, weights: str, start: str, networks: int
) -> None:
    settings = RunSettings(space_options={"width_mult": 0.1}, weights=weights, precisions=["fp32", "int8"])
    folder = RunFolder(tmp_path, settings)
    space = folder.space
    assert isinstance(space, MixedPrecision)
    known = load_winners(open_run(run))[0]
    pairs = [space.join(folder.network_space.smallest(), precision).to_json() for precision in ("fp32", "int8")]
    trainings = {_training(folder, replace(known, architecture=pair, start=start)) for pair in pairs}
    assert len(trainings) == networks


def test_no_winners_are_refused(run: Path) -> None:
    with pytest.raises(SettingsError, match="winners must be at least 1"):
        export(run, winners=0)
    assert (run / "verification.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precisions": ["int4"]}, "precision 'int4' does not exist"),
        ({"engine": "tensorflow"}, "engine 'tensorflow' does not exist"),
        ({"max_drop": -1}, "max_drop must be from 0 to 100"),
        ({"batch_size": 0}, 'batch_size must be at least 1, or "dynamic"'),
        ({"opset": 7}, "opset must be from"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_is_lost(
    run: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(HwnasError, match=said):
        export(run, **options)
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
    (run / "models" / "models.json").write_text('{"schema_version": 2, "models": [{"file": 3}]}')
    with pytest.raises(StoredFileError, match="must list exported models"):
        load_winners(open_run(run))


def test_winners_that_change_places_are_not_trained_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = ParetoFront.choose
    monkeypatch.setattr(ParetoFront, "choose", lambda front, count: choose(front, count)[::-1])
    monkeypatch.setattr("hwnas.api.winners.train_alone", None)
    folder = open_run(run)
    before = {one.description: load_network(folder, one).state_dict() for one in load_winners(folder)}
    order = [one.description for one in load_winners(folder)]
    export(run)
    after = load_winners(folder)
    assert [one.description for one in after] == order[::-1]
    for one in after:
        for name, value in load_network(folder, one).state_dict().items():
            assert torch.equal(value, before[one.description][name])
