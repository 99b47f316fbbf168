"""Phases: groups that fit into memory, a journal of every visit, and going on with it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.errors import DeviceError, StoredFileError
from hwnas.latency.phases import MEMORY_A_BYTE, MEMORY_SHARE, Phases
from hwnas.progress import silent
from hwnas.testing import SimulatedHost

HEADER = {"of": "a test"}
SIZE = 1000
TRUTH = {f"model{number}": 1.0 + number for number in range(9)}
SENTINEL = "model4"


@pytest.fixture
def models(tmp_path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.file" for name in TRUTH}
    for path in paths.values():
        path.write_bytes(bytes(SIZE))
    return paths


@pytest.fixture
def journal(tmp_path) -> Path:
    return tmp_path / "work" / "samples.jsonl"


def simulated(**how) -> SimulatedHost:
    return SimulatedHost(lambda path: TRUTH[path.stem], **how)


@pytest.fixture
def phases(journal, plan):
    def make(host, **how):
        how = {"header": HEADER, "plan": plan, "seed": 0, "on_progress": silent, **how}
        return Phases(host, journal, **how)

    return make


def lines_in(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]


def holding(count):
    """What a host with memory for so many models says of itself."""
    return {"memory_available_bytes": count * MEMORY_A_BYTE * SIZE / MEMORY_SHARE + 1}


def test_a_phase_finds_latencies_and_keeps_every_visit(phases, models, journal):
    host = simulated(refuses=lambda path: "no" if path.stem == "model8" else None)
    found = phases(host).run("networks", models, sentinels=[SENTINEL], references_ms={})
    expected = {name: truth for name, truth in TRUTH.items() if name != "model8"}
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(expected)
    assert (found.refused, found.flags) == ({"model8": "no"}, ())
    header, *lines = lines_in(journal)
    assert header == HEADER
    assert {line["phase"] for line in lines} == {"networks"}
    for name, one in found.measurements.items():
        kept = [line["samples_ms"] for line in lines if line["model"] == name]
        assert kept == [list(visit) for visit in one.samples_ms]


@pytest.mark.parametrize(("room", "sizes"), [(9, [9]), (5, [5, 5]), (3, [3, 3, 3, 3]), (0, [2] * 8)])
def test_models_are_measured_in_groups_that_memory_holds_with_the_sentinel_in_each(phases, models, room, sizes):
    host = simulated(conditions=holding(room))
    found = phases(host).run("networks", models, sentinels=[SENTINEL], references_ms={})
    groups = list(dict.fromkeys(frozenset(load) for load in host.loads))
    assert [len(group) for group in groups] == sizes
    assert all(SENTINEL in group for group in groups)
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH)


def test_groups_share_the_time_and_are_tied_by_the_sentinel(phases, models, plan):
    """The machine gets slower from group to group; the latencies are those at the speed of the first."""
    host = simulated(conditions=holding(5))
    host._slowdown = lambda name, now: 1.0 if "model8" not in host._loaded_ms else 1.2
    found = phases(host, plan=replace(plan, seconds=30)).run("networks", models, sentinels=[SENTINEL], references_ms={})
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=1e-3)
    assert found.flags == ("networks 2/2: another speed: the sentinels took +20.0% against the earlier measurement",)


def test_a_reference_is_that_of_all_groups(phases, models):
    host = simulated(conditions=holding(5), slowdown=lambda name, now: 1.5)
    found = phases(host).run("networks", models, sentinels=[SENTINEL], references_ms={SENTINEL: TRUTH[SENTINEL]})
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=1e-3)


def test_models_that_did_not_settle_are_counted(phases, models, plan, caplog):
    host = simulated(noise=lambda rng: 1 + 0.5 * rng.random())
    found = phases(host, plan=replace(plan, seconds=0)).run("networks", models, sentinels=[SENTINEL], references_ms={})
    assert found.flags[-1] == "networks: 9 of 9 models did not settle within ±1% in 4 rounds"
    assert found.flags[-1] in caplog.text


@pytest.mark.parametrize("room", [9, 5])
def test_a_stopped_phase_is_gone_on_with(phases, models, journal, plan, room):
    stopped = simulated(conditions=holding(room), gone_after=50)
    with pytest.raises(DeviceError):
        phases(stopped).run("networks", models, sentinels=[SENTINEL], references_ms={})
    kept = lines_in(journal)[1:]
    assert kept
    found = phases(simulated(conditions=holding(room))).run("networks", models, sentinels=[SENTINEL], references_ms={})
    assert lines_in(journal)[1 : 1 + len(kept)] == kept
    for name, one in found.measurements.items():
        assert len(one.samples_ms) >= plan.rounds
        assert [list(visit) for visit in one.samples_ms][:1] == [
            line["samples_ms"] for line in kept if line["model"] == name
        ][:1] or name not in {line["model"] for line in kept}


def test_phases_do_not_count_for_each_other(phases, models, plan):
    host = simulated()
    both = phases(host)
    both.run("first", models, sentinels=[SENTINEL], references_ms={})
    found = both.run("second", models, sentinels=[SENTINEL], references_ms={})
    assert len(found.measurements["model0"].samples_ms) == plan.rounds


def test_another_header_starts_afresh(phases, models, journal, caplog):
    phases(simulated()).run("networks", models, sentinels=[SENTINEL], references_ms={})
    for name in ("old.onnx", ".lock"):
        (journal.parent / name).write_text("")
    phases(simulated(), header={"of": "another"})
    assert lines_in(journal) == [{"of": "another"}]
    assert "Starting afresh" in caplog.text
    assert not (journal.parent / "old.onnx").exists()
    assert (journal.parent / ".lock").exists(), "who holds the folder holds it still"


def test_a_torn_last_line_costs_one_visit(phases, models, journal, caplog):
    phases(simulated()).run("networks", models, sentinels=[SENTINEL], references_ms={})
    before = lines_in(journal)
    journal.write_bytes(journal.read_bytes()[:-7])
    phases(simulated())
    assert lines_in(journal) == before[:-1]
    assert "torn last line" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"model": None, "phase": None},
        {"samples_ms": [0.0]},
        {"samples_ms": []},
        {"samples_ms": ["fast"]},
        {"samples_ms": [float("nan")]},
        {"samples_ms": 3},
        {"round": "first"},
        {"call": None},
        {"phase": 3},
    ],
    ids=str,
)
def test_a_line_that_is_no_visit_is_named(phases, models, journal, change):
    phases(simulated()).run("networks", models, sentinels=[SENTINEL], references_ms={})
    lines = lines_in(journal)
    lines[4].update(change)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(StoredFileError, match=r"samples\.jsonl: line 5 must be a visit: phase, model, round, call and"):
        phases(simulated())


def test_a_line_that_lacks_a_key_is_named(phases, journal):
    journal.parent.mkdir()
    journal.write_text(json.dumps(HEADER) + '\n{"phase": "networks"}\n')
    with pytest.raises(StoredFileError, match=r"samples\.jsonl: line 2 must be a visit"):
        phases(simulated())
