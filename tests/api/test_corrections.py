"""Tables that measured winners have corrected. What a search makes of them stands in test_refining.py."""

import json
import logging
from pathlib import Path

import pytest

from hwnas.api.corrections import correct_table, settled_identity
from hwnas.api.measured import MeasuredLatency, MeasuredWinner
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import known_table
from hwnas.api.settings import RunSettings
from hwnas.devices import Measurement, load_device
from hwnas.latency import LatencyTable, TableIdentity, save_table, table_path
from hwnas.objectives import latency
from hwnas.spaces import Architecture
from hwnas.testing import ToySpace
from hwnas.training import load_data

SPACE = ToySpace((1, 8, 8), 10)
EVERYTHING = SPACE.everything()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    tables = tmp_path / "latency_tables"
    identity = TableIdentity.of(load_device("local-cpu"), SPACE)
    rows = {one: Measurement(1.0 + number, (0.0, 1e3)) for number, one in enumerate(SPACE.all_operators())}
    save_table(LatencyTable(identity, {}, rows), table_path(tables, identity, SPACE))
    settings = RunSettings(tables=str(tables), objectives=["latency@local-cpu"])
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run", settings, SPACE, load_data("digits"))


def winner(run: RunFolder, architecture: Architecture, *, slower: float) -> MeasuredWinner:
    predicted_ms = known_table(run, "local-cpu", "fp32").predict_ms(SPACE.operators(architecture))
    ms = predicted_ms * slower
    found = MeasuredLatency(predicted_ms, None, ms, (0.99 * ms, 1.01 * ms))
    return MeasuredWinner(architecture, "fp32", 0.9, {"local-cpu": found})


def test_a_device_that_is_slower_than_its_table_is_met(run: RunFolder) -> None:
    measured = known_table(run, "local-cpu", "fp32")
    winners = [winner(run, one, slower=1.3) for one in EVERYTHING[::20]]
    assert correct_table(run, "local-cpu", "fp32", winners)
    corrected = known_table(run, "local-cpu", "fp32")
    for one in EVERYTHING[7::20]:  # none of them was measured
        expected = 1.3 * measured.predict_ms(SPACE.operators(one))
        assert corrected.predict_ms(SPACE.operators(one)) == pytest.approx(expected, rel=0.08)


def test_later_winners_are_added_to_earlier_ones(run: RunFolder) -> None:
    correct_table(run, "local-cpu", "fp32", [winner(run, one, slower=1.3) for one in EVERYTHING[:3]])
    later = [winner(run, one, slower=1.3) for one in EVERYTHING[2:4]]
    assert correct_table(run, "local-cpu", "fp32", later)
    assert len(known_table(run, "local-cpu", "fp32").networks) == 4


def test_two_winners_are_too_few(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="hwnas"):
        assert not correct_table(run, "local-cpu", "fp32", [winner(run, one, slower=2.0) for one in EVERYTHING[:2]])
    assert "2 winners in fp32 were measured on local-cpu" in caplog.text
    assert not run.corrected_tables.exists()


def test_evaluations_follow_a_corrected_table_once(run: RunFolder) -> None:
    costs = {"operator_costs": {"latency_ms@local-cpu": "before"}, "seed": 0}
    old = {"schema_version": 1, **costs}
    lines = [
        {"architecture": one.to_json(), "values": {"latency_ms@local-cpu": 1.0}, "seconds": 0.5}
        for one in EVERYTHING[:2]
    ]
    run.evaluations.write_text("".join(json.dumps(line) + "\n" for line in [old, *lines]))
    assert settled_identity(run, costs, []) == costs
    correct_table(run, "local-cpu", "fp32", [winner(run, one, slower=1.3) for one in EVERYTHING[:3]])
    objectives = [latency(SPACE, known_table(run, "local-cpu", "fp32"))]
    now = {"operator_costs": {"latency_ms@local-cpu": "after"}, "seed": 0}
    for _ in range(2):
        assert settled_identity(run, now, objectives) == {**now, "told_first": 2}
    header, first, _ = (json.loads(line) for line in run.evaluations.read_text().splitlines())
    assert header == {"schema_version": 1, **now, "told_first": 2}
    expected = objectives[0].evaluate([EVERYTHING[0]])[0]
    assert first["values"]["latency_ms@local-cpu"] == pytest.approx(expected)
    assert first["seconds"] == 0.5
    assert settled_identity(run, {**now, "seed": 1}, objectives)["seed"] == 1  # which the journal will refuse
    assert json.loads(run.evaluations.read_text().splitlines()[0])["seed"] == 0
