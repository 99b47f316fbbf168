"""The verb `compare`."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hwnas.api import compare, comparing, open_run
from hwnas.api.comparing import _dominating
from hwnas.errors import DeviceError, ExportError, HwnasError, RunError, TrainingError, UnknownNameError

NAMES = ["mobilenet_v3_small:0.1", "mobilenet_v3_large:0.1"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("supernet.pt"))
    return tmp_path / "run"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Baselines that need no training: copies of a winner; returns the names of those that were asked for."""
    asked: list[str] = []

    def train(run: Any, baseline: Any, budget: Any, options: Any, **_: Any) -> list[dict[str, Any]]:
        asked.append(baseline.name)
        path = run.baselines / baseline.slug / "fp32.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(run.models.glob("*/fp32.onnx")), path)
        costs = {"test_accuracy": 0.01, "macs": 1, "parameters": 2, "size_bytes": 3}
        return [{"name": baseline.name, "precision": "fp32", "file": path.relative_to(run.path).as_posix(), **costs}]

    monkeypatch.setattr(comparing, "train_baseline", train)
    return asked


def entry(name: str, accuracy: float, latency_ms: float | None) -> Mapping[str, Any]:
    return {"name": name, "test_accuracy": accuracy, "latency": {"board": {"measured_ms": latency_ms}}}


def test_winners_and_baselines_are_trained_measured_and_stored_together(run: Path) -> None:
    stages: set[str] = set()
    document = compare(run, baselines=NAMES[:1], on_progress=lambda stage, *_: stages.add(stage))
    assert document == json.loads((run / "comparison.json").read_text())
    assert (document["schema_version"], document["device"]) == (1, "local-cpu")
    verified = {one["name"]: one for one in json.loads((run / "verification.json").read_text())["models"]}
    for winner in document["winners"]:
        known = verified[winner["name"]]
        own = next(one for one in known["files"] if one["file"] == winner["file"])
        assert [winner[key] for key in ("test_accuracy", "size_bytes")] == [own["test_accuracy"], own["size_bytes"]]
        assert [winner[key] for key in ("macs", "parameters")] == [known["macs"], known["parameters"]]
    (baseline,) = document["baselines"]
    assert baseline["name"] == "mobilenet_v3_small (width 0.1)"
    assert (run / baseline["file"]).stat().st_size == baseline["size_bytes"]
    for one in (*document["winners"], baseline):
        low, high = one["latency"]["local-cpu"]["measured_ci95_ms"]
        assert 0 < low <= one["latency"]["local-cpu"]["measured_ms"] <= high
    assert document["budget"]["epochs"] == document["budget"]["settings"]["epochs"] == 2
    assert {"training baseline 1 of 1", "measuring models"} <= stages


def test_a_family_comes_in_the_widths_nearest_to_the_winners_and_nothing_twice(run: Path, quick: list[str]) -> None:
    document = compare(run, baselines=["mobilenet_v3_small", NAMES[0]])
    assert 1 <= len(quick) == len(set(quick)) <= 3
    assert quick.count("mobilenet_v3_small (width 0.1)") == 1
    assert [one["name"] for one in document["baselines"]] == quick


def test_a_winner_dominates_what_is_less_accurate_and_no_faster(run: Path, quick: list[str]) -> None:
    document = compare(run, baselines=NAMES[:1])
    (baseline,) = document["baselines"]
    slower = [
        one
        for one in document["winners"]
        if one["latency"]["local-cpu"]["measured_ms"] <= baseline["latency"]["local-cpu"]["measured_ms"]
    ]
    best = max(slower, key=lambda one: float(one["test_accuracy"]), default={"name": None})
    assert baseline["dominated_by"] == {"local-cpu": best["name"]}
    assert all(one["dominated_by"] == {"local-cpu": None} for one in document["winners"])


def test_who_dominates() -> None:
    one = entry("one", 0.9, 1.0)
    assert _dominating(one, [entry("equal", 0.9, 1.0), entry("slower", 0.95, 1.1)], "board") is None
    assert _dominating(one, [entry("faster", 0.9, 0.5), entry("better", 0.92, 1.0)], "board") == "better"
    assert _dominating(one, [entry("unmeasured", 0.99, None)], "board") is None
    assert _dominating(entry("unmeasured", 0.5, None), [entry("unmeasured too", 0.9, None)], "board") is None


def test_a_device_that_is_gone_is_said_to_be_and_costs_no_training(
    run: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(device: Any) -> None:
        raise DeviceError(f"Device {device.name}", "must answer", came="it does not")

    monkeypatch.setattr(comparing, "connect", gone)
    with pytest.raises(DeviceError, match="must answer"):
        compare(run, baselines=NAMES)
    assert quick == ["mobilenet_v3_small (width 0.1)", "mobilenet_v3_large (width 0.1)"]
    assert not (run / "comparison.json").exists()
    connect = comparing.connect
    monkeypatch.undo()
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(text.replace('"latency@local-cpu"]', '"latency@local-cpu", "latency@browser"]'))
    there = comparing.connect
    monkeypatch.setattr(comparing, "connect", lambda one: (connect if one.name == "browser" else there)(one))
    monkeypatch.setattr(comparing, "_train_all", lambda *_: ([], {}))
    document = compare(run, baselines=NAMES)
    for winner in document["winners"]:
        assert winner["latency"]["local-cpu"]["not_measured"] is None
        assert winner["latency"]["browser"]["measured_ms"] is None
        assert "it does not" in winner["latency"]["browser"]["not_measured"]


@pytest.mark.parametrize(
    "error",
    [
        TrainingError("Training", "must have a finite loss", came="it is nan"),
        ExportError("fp32.onnx", "must give torch's outputs", came="they are 0.1 apart"),
    ],
)
def test_a_baseline_that_fails_is_left_out_and_named(
    run: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch, error: HwnasError
) -> None:
    trains = comparing.train_baseline

    def diverge(run: Any, baseline: Any, *given: Any, **named: Any) -> list[dict[str, Any]]:
        if baseline.family == "mobilenet_v3_small":
            raise error
        return trains(run, baseline, *given, **named)

    monkeypatch.setattr(comparing, "train_baseline", diverge)
    document = compare(run, baselines=NAMES)
    assert [one["name"] for one in document["baselines"]] == ["mobilenet_v3_large (width 0.1)"]
    assert document["failed"] == {"mobilenet_v3_small (width 0.1)": str(error)}
    assert json.loads((run / "comparison.json").read_text())["failed"] == document["failed"]


def test_bad_names_and_missing_models_are_refused_first(run: Path, quick: list[str]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenet_v2'"):
        compare(run, baselines=[NAMES[0], "mobilenetv2"])
    shutil.rmtree(open_run(run).models)
    with pytest.raises(RunError, match="hwnas export"):
        compare(run)
    assert quick == []
