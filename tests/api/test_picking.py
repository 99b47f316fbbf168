"""The verb `pick`."""

import json
import shutil
from pathlib import Path

import pytest

from hwnas.api import pick
from hwnas.api.run_folder import open_run
from hwnas.api.winners import load_winners
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


def test_what_was_measured_counts_before_what_was_predicted(run: Path) -> None:
    document = json.loads((run / "verification.json").read_text())
    for model in document["models"]:
        model["files"][0]["latency"]["local-cpu"]["measured_ms"] = 1e6
    slow = {tuple(model["architecture"]["choices"]) for model in document["models"]}
    (run / "verification.json").write_text(json.dumps(document))
    picked = pick(run, "latency@local-cpu < 1000 s", finetune_epochs=0)
    assert picked.evaluation.architecture.choices not in slow
    document["models"] = [{**document["models"][0], "files": document["models"][0]["files"]}]
    document["models"][0]["files"][0]["latency"]["local-cpu"]["measured_ms"] = 1e-6
    (run / "verification.json").write_text(json.dumps(document))
    picked = pick(run, "latency@local-cpu <= 0.001 us", finetune_epochs=0)
    assert picked.evaluation.architecture.to_json() == document["models"][0]["architecture"]
    assert picked.misses == ()
    assert picked.values["latency_ms@local-cpu"] == 1e-6
    assert "latency_ms@local-cpu" in picked.measured


def test_unknown_devices_and_empty_fronts_are_refused(run: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"device 'local-gpu' does not exist. Did you mean 'local-cpu'"):
        pick(run, "latency@local-gpu <= 1 ms")
    front = json.loads((run / "front.json").read_text())
    (run / "front.json").write_text(json.dumps({**front, "evaluations": []}))
    with pytest.raises(RunError, match="its front is empty"):
        pick(run, "macs <= 1 M")
