import json

import pytest

from hwnas.errors import StoredFileError
from hwnas.reports.baselines import read_comparison


def write(tmp_path, baselines):
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({"schema_version": 1, "device": "d", "budget": {"epochs": 3}, "baselines": baselines}))
    return path


def test_each_baseline_has_a_letter(tmp_path):
    latency = {"rpi4": {"measured_ms": 2.0, "measured_ci95_ms": [1.9, 2.1]}}
    found = read_comparison(
        write(tmp_path, [{"name": f"net {n}", "test_accuracy": 0.9, "latency": latency} for n in range(28)])
    )
    assert [one.letter for one in found.baselines][:2] == ["A", "B"]
    assert [one.letter for one in found.baselines][-2:] == ["A2", "B2"]
    assert found.baselines[0].latency_on("rpi4").ci95_ms == (1.9, 2.1)
    assert found.baselines[0].latency_on("elsewhere").measured_ms is None
    assert found.budget == {"epochs": 3}


def test_an_absent_comparison_is_none_and_a_damaged_one_a_sentence(tmp_path):
    assert read_comparison(tmp_path / "comparison.json") is None
    with pytest.raises(StoredFileError, match="'name' must be a string, but there is none"):
        read_comparison(write(tmp_path, [{}]))
