import itertools
import json
import logging
import os
import shutil
from collections import Counter
from dataclasses import replace

import onnx
import pytest
from hwnas.latency.probes import export_probes

from hwnas.devices import MeasurementPlan, fingerprint
from hwnas.errors import MissingRuntimeError, SettingsError, StoredFileError, TableMismatchError
from hwnas.exporters import export_many
from hwnas.latency import LatencyTable, TableIdentity, load_table, profile_space, profiling

PLAN = MeasurementPlan(rounds=4)
MODELS = 8
VISITS = PLAN.rounds * MODELS


@pytest.fixture(autouse=True)
def ready_probes(probes, space, monkeypatch):
    """Exports the probes of the whole space once and for all; others are exported when they are asked for."""
    done = next(iter(probes.values())).parent
    exports = []

    def export_or_copy(operators, whose, folder, *, batch_size=1, **keywords):
        if tuple(operators) == space.all_operators() and batch_size == 1 and not list(folder.glob("*.onnx")):
            shutil.copytree(done, folder, dirs_exist_ok=True)
        exports.append((len(operators), batch_size))
        return export_probes(operators, whose, folder, batch_size=batch_size, **keywords)

    monkeypatch.setattr(profiling, "export_probes", export_or_copy)
    return exports


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tables" / "simulated-board" / "table.json"


@pytest.fixture
def journal(path):
    return path.with_suffix(".work") / "samples.jsonl"


def affinity():
    """The cores that this thread may use, None where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def visits_in(journal):
    """(model, round) of each visit that a journal holds."""
    return [(line["model"], line["round"]) for line in map(json.loads, journal.read_text().splitlines()[1:])]


def profile_until_killed(machine, after, *arguments, **keywords):
    machine.killed_after = after
    with pytest.raises(KeyboardInterrupt):
        profile_space(*arguments, **keywords)
    assert len(machine.visits) == after


class TestTruth:
    def test_the_rows_of_a_network_sum_to_its_whole_time(self, device, space, path, truth):
        """Overhead and the cost of a network's ends included, contexts left out: to the last bit that is stored."""
        table = profile_space(device, space, path=path, plan=PLAN)
        architectures = space.everything()
        networks = [space.build(architecture).eval() for architecture in architectures]
        exported = export_many(networks, [space.input_shape] * len(networks))
        measured = [truth(model) for model in exported]
        predicted = [table.predict_ms(space.operators(architecture)) for architecture in architectures]
        assert predicted == pytest.approx(measured, abs=1e-5)
        assert len(set(measured)) == len(measured) == 6

    def test_a_noisy_machine_is_off_by_its_noise(self, machine, device, space, path, truth):
        machine.noise = 0.02
        table = profile_space(device, space, path=path, plan=MeasurementPlan(rounds=30))
        (network,) = export_many([space.build(space.largest()).eval()], [space.input_shape])
        assert table.predict_ms(space.operators(space.largest())) == pytest.approx(truth(network), rel=0.03)
        for entry in table.entries.values():
            assert entry.ci95_ms[0] <= entry.latency_ms <= entry.ci95_ms[1]
            assert entry.ci95_ms[1] - entry.ci95_ms[0] > 0

    def test_what_was_subtracted_is_in_the_table(self, device, space, path):
        table = profile_space(device, space, path=path, plan=PLAN)
        stem, block = space.all_operators()[:2]
        before, after = table.entries[block].conditions["half_subtracted"]
        halves = [table.contexts[name].latency_ms / 2 for name in (before, after)]
        (whole,) = {sample for visit in table.entries[block].samples_ms for sample in visit}
        assert table.entries[block].latency_ms == pytest.approx(whole - sum(halves))
        assert table.entries[stem].conditions["half_subtracted"] == [before]
        assert set(table.contexts) == {before, after}

    def test_the_error_of_what_is_subtracted_is_added(self):
        whole = profiling.Measurement(10.0, (9.7, 10.6), ((10.0,),), {})
        side = profiling.Measurement(2.0, (1.4, 2.8), ((2.0,),), {})
        found = profiling._less_half(whole, {"side": side}, ["side"])
        assert found.latency_ms == 9.0
        assert found.ci95_ms == pytest.approx((9.0 - (0.3**2 + 0.4**2) ** 0.5, 9.0 + (0.6**2 + 0.3**2) ** 0.5))


class TestWhole:
    def test_the_table_is_stored_with_its_identity_and_all_samples(self, machine, device, space, path, caplog):
        with caplog.at_level(logging.INFO):
            table = profile_space(device, space, path=path, plan=PLAN)
        assert load_table(path) == table
        assert table.identity == TableIdentity.of(device, space)
        assert table.fingerprint == fingerprint(device.runtime, num_threads=1)
        assert list(table.entries) == list(space.all_operators())
        for entry in table.entries.values():
            assert len(entry.samples_ms) == PLAN.rounds
            assert all(PLAN.min_runs <= len(visit) <= PLAN.max_runs for visit in entry.samples_ms)
            assert {"before", "after"} <= set(entry.conditions)
        assert len(machine.visits) == VISITS
        assert "6 distinct operators to measure on simulated-board" in caplog.text
        assert "8 models in 4 rounds: about 1 s" in caplog.text

    def test_the_order_of_the_visits_hangs_on_the_seed(self, machine, device, space, path, restarted):
        orders = []
        for number, seed in enumerate((3, 3, 4)):
            machine = restarted()
            profile_space(device, space, path=path.with_name(f"table{number}.json"), plan=PLAN, seed=seed)
            orders.append([name for name, _ in machine.visits])
        assert orders[0] == orders[1] != orders[2]

    def test_nothing_but_the_table_is_left(self, device, space, path):
        profile_space(device, space, path=path, plan=PLAN)
        assert list(path.parent.iterdir()) == [path]

    def test_every_model_is_loaded_with_the_threads_of_the_device_while_pinned(self, machine, device, space, path):
        before = affinity()
        device = replace(device, num_threads=2)
        profile_space(device, space, path=path, plan=PLAN)
        assert sorted(threads for _, threads in machine.loaded) == [2] * MODELS
        assert affinity() == before

    def test_progress_is_told_of_each_step(self, device, space, path):
        news = []
        profile_space(
            device,
            space,
            path=path,
            plan=PLAN,
            on_progress=lambda stage, done, total, note="": news.append((stage, done, total)),
        )
        stages = {stage: [step[1:] for step in steps] for stage, steps in itertools.groupby(news, lambda one: one[0])}
        assert stages["loading"] == [(done, MODELS) for done in range(1, MODELS + 1)]
        assert stages["measuring"] == [(done, VISITS) for done in range(1, VISITS + 1)]

    def test_a_whole_table_measures_nothing(self, device, space, path, restarted, ready_probes, caplog):
        table = profile_space(device, space, path=path, plan=PLAN)
        before = path.read_bytes()
        machine = restarted()
        ready_probes.clear()
        with caplog.at_level(logging.INFO):
            assert profile_space(device, space, path=path, plan=PLAN) == table
        assert (machine.calls, machine.loaded, ready_probes) == ([], [], [])
        assert path.read_bytes() == before
        assert f"Nothing to measure: {path} has all 6 operators" in caplog.text


class TestResume:
    @pytest.mark.parametrize("after", [0, 1, 9, VISITS - 1])
    def test_no_visit_is_made_twice_and_none_is_lost(self, machine, device, space, path, journal, restarted, after):
        before = affinity()
        profile_until_killed(machine, after, device, space, path=path, plan=PLAN, seed=3)
        assert affinity() == before
        assert not path.exists()
        kept = visits_in(journal)
        assert len(kept) == after
        second = restarted()
        table = profile_space(device, space, path=path, plan=PLAN, seed=3)
        assert len(second.visits) == VISITS - after
        models = Counter(name for name, _ in [*machine.visits, *second.visits])
        assert set(models.values()) == {PLAN.rounds}
        assert all(len(entry.samples_ms) == PLAN.rounds for entry in table.entries.values())
        assert list(path.parent.iterdir()) == [path]

    def test_a_resumed_table_is_the_one_of_a_run_that_was_not_stopped(self, machine, device, space, path, restarted):
        profile_until_killed(machine, 13, device, space, path=path, plan=PLAN)
        restarted()
        resumed = profile_space(device, space, path=path, plan=PLAN)
        restarted()
        straight = profile_space(device, space, path=path.with_name("straight.json"), plan=PLAN)
        assert {one: entry.samples_ms for one, entry in resumed.entries.items()} == {
            one: entry.samples_ms for one, entry in straight.entries.items()
        }

    def test_killed_again_and_again(self, device, space, path, restarted):
        done = []
        for after in (5, 7, 11):
            machine = restarted()
            profile_until_killed(machine, after, device, space, path=path, plan=PLAN)
            done += machine.visits
        machine = restarted()
        profile_space(device, space, path=path, plan=PLAN)
        assert len(done) + len(machine.visits) == VISITS
        assert set(Counter(name for name, _ in [*done, *machine.visits]).values()) == {PLAN.rounds}

    def test_a_torn_last_line_costs_one_visit(self, machine, device, space, path, journal, restarted, caplog):
        profile_until_killed(machine, 9, device, space, path=path, plan=PLAN)
        journal.write_bytes(journal.read_bytes()[:-7])
        machine = restarted()
        table = profile_space(device, space, path=path, plan=PLAN)
        assert len(machine.visits) == VISITS - 8
        assert all(len(entry.samples_ms) == PLAN.rounds for entry in table.entries.values())
        assert "torn last line" in caplog.text

    def test_a_broken_journal_is_one_clear_sentence(self, machine, device, space, path, journal):
        profile_until_killed(machine, 3, device, space, path=path, plan=PLAN)
        journal.write_text("nonsense\n" + journal.read_text())
        with pytest.raises(StoredFileError, match=r"samples\.jsonl must hold one JSON object a line, but line 1"):
            profile_space(device, space, path=path, plan=PLAN)

    def test_killed_when_all_is_measured_but_nothing_is_stored(self, device, space, path, restarted, monkeypatch):
        def kill(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LatencyTable, "save", kill)
            with pytest.raises(KeyboardInterrupt):
                profile_space(device, space, path=path, plan=PLAN)
        machine = restarted()
        profile_space(device, space, path=path, plan=PLAN)
        assert machine.visits == []
        assert load_table(path).missing(space.all_operators()) == []

    def test_the_time_left_and_what_is_done_are_said(self, machine, device, space, path, restarted, caplog):
        profile_until_killed(machine, VISITS // 2, device, space, path=path, plan=PLAN)
        restarted()
        with caplog.at_level(logging.INFO):
            profile_space(device, space, path=path, plan=PLAN)
        assert ", 50% of it done already" in caplog.text

    @pytest.mark.parametrize(
        "changed",
        [
            {"plan": replace(PLAN, rounds=5)},
            {"plan": replace(PLAN, quantile=0.5)},
            {"seed": 1},
            {"version": "2.0"},
            {"device": {"num_threads": 2}},
            {"device": {"name": "another-board"}},
        ],
        ids=str,
    )
    def test_what_was_measured_otherwise_is_not_gone_on_with(
        self, machine, device, space, path, restarted, caplog, changed
    ):
        profile_until_killed(machine, 9, device, space, path=path, plan=PLAN)
        machine = restarted(version=changed.get("version", "1.0"))
        device = replace(device, **changed.get("device", {}))
        plan = changed.get("plan", PLAN)
        table = profile_space(device, space, path=path, plan=plan, seed=changed.get("seed", 0))
        assert len(machine.visits) == plan.rounds * MODELS
        assert all(len(entry.samples_ms) == plan.rounds for entry in table.entries.values())
        assert [record.levelname for record in caplog.records if "Starting afresh" in record.message] == ["WARNING"]

    def test_probes_of_another_batch_size_are_not_gone_on_with(
        self, machine, device, space, path, restarted, ready_probes, caplog
    ):
        profile_until_killed(machine, 9, device, space, path=path, plan=PLAN)
        machine = restarted(killed_after=0)
        with pytest.raises(KeyboardInterrupt):
            profile_space(device, space, path=path, plan=PLAN, batch_size=2)
        assert "Starting afresh" in caplog.text
        assert ready_probes == [(6, 1), (6, 2)]
        inputs = [onnx.load(model_path).graph.input[0].type.tensor_type.shape for model_path, _ in machine.loaded]
        assert [shape.dim[0].dim_value for shape in inputs] == [2] * MODELS


class TestMerging:
    @pytest.fixture
    def gappy(self, machine, device, space, path):
        """A stored table without the rows of its last two operators; returns it."""
        whole = profile_space(device, space, path=path, plan=PLAN)
        kept = list(whole.entries.items())[:-2]
        table = replace(whole, entries=dict(kept), contexts={"kept": next(iter(whole.contexts.values()))})
        table.save(path)
        return table

    def test_missing_rows_only_are_measured_and_joined_to_the_rest(
        self, gappy, device, space, path, restarted, ready_probes
    ):
        machine = restarted()
        ready_probes.clear()
        plan = replace(PLAN, rounds=2)
        table = profile_space(device, space, path=path, plan=plan)
        assert ready_probes == [(2, 1)]
        assert len(machine.visits) == 2 * 3, "two operators and the one context that both of them have"
        assert list(table.entries) == list(space.all_operators())
        assert {one: table.entries[one] for one in gappy.entries} == gappy.entries
        assert all(len(table.entries[one].samples_ms) == 2 for one in space.all_operators()[-2:])
        assert set(table.contexts) == {"kept", "two 1x1 convolutions at 6x2x2"}
        assert load_table(path) == table

    def test_rows_of_two_environments_are_never_joined(self, gappy, device, space, path, restarted):
        before = path.read_bytes()
        machine = restarted(version="2.0")
        with pytest.raises(TableMismatchError) as caught:
            profile_space(device, space, path=path, plan=PLAN)
        assert "runtime_version=1.0 and here is runtime_version=2.0" in str(caught.value)
        assert str(path) in str(caught.value)
        assert machine.calls == []
        assert path.read_bytes() == before

    @pytest.mark.parametrize("changed", [{"name": "another-board"}, {"num_threads": 2}])
    def test_a_table_of_something_else_is_not_touched(self, gappy, device, space, path, restarted, changed):
        before = path.read_bytes()
        machine = restarted()
        with pytest.raises(TableMismatchError, match=f"^Table {path} must be measured with"):
            profile_space(replace(device, **changed), space, path=path, plan=PLAN)
        with pytest.raises(TableMismatchError, match="batch_size=2"):
            profile_space(device, space, path=path, plan=PLAN, batch_size=2)
        assert machine.calls == []
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"precision": "int4"}, "precision must be one of fp32, but 'int4' came"),
        ({"batch_size": 0}, "batch_size must be from 1 to 4096, but 0 came"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(machine, device, space, path, keywords, message):
    with pytest.raises(SettingsError) as caught:
        profile_space(device, space, path=path, **keywords)
    assert message in str(caught.value)
    assert not path.parent.exists()


def test_a_runtime_that_is_not_there_leaves_no_table(device, space, path, restarted):
    before = affinity()
    restarted(version=None)
    with pytest.raises(MissingRuntimeError, match="Runtime simulated must be installed"):
        profile_space(device, space, path=path, plan=PLAN)
    assert not path.exists()
    assert affinity() == before


def test_a_broken_table_is_not_replaced(machine, device, space, path):
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(StoredFileError, match=r"table\.json must be a latency table in JSON"):
        profile_space(device, space, path=path, plan=PLAN)
    assert path.read_text() == "{"
    assert machine.calls == []
