"""Building a table, on simulated devices whose truth is known, and once for real."""

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwnas.devices import Device, MeasurementPlan
from hwnas.errors import DeviceError, SettingsError, StoredFileError, TableMismatchError, UnknownNameError
from hwnas.latency import TableIdentity, load_table, profile_space
from hwnas.latency import profiling as module
from hwnas.latency.costing import FEATURES
from hwnas.latency.models import SENTINELS, sentinel_networks
from hwnas.testing import ToySpace


@pytest.fixture
def profile(device, space, path, plan):
    """Profiles the toy space."""

    def start(**how):
        return profile_space(device, how.pop("space", space), **{"path": path, "plan": plan, **how})

    return start


def refusing(space, refused):
    """Refuses every model that has the nodes of `refused` in it."""
    number = space.all_operators().index(refused)

    def why(path: Path) -> str | None:
        if path.stem == f"probe{number}":
            return "no kernel for it"
        if path.stem.startswith("network"):
            choices = tuple(map(int, path.stem.removeprefix("network").split("-")))
            return "no kernel in it" if refused in space.operators(space.architecture(choices)) else None
        return None

    return why


class TestFresh:
    def test_the_rows_of_a_network_sum_to_its_whole_time(self, connected, profile, space, exported, truth):
        connected()
        table = profile(carriers=24)
        for architecture in space.everything():
            whole = truth(exported / f"network{'-'.join(map(str, architecture.choices))}.onnx")
            assert table.predict_ms(space.operators(architecture)) == pytest.approx(whole, rel=1e-3)

    def test_rows_are_what_operators_cost_in_networks(self, connected, profile, space, path, truth):
        connected(lambda file: truth(file) * (1.2 if file.stem.startswith("network") else 1.0))
        table = profile(carriers=24)
        plain = profile(carriers=0, path=path.with_name("plain.json"))
        for operators in map(space.operators, space.everything()):
            assert table.predict_ms(operators) == pytest.approx(1.2 * plain.predict_ms(operators), rel=0.01)
        assert table.quality.calibrated.mean_error < 0.005
        assert {one.role for one in table.networks} == {"carrier"}

    def test_without_carriers_rows_are_the_operators_own_measurements(self, connected, profile, space, exported, truth):
        connected()
        table = profile(carriers=0)
        assert (table.networks, table.quality, table.weights) == ((), None, {})
        largest = space.largest()
        whole = truth(exported / f"network{'-'.join(map(str, largest.choices))}.onnx")
        assert table.predict_ms(space.operators(largest)) == pytest.approx(whole, rel=1e-4)

    def test_the_table_is_stored_with_its_identity_and_all_samples(self, connected, profile, device, space, path, plan):
        host = connected()
        table = profile(carriers=8)
        assert load_table(path) == table
        assert table.identity == TableIdentity.of(device, space)
        assert table.fingerprint == host.fingerprint()
        assert list(table.entries) == list(space.all_operators())
        rows = [*table.entries.values(), *table.contexts.values(), *(one.found for one in table.networks)]
        assert all(len(row.samples_ms) >= plan.rounds for row in rows)
        assert (table.source, table.flags, table.refused) == ("profiled", (), {})
        assert list(path.parent.iterdir()) == [path], "nothing but the table is left"

    def test_calibration_networks_are_no_carriers_and_are_measured_twice(self, connected, profile, space):
        connected(noise=lambda rng: 1 + 0.003 * rng.standard_normal())
        table = profile(carriers=20, calibration_networks=10)
        roles = {
            role: {one.choices for one in table.networks if one.role == role} for role in ("carrier", "calibration")
        }
        assert {role: len(found) for role, found in roles.items()} == {"carrier": 20, "calibration": 10}
        assert {space.smallest().choices, space.largest().choices} <= roles["calibration"], "searches end there"
        assert not roles["carrier"] & roles["calibration"]
        sentinels = {one.choices for one in sentinel_networks(space, SENTINELS)}
        assert not sentinels & (roles["carrier"] | roles["calibration"])
        assert table.quality.networks == 10
        assert table.quality.calibrated.mean_error < 0.01
        assert table.quality.noise_ceiling.mean_error < 0.01
        assert all(
            one.again_ms == pytest.approx(one.found.latency_ms, rel=0.02) for one in table.networks if one.again_ms
        )
        assert table.interval_ms(space.operators(space.largest())) is not None

    def test_the_seed_decides_on_networks_and_order(self, connected, profile, path):
        found = []
        for seed in (3, 3, 4):
            host = connected()
            table = profile(carriers=8, seed=seed)
            found.append((host.visited, [one.choices for one in table.networks]))
            path.unlink()
        assert found[0] == found[1]
        assert found[0][0] != found[2][0]
        assert found[0][1] != found[2][1]

    def test_a_machine_that_throttles_is_flagged_in_the_table(self, connected, profile, caplog):
        connected(slowdown=lambda name, now: 1.0 if now < 1.5 else 1.4, noise=lambda rng: 1 + 0.005 * rng.random())
        table = profile(carriers=0, plan=MeasurementPlan(rounds=60, max_rounds=60, warmup_seconds=0))
        assert any(flag.startswith("operators: slowed down") for flag in table.flags)
        assert "operators: slowed down" in caplog.text

    def test_more_networks_than_the_space_has_are_said_to_be_missing(self, connected, profile, caplog):
        connected()
        table = profile(carriers=0, calibration_networks=200)
        assert table.quality.networks < 84
        assert f"{table.quality.networks} networks to calibrate on were found, not 200" in caplog.text


class TestIncremental:
    def test_a_whole_table_measures_nothing(self, connected, profile, path, caplog):
        connected()
        table = profile(carriers=4)
        before = path.read_bytes()
        host = connected()
        with caplog.at_level(logging.INFO):
            assert profile(carriers=4) == table
        assert (host.loads, host.visited, path.read_bytes()) == ([], [], before)
        assert f"Nothing to measure: {path} has all 10 operators" in caplog.text

    def test_more_classes_measure_the_classifier_alone_at_the_speed_of_the_table(self, connected, profile, truth):
        connected()
        before = profile(carriers=20)
        slower = connected(slowdown=lambda name, now: 1.1)
        wider = ToySpace(num_classes=7)
        table = profile(space=wider, carriers=20)
        assert {len(load) for load in slower.loads} == {2}, "the classifier and the context before it"
        assert len(table.entries) == 11
        assert all(table.entries[operator] == row for operator, row in before.entries.items())
        (new,) = set(table.entries) - set(before.entries)
        alone_ms = table.entries[new].conditions["between_contexts_ms"]
        old = next(one for one in before.entries if one.kind == "classifier")
        wider_by_ms = alone_ms - before.entries[old].conditions["between_contexts_ms"]
        assert wider_by_ms == pytest.approx(4 * (0.002 + 0.008), rel=0.02), "what four more classes cost"
        weights = [table.weights[name] for name in FEATURES]
        expected = np.dot(weights, [alone_ms, wider.counts[new].parameters / 1e6])
        assert table.entries[new].latency_ms == pytest.approx(expected), "by the weights that were fitted before"
        assert any(flag.startswith("operators: another speed") for flag in table.flags)

    def test_calibrating_later_keeps_the_rows_and_takes_no_carrier(self, connected, profile):
        connected()
        before = profile(carriers=40)
        slower = connected(slowdown=lambda name, now: 1.08)
        table = profile(carriers=40, calibration_networks=10)
        assert table.entries == before.entries
        assert [one for one in table.networks if one.role == "carrier"] == list(before.networks)
        proof = {one.choices for one in table.networks if one.role == "calibration"}
        assert len(proof) == 10
        assert not proof & {one.choices for one in before.networks}
        assert {len(load) for load in slower.loads} == {10 + SENTINELS}
        assert table.quality.raw_sum.mean_error < 0.005, "the sentinels tie them to the table's speed"
        assert [flag for flag in table.flags if "another speed" in flag]

    def test_as_many_as_asked_for_are_enough(self, connected, profile):
        connected()
        table = profile(carriers=4, calibration_networks=6)
        host = connected()
        assert profile(carriers=4, calibration_networks=5) == table
        assert host.visited == []

    def test_a_stale_table_says_what_changed_unless_that_is_accepted(self, connected, profile, path):
        connected()
        table = profile(carriers=0)
        host = connected(version="2.0")
        with pytest.raises(TableMismatchError, match=r"it is stale: runtime_version was 1\.0 and is 2\.0"):
            profile(carriers=0)
        assert host.visited == []
        assert profile(carriers=0, accept_stale=True) == table
        mixed = profile(carriers=0, calibration_networks=4, accept_stale=True)
        assert "measured in part in another environment: runtime_version was 1.0 and is 2.0" in mixed.flags

    def test_nothing_to_do_leaves_what_a_stopped_calibration_has_measured(self, connected, profile, path):
        connected()
        table = profile(carriers=4)
        connected(gone_after=40)
        with pytest.raises(DeviceError):
            profile(carriers=4, calibration_networks=6)
        kept = (path.with_suffix(".work") / "samples.jsonl").read_bytes()
        connected()
        assert profile(carriers=4) == table
        assert (path.with_suffix(".work") / "samples.jsonl").read_bytes() == kept

    def test_a_table_of_something_else_is_not_touched(self, connected, profile, device, space, path, plan):
        connected()
        profile(carriers=0)
        before = path.read_bytes()
        with pytest.raises(TableMismatchError, match="must be measured with batch_size=2"):
            profile(batch_size=2)
        with pytest.raises(TableMismatchError, match="must be measured with device=other"):
            profile_space(replace(device, name="other"), space, path=path, plan=plan)
        assert path.read_bytes() == before


class TestRefusing:
    def test_a_refused_operator_is_named_and_the_others_are_measured(self, connected, profile, space, caplog):
        middle = sentinel_networks(space, 1)[0]
        refused = next(one for one in space.operators(middle) if one.kind == "mbconv")
        connected(refuses=refusing(space, refused))
        table = profile(carriers=12, calibration_networks=4)
        assert table.refused == {refused: "no kernel for it"}
        assert set(table.entries) == set(space.all_operators()) - {refused}
        assert table.missing(space.all_operators()) == [refused]
        assert f"simulated refuses {refused}: no kernel for it" in caplog.text
        assert len(table.networks) == 16
        for one in table.networks:
            assert refused not in space.operators(space.architecture(one.choices))
        host = connected()
        assert profile(carriers=12, calibration_networks=4) == load_table(table.path)
        assert host.visited == [], "what is refused is not tried again"

    def test_an_operator_of_every_network_leaves_no_network_to_measure(self, connected, profile, space):
        stem = space.all_operators()[0]
        connected(refuses=refusing(space, stem))
        table = profile(carriers=12, calibration_networks=4)
        assert table.refused.keys() == {stem}
        assert (len(table.entries), table.networks, table.quality) == (9, (), None)

    def test_a_refused_context_is_an_error(self, connected, profile):
        connected(refuses=lambda path: "no convolutions" if path.stem.startswith("context") else None)
        with pytest.raises(DeviceError, match=r"must run two 1x1 convolutions at .*, but it says: no convolutions"):
            profile()

    def test_a_network_that_is_refused_though_its_operators_run_is_said(self, connected, profile, space, caplog):
        odd = []

        def why(path):
            sentinels = map(network_file, sentinel_networks(space, SENTINELS))
            if path.stem.startswith("network") and path.stem not in sentinels:
                odd.append(path.stem)
                return "too deep" if path.stem == odd[0] else None
            return None

        connected(refuses=why)
        assert len(profile(carriers=12).networks) == 11
        assert "too deep" in caplog.text

    def test_a_precision_that_the_runtime_does_not_run_is_an_error(self, connected, profile, path):
        connected(precisions=("fp32", "fp16"))
        with pytest.raises(DeviceError) as caught:
            profile(precision="int8")
        assert str(caught.value) == (
            "Runtime simulated on board must run int8 models at their own speed, but it runs fp32, fp16."
        )


def network_file(architecture):
    return f"network{'-'.join(map(str, architecture.choices))}"


def visits_in(journal):
    return [(line["phase"], line["model"]) for line in map(json.loads, journal.read_text().splitlines()[1:])]


class TestResuming:
    @pytest.mark.parametrize("after", [3, 30, 100, 180])
    def test_no_visit_is_lost_and_every_model_is_visited_as_planned(self, connected, profile, path, plan, after):
        whole = connected()
        expected = profile(carriers=8, calibration_networks=4)
        path.unlink()
        assert len(whole.visited) > 180, "the stops lie within"
        connected(gone_after=after)
        with pytest.raises(DeviceError, match="it is gone"):
            profile(carriers=8, calibration_networks=4)
        assert not path.exists()
        kept = visits_in(path.with_suffix(".work") / "samples.jsonl")
        connected(seed=1)
        table = profile(carriers=8, calibration_networks=4)
        assert [one.choices for one in table.networks] == [one.choices for one in expected.networks]
        counts = Counter(name for _, name in kept)
        for operator, row in table.entries.items():
            assert row.latency_ms == pytest.approx(expected.entries[operator].latency_ms, rel=1e-3)
            assert len(row.samples_ms) >= max(plan.rounds, counts[operator.key])
        for one in table.networks:
            assert len(one.found.samples_ms) >= plan.rounds

    def test_phases_that_were_whole_are_not_measured_again(self, connected, profile, path):
        first = connected()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "save_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                profile(carriers=8)
        assert first.visited
        second = connected()
        table = profile(carriers=8)
        assert (second.loads, second.visited) == ([], [])
        assert len(table.networks) == 8

    @pytest.mark.parametrize(
        "changed", [{"seed": 1}, {"carriers": 9}, {"plan": MeasurementPlan(rounds=5, warmup_seconds=0)}, {}], ids=str
    )
    def test_what_was_measured_otherwise_is_not_gone_on_with(self, connected, profile, path, caplog, changed):
        connected(gone_after=30)
        with pytest.raises(DeviceError):
            profile(carriers=8)
        journal = path.with_suffix(".work") / "samples.jsonl"
        assert len(visits_in(journal)) > 0
        connected(version="1.0" if changed else "2.0", gone_after=0)
        with pytest.raises(DeviceError):
            profile(**{"carriers": 8, **changed})
        assert visits_in(journal) == []
        assert "Starting afresh" in caplog.text

    def test_a_broken_journal_is_one_clear_sentence(self, connected, profile, path):
        connected(gone_after=40)
        with pytest.raises(DeviceError):
            profile()
        journal = path.with_suffix(".work") / "samples.jsonl"
        journal.write_text("nonsense\n" + journal.read_text())
        with pytest.raises(StoredFileError, match=r"samples\.jsonl must hold one JSON object a line, but line 1"):
            profile()


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"precision": "int4"}, UnknownNameError, "precision 'int4' does not exist"),
        ({"batch_size": 0}, SettingsError, "batch_size must be from 1 to 4096, but 0 came"),
        ({"carriers": -1}, SettingsError, "carriers must be from 0 to 10000, but -1 came"),
        ({"calibration_networks": 10_001}, SettingsError, "calibration_networks must be from 0 to 10000"),
        ({"seed": -1}, SettingsError, "seed must be from 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(connected, profile, how, kind, message):
    host = connected()
    with pytest.raises(kind, match=message):
        profile(**how)
    assert (host.loads, host.visited) == ([], [])


def test_a_broken_table_is_not_replaced(connected, profile, path):
    host = connected()
    path.write_text("{")
    with pytest.raises(StoredFileError, match=r"table\.json must be a latency table in JSON"):
        profile()
    assert (path.read_text(), host.visited) == ("{", [])


def test_for_real(space, path):
    """This machine, ONNX Runtime, one thread: whatever its speed, the table is whole and its own numbers agree."""
    here = Device("here", "", "local", ("onnxruntime-cpu",), 1)
    plan = MeasurementPlan(rounds=3, max_rounds=3, warmup_seconds=0)
    table = profile_space(here, space, path=path, plan=plan, carriers=6, calibration_networks=3)
    assert load_table(path) == table
    assert table.missing(space.all_operators()) == []
    assert table.fingerprint["runtime"] == "onnxruntime-cpu"
    assert Counter(one.role for one in table.networks) == {"carrier": 6, "calibration": 3}
    for one in table.networks:
        low, high = one.found.ci95_ms
        assert 0 < low <= one.found.latency_ms <= high < np.inf
        assert len(one.found.samples_ms) == 6, "measured twice"
