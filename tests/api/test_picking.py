"""The verb `pick`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hwnas.api import pick
from hwnas.api.run_folder import open_run
from hwnas.api.winner_list import load_winners
from hwnas.errors import RunError, UnknownNameError


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_the_most_accurate_that_keeps_the_bounds_is_exported(run: Path) -> None:
    front = open_run(run).load_front()
    macs = sorted(one.values["macs"] for one in front)[len(front) // 2]
    (run / "verification.json").unlink()
    before = {one.file for one in load_winners(open_run(run))}
    picked = pick(run, f"macs <= {macs} and error <= 100 %", finetune_epochs=0)
    expected = min((one for one in front if one.values["macs"] <= macs), key=lambda one: one.values["error"])
    assert picked.evaluation.values == expected.values
    assert picked.misses == ()
    assert picked.measured == frozenset()
    assert picked.path.exists()
    assert before < {one.file for one in load_winners(open_run(run))} or picked.path.name in str(before)
    again = pick(run, f"macs <= {macs}", finetune_epochs=0)
    assert again.path == picked.path


def test_where_none_keeps_them_the_nearest_miss_says_by_how_much(run: Path) -> None:
    front = open_run(run).load_front()
    least = min(one.values["macs"] for one in front)
    picked = pick(run, f"macs <= {least / 2}", finetune_epochs=0)
    assert picked.evaluation.values["macs"] == least
    [miss] = picked.misses
    assert miss.startswith("macs is ")
    assert "100.0% above" in miss


def with_latency(run: Path, first_ms: float, others_ms: float) -> dict[str, Any]:
    """Says that the first verified model took so long, and the others that; returns the first."""
    document = json.loads((run / "verification.json").read_text())
    for place, model in enumerate(document["models"]):
        own = next(one for one in model["files"] if one["file"].endswith("/fp32.onnx"))
        own["latency"]["local-cpu"]["measured_ms"] = others_ms if place else first_ms
    (run / "verification.json").write_text(json.dumps(document))
    first: dict[str, Any] = document["models"][0]
    return first


def test_what_was_measured_counts_before_what_was_predicted(run: Path) -> None:
    slow = {tuple(one.architecture["choices"]) for one in load_winners(open_run(run))}
    with_latency(run, 1e6, 1e6)
    picked = pick(run, "latency@local-cpu < 1000 s", finetune_epochs=0)
    assert picked.evaluation.architecture.choices not in slow
    assert picked.measured == frozenset()


def test_the_bundle_that_was_verified_is_picked_as_it_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though run.toml says other epochs than the winners were exported with."""
    settings = run / "run.toml"
    settings.write_text(settings.read_text().replace("finetune_epochs = 1", "finetune_epochs = 5"))
    assert "finetune_epochs = 5" in settings.read_text()
    monkeypatch.setattr("hwnas.api.winners.train_alone", lambda *_, **__: pytest.fail("it trained"))
    fast = with_latency(run, 1e-6, 1e6)
    said = (run / "verification.json").read_bytes()
    picked = pick(run, "latency@local-cpu <= 0.001 us")
    assert picked.evaluation.architecture.to_json() == fast["architecture"]
    assert picked.path == run / fast["bundle"]
    assert picked.misses == ()
    assert picked.values["latency_ms@local-cpu"] == 1e-6
    assert picked.measured == {"error", "latency_ms@local-cpu"}
    assert (run / "verification.json").read_bytes() == said


def test_what_was_measured_of_another_training_is_not_said_of_a_new_bundle(run: Path) -> None:
    fast = with_latency(run, 1e-6, 1e6)
    said = (run / "verification.json").read_bytes()
    picked = pick(run, "latency@local-cpu <= 0.001 us", finetune_epochs=0)
    assert picked.evaluation.architecture.to_json() == fast["architecture"]
    assert picked.path != run / fast["bundle"]
    assert picked.measured == frozenset()
    assert picked.values["latency_ms@local-cpu"] > 1e-3
    assert len(picked.misses) == 1
    assert (run / "verification.json").read_bytes() == said


def test_parameters_may_be_bounded_though_the_search_did_not_look_at_them(run: Path) -> None:
    folder = open_run(run)
    space, front = folder.network_space, folder.load_front()
    counts = {
        one.architecture: sum(space.counts[operator].parameters for operator in space.operators(one.architecture))
        for one in front
    }
    limit = sorted(counts.values())[len(counts) // 2]
    picked = pick(run, f"parameters <= {limit}", finetune_epochs=0)
    assert picked.values["parameters"] == counts[picked.evaluation.architecture] <= limit
    assert "parameters" not in picked.evaluation.values


def test_unknown_devices_and_empty_fronts_are_refused(run: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"device 'local-gpu' does not exist. Did you mean 'local-cpu'"):
        pick(run, "latency@local-gpu <= 1 ms")
    front = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(json.dumps({**front, "evaluations": []}))
    with pytest.raises(RunError, match="its front is empty"):
        pick(run, "macs <= 1 M")
