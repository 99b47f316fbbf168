"""Searches whose networks are each trained by themselves: the setting `weights` in all verbs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hwnas.api import audit, export, search, train
from hwnas.api.run_folder import open_run
from hwnas.api.winner_list import load_winners
from hwnas.api.winners import load_network
from hwnas.errors import RunError, SettingsError, StoredFileError
from hwnas.training import accuracy

GIVEN: dict[str, Any] = {
    "space": "convnet",
    "space_options": {"width_mult": 0.25},
    "objectives": ["error", "parameters"],
    "strategy": "lemonade",
    "strategy_options": {"first_networks": 2, "proposals": 8, "children": 3},
    "evaluations": 8,
    "weights": "inherited",
    "network_epochs": 1,
    "winners": 2,
    "finetune_epochs": 0,
    "training": {"batch_size": 128, "learning_rate": 0.05},
}


def evaluations(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()[1:]]


def outcome(folder: Path) -> list[tuple[Any, Any]]:
    return [(one["architecture"], one["values"]) for one in evaluations(folder)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    search(output=folder, **GIVEN)
    return folder


def test_each_network_is_kept_with_its_parent_and_no_supernet_is_trained(searched: Path) -> None:
    run = open_run(searched)
    assert not run.supernet.exists()
    kept = [torch.load(path, weights_only=True) for path in sorted(run.networks.iterdir())]
    assert len(kept) == len(evaluations(searched)) == 8
    parents = [one["identity"]["parent"] for one in kept]
    assert parents.count(None) == 2
    choices = [one["architecture"]["choices"] for one in evaluations(searched)]
    assert all(parent is None or parent in choices for parent in parents)


def test_stopped_and_gone_on_with_it_is_the_same(searched: Path, tmp_path: Path) -> None:
    """With a torn line, and without the networks that were trained after it."""
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    lines = (folder / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "evaluations.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    (folder / "search_log.jsonl").unlink()
    late = {json.dumps(one["architecture"]["choices"]) for one in evaluations(searched)[5:]}
    for path in (folder / "networks").iterdir():
        if json.dumps(torch.load(path, weights_only=True)["identity"]["choices"]) in late:
            path.unlink()
    search(output=folder, **GIVEN)
    assert outcome(folder) == outcome(searched)
    assert (folder / "front.json").read_bytes() == (searched / "front.json").read_bytes()


def test_a_winner_starts_from_the_network_that_the_search_has_trained(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    export(folder)
    run = open_run(folder)
    winners = load_winners(run)
    assert winners
    for winner in winners:
        error = 1 - accuracy(load_network(run, winner), run.data, run.data.validation)
        assert error == pytest.approx(winner.values["error"], abs=1e-3)


def test_one_architecture_is_trained_on_from_there(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    trained = json.loads((train(folder, architecture="front:1", epochs=1) / "result.json").read_text())
    assert (trained["start"], trained["epochs"]) == ("inherited", 1)
    with pytest.raises(StoredFileError, match=r"must hold the network of w0\.25 d"):
        train(folder, architecture="largest", epochs=1)


def test_scratch_gives_every_network_random_weights(tmp_path: Path) -> None:
    given = {**GIVEN, "weights": "scratch", "strategy": "nash", "strategy_options": {"children": 2}, "evaluations": 3}
    search(output=tmp_path / "run", **given)
    kept = [torch.load(path, weights_only=True) for path in (tmp_path / "run" / "networks").iterdir()]
    assert [one["identity"]["parent"] for one in kept] == [None] * 3


@pytest.mark.parametrize("verb", [audit, train])
def test_verbs_that_need_a_supernet_say_so(verb, searched: Path) -> None:
    said = r'must have weights = "shared" to have a supernet, but it has weights = "inherited"'
    with pytest.raises(SettingsError, match=said):
        verb(searched)


@pytest.mark.parametrize("change", [{"weights": "scratch"}, {"network_epochs": 2}])
def test_other_weights_in_the_same_folder_are_refused(change: dict[str, Any], searched: Path) -> None:
    with pytest.raises(RunError, match=f"must be of {next(iter(change))} = "):
        search(output=searched, **{**GIVEN, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "own"}, "search: weights must be usable, but 'own' came"),
        ({"network_epochs": 0}, "search: network_epochs must be usable, but 0 came"),
        ({"distillation": 0.5}, r'distillation must be 0 unless weights = "shared", .* but 0.5 came'),
        ({"training": {"batch_size": 5000}}, "training.batch_size must be at most 1079"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_begins(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        search(output=tmp_path / "run", **{**GIVEN, **change})
    assert not (tmp_path / "run").exists()
