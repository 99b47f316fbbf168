"""What was measured of winners, put to the architectures of the search."""

import json
from pathlib import Path
from typing import Any

import pytest

from hwnas.api.measured import MeasuredLatency, measured_winners
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.errors import StoredFileError

LATENCY = {
    "predicted_ms": 2.0,
    "predicted_interval_ms": [1.8, 2.2],
    "measured_ms": 2.5,
    "measured_ci95_ms": [2.4, 2.6],
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, RunSettings(space_options={"width_mult": 0.1}, precisions=["fp32", "int8"]))


def file(stem: str, **changes: Any) -> dict[str, Any]:
    name = f"models/winner-1/{stem}.onnx"
    return {"file": name, "precision": stem[:4], "batch_size": 1, "test_accuracy": 0.875, "latency": {}} | changes


def write(run: RunFolder, **changes: Any) -> None:
    files = [
        file("fp32", test_accuracy=0.9),
        file("int8-image", test_accuracy=0.1),
        file("int8-symmetric", test_accuracy=0.2),
        file(
            "int8", latency={"one": LATENCY, "two": {**LATENCY, "measured_ms": None, "not_measured": "it is offline"}}
        ),
    ]
    entry = {"architecture": run.space.smallest().to_json(), "precision": "int8", "files": files, **changes}
    run.verification.write_text(json.dumps({"schema_version": 2, "models": [entry]}))


def test_a_winner_is_what_its_own_file_is(run: RunFolder) -> None:
    write(run)
    [winner] = measured_winners(run)
    assert (winner.architecture, winner.precision, winner.test_accuracy) == (run.space.smallest(), "int8", 0.875)
    assert winner.latency == {"one": MeasuredLatency(2.0, (1.8, 2.2), 2.5, (2.4, 2.6))}


def test_what_nothing_has_foretold_is_measured_all_the_same(run: RunFolder) -> None:
    unforetold = {**LATENCY, "predicted_ms": None, "predicted_interval_ms": None}
    write(run, files=[file("int8", latency={"one": unforetold})])
    [winner] = measured_winners(run)
    found = winner.latency["one"]
    assert (found.measured_ms, found.predicted_ms, found.error, found.is_outside) == (2.5, None, None, False)


def test_what_was_measured_on_another_batch_size_is_no_latency_of_the_search(run: RunFolder) -> None:
    write(run, files=[file("int8", batch_size=8, latency={"one": LATENCY})])
    [winner] = measured_winners(run)
    assert (winner.test_accuracy, winner.latency) == (0.875, {})


def test_without_a_verification_nothing_was_measured(run: RunFolder) -> None:
    assert measured_winners(run) == []


@pytest.mark.parametrize("broken", [{"files": []}, {"precision": "fp16"}, {"architecture": {"space": "other"}}])
def test_a_verification_of_another_form_is_refused(run: RunFolder, broken: dict[str, Any]) -> None:
    write(run, **broken)
    with pytest.raises(StoredFileError, match=r"must say what was measured.*hwnas verify"):
        measured_winners(run)


def test_predictions_miss_where_the_intervals_have_nothing_in_common() -> None:
    interval = (1.8, 2.2)
    measured = [MeasuredLatency(2.0, interval, ms, (ms - 0.1, ms + 0.1)) for ms in (1.6, 1.75, 2.0, 2.25, 2.4)]
    assert [one.is_outside for one in measured] == [True, False, False, False, True]
    assert MeasuredLatency(2.0, None, 2.01, (2.005, 2.02)).is_outside
    assert MeasuredLatency(2.0, interval, 2.5, (2.4, 2.6)).error == pytest.approx(0.2)
