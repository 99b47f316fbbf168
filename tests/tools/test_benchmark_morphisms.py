"""A contest of a few networks, trained for one epoch each."""

import json

import pytest


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_morphisms")


def test_fronts_are_compared_and_written(tool, tmp_path, capsys):
    path = tmp_path / "found.json"
    arguments = ["--seconds", "0.5", "--epochs", "1", "--random-epochs", "1", "--batch-size", "256", "--processes", "1"]
    tool.main([*arguments, "--strategies", "lemonade", "--json", str(path)])
    document = json.loads(path.read_text())
    assert set(document["found"]) == {"random, 1 epochs", "lemonade"}
    for found in document["found"].values():
        assert found["evaluations"] >= len(found["front"]) >= 1
        assert found["failed"] == 0
        assert 0 <= found["hypervolume"] < 1
        assert all(0 < member["error"] <= 1 and member["parameters"] > 1000 for member in found["front"])
    shares = document["dominated"]["random, 1 epochs by lemonade"]
    assert set(shares) == {"error", "test_error"}
    assert all(0 <= share <= 1 for share in shares.values())
    assert "random, 1 epochs by lemonade: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "share"), [([(0.1, 5)], 1.0), ([(0.1, 9)], 0.5), ([(0.3, 1)], 0.0), ([(0.3, 1), (0.2, 5)], 0.5)]
)
def test_a_member_is_dominated_by_what_is_at_least_as_good(tool, ours, share):
    fronts = [[{"error": error, "macs": cost} for error, cost in front] for front in (ours, [(0.1, 9), (0.2, 5)])]
    assert tool.share_dominated(*fronts, names=["error", "macs"]) == share
