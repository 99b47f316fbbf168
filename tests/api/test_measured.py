"""What was measured of winners, put to the architectures of the search."""

import json
from pathlib import Path
from typing import Any

import pytest

from hwnas.api.measured import MeasuredLatency, measured_winners
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.errors import StoredFileError
from hwnas.spaces import MixedPrecision

LATENCY = {
    "predicted_ms": 2.0,
    "predicted_interval_ms": [1.8, 2.2],
    "measured_ms": 2.5,
    "measured_ci95_ms": [2.4, 2.6],
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, RunSettings(space_options={"width_mult": 0.1}, precisions=["fp32", "int8"]))


def write(run: RunFolder, **changes: Any) -> None:
    files = [
        {"precision": "fp32", "image_input": False, "test_accuracy": 0.9, "latency": {}},
        {"precision": "int8", "image_input": True, "test_accuracy": 0.1, "latency": {}},
        {
            "precision": "int8",
            "image_input": False,
            "test_accuracy": 0.875,
            "latency": {"one": LATENCY, "two": {**LATENCY, "measured_ms": None, "not_measured": "it is offline"}},
        },
    ]
    entry = {"architecture": run.space.smallest().to_json(), "precision": "int8", "files": files, **changes}
    run.verification.write_text(json.dumps({"schema_version": 2, "models": [entry]}))


def test_a_winner_is_what_its_own_file_is(run: RunFolder) -> None:
    write(run)
    [winner] = measured_winners(run)
    assert (winner.architecture, winner.precision, winner.test_accuracy) == (run.space.smallest(), "int8", 0.875)
    assert winner.latency == {"one": MeasuredLatency(2.0, (1.8, 2.2), 2.5, (2.4, 2.6))}


def test_an_architecture_may_be_that_of_the_network(run: RunFolder) -> None:
    assert isinstance(run.space, MixedPrecision)
    write(run, architecture=run.network_space.largest().to_json())
    [winner] = measured_winners(run)
    assert winner.architecture == run.space.join(run.network_space.largest(), "int8")


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
