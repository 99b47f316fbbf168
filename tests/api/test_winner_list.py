"""The list of winners, and what was found of them."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.api.winner_list import (
    Winner,
    commands_of,
    forget_findings,
    free_name,
    is_whole,
    known_winners,
    load_winners,
    save_winners,
    verified_bundles,
)
from hwnas.bundles import listed_file, load_manifest, write_manifest
from hwnas.errors import RunError

WINNER = Winner(
    "winner-1",
    "models/winner-1",
    {"space": "toy", "choices": [0, 1]},
    "a toy",
    "fp32",
    {"error": 0.5},
    5,
    "inherited",
    0.0,
    BundleOptions(("fp32",), batch_size=None, licence="CC $BY 'me'").to_json(),
    among=3,
)
PICKED = replace(WINNER, name="winner-4", among=None, picked_by="macs < 9 M and error < 5 %", finetune_epochs=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, RunSettings())


def told(run: RunFolder, **documents: dict[str, Any]) -> None:
    for name, document in documents.items():
        (run.path / f"{name}.json").write_text(json.dumps(document))
    run.report.write_text("report")


def verification(*names: str) -> dict[str, Any]:
    return {"schema_version": 2, "models": [{"name": name, "bundle": f"models/{name}"} for name in names]}


def test_winners_are_read_as_they_were_written(run: RunFolder) -> None:
    assert known_winners(run) == []
    with pytest.raises(RunError, match="must hold exported models"):
        load_winners(run)
    save_winners(run, [WINNER, PICKED])
    first, second = load_winners(run)
    assert vars(first) == vars(WINNER)
    assert vars(second) == vars(PICKED)
    assert (first.is_exported, second.is_exported) == (True, False)


def test_an_older_list_is_of_exported_winners(run: RunFolder) -> None:
    save_winners(run, [WINNER])
    document = json.loads(run.manifest.read_text())
    for entry in document["models"]:
        del entry["among"], entry["picked_by"]
    run.manifest.write_text(json.dumps(document))
    [found] = load_winners(run)
    assert (found, found.is_exported) == (WINNER, True)


def test_names_are_given_once() -> None:
    assert free_name([]) == "winner-1"
    assert free_name([WINNER, PICKED]) == "winner-2"


def test_the_commands_make_the_bundle_again() -> None:
    first, export, last = commands_of(WINNER, WINNER)
    assert (first, last) == ("hwnas search run.toml", "hwnas verify RUN")
    asked = "hwnas export RUN --winners 3 --finetune-epochs 5 --precision fp32 --batch-size dynamic --max-drop 0.5 --licence"
    assert shlex.split(export) == [*asked.split(), "CC $BY 'me'"]
    assert commands_of(PICKED, WINNER)[1] == export
    pick = ["hwnas", "pick", "RUN", "macs < 9 M and error < 5 %", "--finetune-epochs", "2"]
    assert shlex.split(commands_of(PICKED, WINNER)[2]) == pick
    assert [shlex.split(one) for one in commands_of(PICKED, None)[1:-1]] == [pick]


@pytest.mark.parametrize(
    "changed",
    [
        {"architecture": {"space": "toy", "choices": [0, 2]}},
        {"finetune_epochs": 6},
        {"options": {**WINNER.options, "opset": 19}},
        {"name": "winner-2"},
    ],
)
def test_a_bundle_is_that_of_its_winner_alone(run: RunFolder, changed: dict[str, Any]) -> None:
    bundle = run.path / WINNER.bundle
    bundle.mkdir(parents=True)
    assert not is_whole(run, WINNER)
    about = {
        "name": WINNER.name,
        "architecture": {"in_search": dict(WINNER.architecture), "description": ""},
        "training": WINNER.training,
    }
    scaled = {"scale": 255.0, "mean": [0.5], "std": [0.5]}
    test_data = {"sha256": "", "images": 9, "shape": [8, 8, 1], "dtype": "uint8"}
    others = {"task": "", "labels": [], "input": scaled, "precision": "fp32", "test_data": test_data, "devices": {}}
    (bundle / "reference.npz").write_bytes(b"logits")
    files = {"reference.npz": listed_file(bundle / "reference.npz")}
    write_manifest(bundle, {**others, **about, "options": dict(WINNER.options), "files": files})
    assert load_manifest(bundle)["name"] == WINNER.name
    assert is_whole(run, WINNER)
    assert not is_whole(run, replace(WINNER, **changed))
    (bundle / "verify.py").write_text("rubbish")
    assert not is_whole(run, WINNER)


def test_what_was_found_of_others_stays(run: RunFolder) -> None:
    told(run, verification=verification("winner-1", "winner-2"), comparison=comparison("winner-2"))
    before = run.verification.read_bytes()
    forget_findings(run, [PICKED])
    assert run.verification.read_bytes() == before
    assert verified_bundles(run) == ["models/winner-1", "models/winner-2"]
    assert run.report.exists()
    forget_findings(run, [WINNER])
    assert verified_bundles(run) == ["models/winner-2"]
    assert run.comparison.exists()
    assert not run.report.exists()


def comparison(*names: str) -> dict[str, Any]:
    return {"schema_version": 1, "winners": [{"name": name} for name in names]}


def test_a_comparison_goes_with_one_of_those_that_it_is_of(run: RunFolder) -> None:
    told(run, verification=verification("winner-1"), comparison=comparison("winner-1", "winner-2"))
    forget_findings(run, [WINNER])
    assert not run.comparison.exists()
    assert not run.verification.exists()
    assert verified_bundles(run) == []


def test_what_cannot_be_read_is_worth_nothing(run: RunFolder) -> None:
    run.verification.write_text("{torn")
    run.comparison.write_text("{}")
    forget_findings(run, [])
    assert run.verification.exists()
    forget_findings(run, [WINNER])
    assert not run.verification.exists()
    assert not run.comparison.exists()
