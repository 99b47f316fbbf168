"""The verbs `search` and `train`."""

import importlib.util
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from hwnas.api import search, train
from hwnas.errors import (
    InfeasibleError,
    RunError,
    SettingsError,
    StoredFileError,
    TableMismatchError,
    TableQualityError,
    UnknownNameError,
)
from hwnas.files import exclusive
from hwnas.front import non_dominated
from hwnas.latency import load_table, save_table
from hwnas.spaces import MobileNetV3
from hwnas.strategies import NSGA2

from .conftest import SETTINGS


def values(folder: Path) -> list[dict[str, float]]:
    return [one["values"] for one in json.loads((folder / "front.json").read_text())["evaluations"]]


def test_the_front_is_the_non_dominated_part_of_the_evaluations(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "evaluations.jsonl").read_text().splitlines()]
    header, evaluations = lines[0], lines[1:]
    assert header["schema_version"] == 1
    assert len(evaluations) == 20
    names = ["error", "macs", "latency_ms@local-cpu"]
    rows = np.array([[one["values"][name] for name in names] for one in evaluations])
    expected = sorted(map(tuple, np.unique(rows[non_dominated(rows)], axis=0).tolist()))
    assert sorted(tuple(one[name] for name in names) for one in values(finished)) == expected


def test_front_json_has_the_keys_that_other_programs_read(finished: Path) -> None:
    document = json.loads((finished / "front.json").read_text())
    assert document["schema_version"] == 1
    assert [(o["name"], o["unit"], o["direction"]) for o in document["objectives"]] == [
        ("error", "fraction", "minimize"),
        ("macs", "MACs", "minimize"),
        ("latency_ms@local-cpu", "ms", "minimize"),
    ]
    first = document["evaluations"][0]
    assert first["architecture"]["space"] == "mobilenetv3"
    assert len(first["architecture"]["choices"]) == 45


def test_hypervolume_is_logged_each_generation(finished: Path) -> None:
    log = [json.loads(line) for line in (finished / "search_log.jsonl").read_text().splitlines()]
    assert [entry["generation"] for entry in log] == list(range(1, len(log) + 1))
    assert log[-1]["evaluations"] == 20
    volumes = [entry["hypervolume"] for entry in log]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 0


def test_run_again_it_does_nothing_anew(finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    again = tmp_path / "run"
    shutil.copytree(finished, again)
    before = {path: path.read_bytes() for path in again.iterdir() if path.is_file() and path.name != "stages.jsonl"}
    with caplog.at_level(logging.INFO, logger="hwnas"):
        search(output=again, tables=finished.parent / "tables", **SETTINGS)
    said = caplog.text
    assert "Nothing to measure" in said
    assert "Nothing to train" in said
    assert "after 20 of 20 evaluations" in said
    assert {path: path.read_bytes() for path in before} == before


def test_stopped_in_the_search_and_gone_on_with_gives_the_same(finished: Path, tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "resumed"
    shutil.copytree(finished, folder)
    lines = (finished / "evaluations.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "evaluations.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:30])
    for name in ("front.json", "search_log.jsonl"):
        (folder / name).unlink()
    search(output=folder, tables=tables, **SETTINGS)
    assert json.loads((folder / "front.json").read_text()) == json.loads((finished / "front.json").read_text())

    def architectures(run: Path) -> list[object]:
        return [json.loads(line)["architecture"] for line in (run / "evaluations.jsonl").read_text().splitlines()[1:]]

    assert architectures(folder) == architectures(finished)


def test_the_same_seed_gives_the_same_front_and_another_does_not(finished: Path, tables: Path, tmp_path: Path) -> None:
    search(output=tmp_path / "again", tables=tables, **SETTINGS)
    search(output=tmp_path / "other", tables=tables, **{**SETTINGS, "seed": 1})
    assert values(tmp_path / "again") == values(finished)
    assert values(tmp_path / "other") != values(finished)


def test_several_processes_give_the_same_front_and_go_on_for_each_other(
    finished: Path, tables: Path, tmp_path: Path
) -> None:
    search(output=tmp_path / "run", tables=tables, **{**SETTINGS, "evaluations": 11, "workers": 2})
    search(output=tmp_path / "run", tables=tables, **SETTINGS)
    assert values(tmp_path / "run") == values(finished)
    assert (tmp_path / "run" / "strategy_state.json").exists()


@pytest.mark.parametrize("address", ["ray://nohost.invalid:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_refused_before_anything_is_measured(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(SettingsError, match=f"workers = {address} must be .* nothing answers there"):
        search(output=tmp_path / "run", tables=tmp_path / "t", **{**SETTINGS, "workers": address})
    assert list(tmp_path.iterdir()) == []


def test_other_settings_in_the_same_folder_are_refused(finished: Path, tables: Path) -> None:
    with pytest.raises(RunError, match=r"must be of seed = 3, but its results are of 0"):
        search(output=finished, tables=tables, **{**SETTINGS, "seed": 3})


def test_evaluations_of_another_table_are_refused(finished: Path, tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    other = tmp_path / "tables"
    shutil.copytree(tables, other)
    path = next(other.rglob("*.json"))
    table = load_table(path)
    operator, found = next(iter(table.entries.items()))
    slower = replace(found, latency_ms=found.latency_ms + 1, ci95_ms=(found.ci95_ms[0], found.ci95_ms[1] + 1))
    save_table(replace(table, entries={**table.entries, operator: slower}), path)
    with pytest.raises(RunError, match="operator_costs"):
        search(output=folder, tables=other, **SETTINGS)


def test_a_table_of_too_low_a_quality_wants_force(finished: Path, tables: Path, tmp_path: Path) -> None:
    other = tmp_path / "tables"
    shutil.copytree(tables, other)
    path = next(other.rglob("*.json"))
    table = load_table(path)
    assert table.quality is not None
    poor = replace(table.quality, networks=10, calibrated=replace(table.quality.calibrated, spearman=0.4))
    save_table(replace(table, quality=poor), path)
    with pytest.raises(TableQualityError, match=r"Spearman 0\.40, below 0\.8.*--force"):
        search(output=tmp_path / "run", tables=other, **SETTINGS)
    assert len(search(output=tmp_path / "run", tables=other, force=True, **SETTINGS)) > 0


def test_a_table_of_another_environment_wants_accept_stale(finished: Path, tables: Path, tmp_path: Path) -> None:
    other = tmp_path / "tables"
    shutil.copytree(tables, other)
    path = next(other.rglob("*.json"))
    table = load_table(path)
    save_table(replace(table, fingerprint={**table.fingerprint, "governor": "powersave"}), path)
    with pytest.raises(TableMismatchError, match=r"governor was powersave and is .*--accept-stale"):
        search(output=tmp_path / "run", tables=other, **SETTINGS)
    assert len(search(output=tmp_path / "run", tables=other, accept_stale=True, **SETTINGS)) > 0


def test_bounds_are_kept(tables: Path, tmp_path: Path, finished: Path) -> None:
    middle = float(np.median([one["macs"] for one in values(finished)]))
    front = search(output=tmp_path / "run", tables=tables, **{**SETTINGS, "bounds": {"macs": middle}})
    assert len(front) > 0
    assert all(one.values["macs"] <= middle for one in front)


def test_a_bound_that_nothing_meets_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="nearest that can be met is macs = "):
        search(output=tmp_path / "run", tables=tmp_path / "t", **{**SETTINGS, "bounds": {"macs": 10}})
    assert list(tmp_path.iterdir()) == []


def test_after_a_refused_bound_a_higher_one_is_taken(tables: Path, tmp_path: Path) -> None:
    short = {**SETTINGS, "objectives": ["macs", "latency@local-cpu"], "evaluations": 8}
    with pytest.raises(InfeasibleError):
        search(output=tmp_path / "run", tables=tables, **{**short, "bounds": {"latency@local-cpu": 1e-6}})
    assert len(search(output=tmp_path / "run", tables=tables, **{**short, "bounds": {"latency@local-cpu": 9.0}})) > 0


def test_a_search_that_found_nothing_says_so(tables: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "bounds": {"error": 1e-9}, "evaluations": 4}
    with pytest.raises(InfeasibleError, match=r"none of 4 meets them all; the lowest values seen are error = "):
        search(output=tmp_path / "run", tables=tables, **settings)


def test_two_processes_do_not_share_a_run(tables: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(StoredFileError, match="another is at work"):
        search(output=tmp_path / "run", tables=tables, **SETTINGS)


def test_a_latency_bound_that_nothing_meets_is_refused_before_training(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="latency_ms@local-cpu"):
        search(output=tmp_path / "run", tables=tables, **{**SETTINGS, "bounds": {"latency@local-cpu": 1e-6}})
    assert not (tmp_path / "run" / "supernet.pt").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"objectives": ["eror"]}, "Did you mean 'error'"),
        ({"objectives": ["error", "latency@local-cpuu"]}, "Did you mean 'local-cpu'"),
        ({"strategy": "nsag2"}, "Did you mean 'nsga2'"),
        ({"strategy_options": {"population": 8}}, "Did you mean 'population_size'"),
        ({"space": "mobilnet"}, "Did you mean 'mobilenetv3'"),
        ({"space_options": {"widthmult": 1}}, "Did you mean 'width_mult'"),
        ({"data": "digit"}, "Did you mean 'digits'"),
        ({"bounds": {"latency@rpi": 3}}, "Did you mean 'latency@local-cpu'"),
        ({"training": {"epoch": 3}}, "Did you mean 'epochs'"),
    ],
)
def test_unknown_names_name_the_nearest(setting: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=said):
        search(output=tmp_path / "run", **{**SETTINGS, **setting})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"bounds": {"macs": -1}}, "must be above 0"),
        ({"bounds": {"macs": float("inf")}}, "finite"),
        ({"training": {"epochs": True}}, "epochs"),
        ({"training": {"epochs": "16"}}, "epochs"),
        ({"training": {"batch_size": 5000}}, "at most 1079"),
        ({"measurement": {"rounds": 0}}, "rounds"),
        ({"measurement": {"target": 7.0}}, "target"),
        ({"seed": 2**70}, "seed"),
        ({"image_size": 32}, "image_size"),
        ({"objectives": ["error", "error"]}, "stands twice"),
        ({"objectives": []}, "objectives"),
        ({"evaluations": 0}, "evaluations"),
        ({"space_options": {"width_mult": 99}}, "from 0.05 to 16"),
        ({"training": {"epochs": -1}}, "training.epochs"),
        ({"training": {"epochs": "many"}}, "epochs"),
        ({"precisions": ["fp64"]}, "precisions"),
        ({"precisions": []}, "precisions"),
        ({"precisions": ["int8", "int8"]}, "'int8' stands twice"),
    ],
)
def test_values_out_of_range_are_refused(setting: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        search(output=tmp_path / "run", tables=tmp_path / "t", **{**SETTINGS, **setting})


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"precision": "fp16"}, "must be fp32 or bf16 on a CPU"),
        ({"method": "differentiable", "batch_size": 1000}, "at most 863, the images to train on"),
    ],
)
def test_what_a_training_would_refuse_is_refused_before_anything_is_measured(
    training: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=said):
        search(output=tmp_path / "run", tables=tmp_path / "t", **{**SETTINGS, "training": training})
    assert list(tmp_path.iterdir()) == []


def test_objects_from_python(tables: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 1, 8, 8), generator=generator, dtype=torch.uint8)
    dataset = TensorDataset(images, torch.arange(60) % 3)
    space = MobileNetV3((1, 8, 8), 3, width_mult=0.1)
    keywords = {
        **SETTINGS,
        "space": space,
        "space_options": None,
        "data": dataset,
        "strategy": NSGA2,
        "strategy_options": None,
        "objectives": ["error", "parameters"],
        "evaluations": 6,
        "training": {"epochs": 1, "batch_size": 16},
    }
    front = search(output=tmp_path / "run", tables=tables, **keywords)
    assert len(front) > 0
    with pytest.raises(RunError, match="Call the verb from Python"):
        train(tmp_path / "run")
    assert train(tmp_path / "run", space=space, data=dataset) == tmp_path / "run" / "supernet.pt"


def test_a_space_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be for images"):
        search(output=tmp_path / "run", **{**SETTINGS, "space": MobileNetV3((3, 32, 32), 10), "space_options": None})
