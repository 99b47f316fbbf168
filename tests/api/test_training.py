"""The verb `train`: the supernet of a run, and architectures by themselves."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hwnas.api import train
from hwnas.api.architectures import find_architecture
from hwnas.api.run_folder import open_run
from hwnas.api.searching import search_run
from hwnas.api.training import (
    AloneSettings,
    accuracy_alone,
    check_training,
    evaluator_of,
    train_alone,
    training_method,
)
from hwnas.errors import ArchitectureError, RunError, SettingsError, StoredFileError, UnknownNameError
from hwnas.spaces import Architecture
from hwnas.training import load_supernet


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def change(run, **settings):
    """Writes a run.toml beside, for another run with these settings."""
    lines = [line for line in (run / "run.toml").read_text().splitlines() if line.split(" =")[0] not in settings]
    other = run.parent / "other"
    other.mkdir(exist_ok=True)
    top = [f"{name} = {value}" for name, value in settings.items() if not isinstance(value, dict)]
    body = "\n".join([*top, *lines])
    for name, value in settings.get("training", {}).items():
        body = "\n".join(line for line in body.splitlines() if not line.startswith(f"{name} ="))
        body = body.replace("[training]", f"[training]\n{name} = {value}")
    (other / "run.toml").write_text(body)
    return other


def state(path):
    return torch.load(path, weights_only=True)


def test_an_architecture_alone_from_inherited_weights_or_from_scratch(run):
    results = {}
    for start in ("inherited", "scratch"):
        place = train(run, architecture="smallest", start=start, epochs=1)
        results[start] = json.loads((place / "result.json").read_text())
        network = open_run(run).space.build(open_run(run).space.smallest())
        network.load_state_dict(state(place / "model.pt"))
        assert sum(parameter.numel() for parameter in network.parameters()) == results[start]["parameters"]
    assert results["inherited"]["architecture"] == results["scratch"]["architecture"]
    assert results["inherited"]["start"] == "inherited"
    assert results["inherited"]["test_accuracy"] != results["scratch"]["test_accuracy"]
    assert results["scratch"]["epochs"] == 1
    assert 0 < results["scratch"]["validation_accuracy"] < 1


def test_no_epochs_leave_the_inherited_weights(run):
    folder = open_run(run)
    place = train(run, architecture="largest", start="inherited", epochs=0)
    supernet = load_supernet(folder.space, folder.supernet)
    inherited = supernet.subnet(folder.space.largest()).state_dict()
    found = state(place / "model.pt")
    assert all(
        torch.equal(found[name], value)
        for name, value in inherited.items()
        if "running" not in name and "num_batches" not in name
    )


def test_distillation_changes_what_is_learnt(run):
    plain, taught = (
        state(train(run, architecture="smallest", epochs=1, distillation=weight) / "model.pt") for weight in (0.0, 0.7)
    )
    assert any(not torch.equal(plain[name], taught[name]) for name in plain)


def test_trained_again_it_is_only_read(run):
    place = train(run, architecture="smallest", epochs=1)
    before = (place / "checkpoint.pt").read_bytes()
    told = []
    train(run, architecture="smallest", epochs=1, on_progress=lambda *news: told.append(news))
    assert told == []
    assert (place / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": "scrach"}, '"inherited" or "scratch"'),
        ({"epochs": -1}, "epochs"),
        ({"distillation": 1.5}, "from 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(finished, given, message):
    with pytest.raises(SettingsError, match=message):
        AloneSettings.of(open_run(finished), **given)
    with pytest.raises(SettingsError, match="epochs"):
        AloneSettings.of(open_run(finished), start="scratch", epochs=0)


@pytest.mark.parametrize("given", [{"start": "scratch"}, {"epochs": 0}, {"distillation": 0.0}])
def test_what_belongs_to_an_architecture_is_refused_for_the_supernet(finished, given):
    with pytest.raises(SettingsError, match=f"{next(iter(given))} must be left out unless an architecture is trained"):
        train(finished, **given)


def test_an_architecture_of_another_space_or_without_such_choices_is_refused(finished):
    with pytest.raises(ArchitectureError, match="must belong to the space mobilenetv3, but its space is 'fbnet'"):
        train(finished, architecture=Architecture("fbnet", (0, 1)))
    with pytest.raises(ArchitectureError, match="must have 45 choices, but 2 came"):
        train(finished, architecture=Architecture("mobilenetv3", (0, 1)))


def test_the_run_folder_may_be_named(run, tmp_path):
    place = train(run / "run.toml", output=tmp_path / "named", architecture="smallest", start="scratch", epochs=1)
    assert place.parent == tmp_path / "named" / "architectures"
    assert open_run(tmp_path / "named").settings == open_run(run).settings


def test_files_are_named_by_choices_and_settings_and_never_too_long():
    own = AloneSettings("scratch", 3, 0.5)
    assert own.name(Architecture("space", (1, 20))) == "1-20-scratch-3-0.5"
    names = {own.name(Architecture("space", (*[1] * 299, last))) for last in range(3)}
    assert len(names) == 3
    assert max(map(len, names)) < 100


def test_a_network_is_scored_where_it_was_trained(monkeypatch):
    device = torch.device("meta")
    monkeypatch.setattr("hwnas.api.training.own_device", lambda _: device)
    monkeypatch.setattr("hwnas.api.training.accuracy", lambda network, *_, device: (network.weight.device, device))
    assert accuracy_alone(torch.nn.Linear(2, 2), None, None) == (device, device)


def test_a_supernet_of_other_settings_is_not_used(run):
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(text.replace("learning_rate = 0.1\n", "learning_rate = 0.2\n"))
    with pytest.raises(RunError, match=r"must be of training\.learning_rate = 0\.2, but it is of 0\.1\."):
        evaluator_of(open_run(run))
    (run / "run.toml").write_text(text.replace("seed = 0\n", "seed = 1\n"))
    with pytest.raises(RunError, match="must be of data_digest"):  # digits are split by the seed
        evaluator_of(open_run(run))


def test_what_a_training_without_preferences_finds_of_another_is_removed(run):
    (run / "preferred.json").write_text("{}")
    train(run)
    assert not (run / "preferred.json").exists()


def test_without_a_supernet_scratch_works_and_inherited_says_what_to_do(run):
    folder = open_run(run)
    folder.supernet.unlink()
    network = train_alone(folder, folder.space.smallest(), AloneSettings("scratch", 1, 0.0))
    assert not network.training
    with pytest.raises(StoredFileError, match="hwnas train"):
        train_alone(folder, folder.space.smallest(), AloneSettings("inherited", 1, 0.0))


@pytest.mark.parametrize(("start", "resolution", "warmup"), [("inherited", 1.0, 0.0), ("scratch", 0.5, 2.0)])
def test_inherited_weights_are_tuned_at_full_resolution(finished, monkeypatch, start, resolution, warmup):
    given = []
    monkeypatch.setattr(
        "hwnas.api.training.train_network", lambda network, data, settings, **_: given.append(settings) or network
    )
    folder = open_run(finished)
    evaluator = evaluator_of(folder)
    growing = replace(folder.settings.training, first_resolution=0.5, warmup_epochs=2.0)
    folder.settings = folder.settings.model_copy(update={"training": growing})
    train_alone(folder, folder.space.smallest(), AloneSettings(start, 3, 0.0), evaluator=evaluator)
    assert [(one.epochs, one.first_resolution, one.warmup_epochs) for one in given] == [(3, resolution, warmup)]


def test_a_method_that_weighs_latency_gets_that_of_the_table(run):
    from hwnas.api.scoring import make_objectives

    other = open_run(change(run, training={"method": '"differentiable"'}))
    check_training(other)
    objectives = make_objectives(other)
    method = training_method(other, objectives)
    latency = next(one for one in objectives if one.name.startswith("latency"))
    with torch.no_grad():
        for logit in method.logits:
            logit[0] = 100.0
    assert method.expected_latency_ms() == pytest.approx(latency.evaluate([other.space.smallest()])[0], rel=1e-3)


def test_what_a_differentiable_training_prefers_can_be_trained_alone(run):
    with pytest.raises(RunError, match="must hold a preferred architecture"):
        find_architecture(open_run(run), "preferred")
    other = change(run, training={"method": '"differentiable"', "epochs": "1"})
    train(other)
    preferred = json.loads((other / "preferred.json").read_text())
    folder = open_run(other)
    architecture = find_architecture(folder, "preferred")
    assert list(architecture.choices) == preferred["architecture"]["choices"]
    assert preferred["description"] == folder.space.describe(architecture)
    assert 0 < preferred["expected_latency_ms"] < 1e3


def test_a_method_that_cannot_be_used_is_refused_before_anything_slow(run):
    with pytest.raises(UnknownNameError, match="sandwich"):
        train(change(run, training={"method": '"sandwhich"'}))
    with pytest.raises(SettingsError, match="random_subnets"):
        train(change(run, training={"method_options": "{random_subnets = -1}"}))
    without = change(run, objectives='["error", "macs"]', training={"method": '"differentiable"'})
    with pytest.raises(SettingsError, match="must have a latency among the objectives"):
        train(without)
    assert not (without / "supernet.pt").exists()


def test_several_processes_do_not_search(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SettingsError, match="hwnas search must run in one process"):
        search_run(open_run(run))


def test_several_processes_train_the_supernet(run):
    other = change(run, training={"epochs": "1", "batch_size": "128"})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hwnas"]
    trained = subprocess.run(
        [*command, "train", str(other)], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("Supernet:") == 1
    folder = open_run(other)
    together = load_supernet(folder.space, folder.supernet).state_dict()
    alone = load_supernet(folder.space, Path(run) / "supernet.pt").state_dict()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=0.05, atol=0.02, msg=name)
