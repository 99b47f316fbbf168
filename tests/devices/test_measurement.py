"""The measuring protocol, on simulated devices whose truth is known; no test hangs on how fast this machine is."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.devices import MeasurementPlan, Visited, measure
from hwnas.devices.measurement import MAX_WARMUPS, SENTINEL_EVERY, warm_up
from hwnas.errors import DeviceError, SettingsError
from hwnas.testing import SimulatedHost

TRUTH = {f"model{number:02d}": 0.2 * 1.2**number for number in range(16)}
MODELS = {name: Path(name) for name in TRUTH}
SENTINEL = "model08"
PLAN = MeasurementPlan(rounds=12, max_rounds=40, warmup_seconds=0)


def even(share):
    return lambda rng: max(0.1, 1 + share * rng.standard_normal())


def one_sided(share):
    return lambda rng: 1 + share * rng.exponential()


def simulated(**how):
    return SimulatedHost(lambda path: TRUTH[path.name], **how)


def measured(host, plan=PLAN, models=MODELS, **how):
    return measure(host, models, plan=plan, sentinels=[SENTINEL], clock=host.clock, **how)


def errors(found, truth=TRUTH):
    return {name: one.latency_ms / truth[name] - 1 for name, one in found.measurements.items()}


def covered(found):
    """The share of the intervals that hold the truth."""
    inside = [one.ci95_ms[0] <= TRUTH[name] <= one.ci95_ms[1] for name, one in found.measurements.items()]
    return np.mean(inside)


def kinds(flags):
    """What the flags begin with."""
    return {flag.partition(":")[0] for flag in flags}


def slow_after(seconds, factor=1.4):
    return lambda name, now: 1.0 if now < seconds else factor


def reacting(name, now):
    """After a while every other model is slower by half as much again as its neighbours."""
    return 1.0 if now < 2.6 else 1.3 ** (1 + 0.5 * (int(name[-2:]) % 2))


DISTURBED = {
    "quiet": ({}, set()),
    "even noise": ({"noise": even(0.01)}, set()),
    "much even noise": ({"noise": even(0.03)}, set()),
    "noise that only slows down": ({"noise": one_sided(0.03)}, set()),
    "outliers": ({"noise": lambda rng: even(0.01)(rng) + (rng.random() < 0.05) * rng.exponential(3)}, set()),
    "a ramp": ({"noise": even(0.01), "slowdown": lambda name, now: 1 + 0.03 * now}, {"drifted"}),
    "a wave": ({"noise": even(0.01), "slowdown": lambda name, now: 1.1 + 0.1 * np.sin(6 * now)}, {"slowed down"}),
    "throttling": ({"noise": even(0.01), "slowdown": slow_after(2)}, {"slowed down", "drifted"}),
    "bursts": ({"noise": even(0.02), "slowdown": lambda name, now: 1 + 0.5 * (3 * now % 1 > 0.7)}, {"slowed down"}),
    "throttling near the end": ({"noise": even(0.01), "slowdown": slow_after(2.9)}, {"slowed down", "drifted"}),
    "sudden load": ({"noise": even(0.01), "slowdown": lambda name, now: 1 + (1 < now < 2.5)}, {"slowed down"}),
    "models that react differently": ({"noise": even(0.01), "slowdown": reacting}, {"slowed down", "drifted"}),
}


class TestTruth:
    @pytest.mark.parametrize("disturbance", DISTURBED)
    def test_it_is_recovered_within_the_interval_and_the_machine_is_flagged(self, disturbance):
        how, flags = DISTURBED[disturbance]
        plan = replace(PLAN, rounds=40, max_rounds=60)
        shares = []
        for seed in range(4):
            found = measured(simulated(seed=seed, **how), plan, seed=seed)
            shares.append(covered(found))
            assert kinds(found.flags) == flags
            assert max(map(abs, errors(found).values())) < 0.035
        assert np.mean(shares) >= 0.9

    def test_a_quiet_machine_is_settled_at_once_and_exact(self):
        found = measured(simulated())
        assert max(map(abs, errors(found).values())) < 1e-4
        assert found.slowdowns == (1.0,) * PLAN.rounds
        assert (found.unsettled, found.speed, found.refused) == (frozenset(), 1.0, {})
        assert not any(one.flags for one in found.measurements.values())

    def test_slowdowns_are_those_of_the_rounds(self):
        host = simulated(slowdown=slow_after(2))
        found = measured(host, replace(PLAN, rounds=40))
        assert found.slowdowns[:15] == pytest.approx([1.0] * 15, rel=1e-3)
        assert found.slowdowns[-10:] == pytest.approx([1.4] * 10, rel=1e-3)

    def test_a_machine_on_which_all_is_wild_is_flagged_with_the_spread_and_nothing_is_called_settled(self):
        host = simulated(noise=lambda rng: np.exp(0.8 * rng.standard_normal()))
        found = measured(host)
        assert found.unsettled == set(TRUTH)
        assert all("unsettled" in kinds(one.flags) for one in found.measurements.values())
        assert "wild" in kinds(found.measurements["model15"].flags)
        assert len(found.slowdowns) == PLAN.max_rounds
        low, high = found.measurements[SENTINEL].ci95_ms
        assert high / low > 1.5

    def test_one_model_that_never_settles_is_the_one_that_is_flagged(self):
        wild = np.random.default_rng(0)
        host = simulated(
            noise=even(0.005), slowdown=lambda name, now: np.exp(wild.standard_normal()) if name == "model03" else 1.0
        )
        found = measured(host)
        assert found.unsettled == {"model03"}
        assert kinds(found.measurements["model03"].flags) == {"unsettled", "wild"}
        others = [one for name, one in found.measurements.items() if name != "model03"]
        assert not any(one.flags for one in others)
        assert not found.flags


class TestRounds:
    def test_each_round_visits_all_and_the_sentinel_between_every_few(self):
        host = simulated()
        visits = []
        measured(host, on_visit=visits.append)
        assert [(visit.model, len(visit.samples_ms)) for visit in visits] == host.visited[-len(visits) :]
        orders = [[one.model for one in visits if one.round == number] for number in range(PLAN.rounds)]
        sentinels = -(-(len(TRUTH) - 1) // SENTINEL_EVERY)
        for order in orders:
            assert Counter(order) == Counter([*TRUTH, *[SENTINEL] * (sentinels - 1)])
            assert order[:: SENTINEL_EVERY + 1] == [SENTINEL] * sentinels
        assert len({tuple(order) for order in orders}) == PLAN.rounds

    def test_the_order_is_the_same_for_the_same_seed(self):
        first, second, other = (simulated(load_seconds=1e3) for _ in range(3))
        measured(first, seed=3)
        measured(second, seed=3)
        measured(other, seed=4)
        assert (first.visited, first.loads) == (second.visited, second.loads)
        assert first.visited != other.visited
        assert first.loads != other.loads

    def test_the_sentinel_may_be_the_only_model(self):
        found = measured(simulated(), models={SENTINEL: MODELS[SENTINEL]})
        assert found.measurements[SENTINEL].latency_ms == pytest.approx(TRUTH[SENTINEL])
        assert len(found.measurements[SENTINEL].samples_ms) == PLAN.rounds

    def test_it_ends_when_all_is_settled(self):
        plan = replace(PLAN, max_rounds=1000, target=0.002)
        found = measured(simulated(noise=even(0.01)), plan)
        assert plan.rounds < len(found.slowdowns) < plan.max_rounds
        assert not found.unsettled

    def test_it_ends_at_the_most_rounds(self):
        found = measured(simulated(noise=even(0.2)), replace(PLAN, target=1e-4))
        assert len(found.slowdowns) == PLAN.max_rounds
        assert found.unsettled

    def test_it_ends_when_the_time_is_spent_but_not_before_the_fewest_rounds(self):
        host = simulated(noise=even(0.2))
        found = measured(host, replace(PLAN, target=1e-4, max_rounds=100_000, seconds=6.0))
        a_round = host.seconds / len(found.slowdowns)
        assert 6.0 <= host.seconds < 6.0 + 4 * a_round
        assert len(found.slowdowns) > PLAN.rounds
        host = simulated(noise=even(0.2))
        assert len(measured(host, replace(PLAN, target=1e-4, seconds=0)).slowdowns) == PLAN.rounds

    def test_progress_is_told_of_each_load_and_each_round(self):
        news = []
        measured(
            simulated(load_seconds=1e3), on_progress=lambda stage, done, total, note="": news.append((stage, done))
        )
        loading = [("loading models", done) for done in range(1, len(TRUTH) + 1)]
        assert news == [*loading, *(("measuring models", done) for done in range(1, PLAN.rounds + 1))]

    def test_what_the_machine_was_like_is_kept(self):
        host = simulated(conditions={"load_average": 3.9}, fingerprint={"cores": 4})
        found = measured(host)
        seen = {"cores": 4, "before": {"load_average": 3.9}, "after": {"load_average": 3.9}}
        assert all(one.conditions == seen for one in found.measurements.values())
        assert found.flags == ("busy: the load average was 3.9 on 4 cores when it began",)


class TestReference:
    def test_a_second_call_on_a_slower_machine_gives_the_latencies_of_the_first(self):
        first = measured(simulated(noise=even(0.005), seed=1))
        reference_ms = first.measurements[SENTINEL].latency_ms
        slower = simulated(noise=even(0.005), slowdown=lambda name, now: 1.07, seed=2)
        second = measured(slower, references_ms={SENTINEL: reference_ms})
        assert second.measurements[SENTINEL].latency_ms == pytest.approx(reference_ms)
        assert errors(second, {name: one.latency_ms for name, one in first.measurements.items()}) == pytest.approx(
            dict.fromkeys(TRUTH, 0), abs=0.005
        )
        assert second.speed == pytest.approx(1 / 1.07, rel=0.005)
        (flag,) = second.flags
        assert flag.startswith(("another speed: the sentinels took +7.", "another speed: the sentinels took +6.9"))

    def test_without_a_reference_they_are_its_own(self):
        second = measured(simulated(slowdown=lambda name, now: 1.07))
        assert errors(second) == pytest.approx(dict.fromkeys(TRUTH, 0.07), abs=1e-4)
        assert (second.speed, second.flags) == (1.0, ())


class TestLoading:
    def test_where_a_model_lies_in_memory_does_not_matter_since_all_are_loaded_anew(self):
        found = []
        for seed in (1, 2):
            host = simulated(placement=0.03, noise=even(0.003), seed=seed)
            found.append(measured(host, replace(PLAN, rounds=40)))
            assert len(host.loads) == 40
            assert len(set(host.loads)) == len(host.loads), "another order each time"
        first, second = ([one.latency_ms for one in each.measurements.values()] for each in found)
        assert np.median(np.abs(np.divide(first, second) - 1)) < 0.004

    def test_without_loading_anew_it_would_matter(self):
        """What the test above would find on a host that is slow to load."""
        found = [
            measured(simulated(placement=0.03, load_seconds=1e3, seed=seed), replace(PLAN, rounds=40))
            for seed in (1, 2)
        ]
        first, second = ([one.latency_ms for one in each.measurements.values()] for each in found)
        assert np.median(np.abs(np.divide(first, second) - 1)) > 0.004

    def test_a_host_whose_loading_is_slow_is_not_loaded_again_and_again(self):
        slow = simulated(load_seconds=10)
        measured(slow)
        assert len(slow.loads) == 1
        some = simulated(load_seconds=0.05)  # 0.8 s in all; a round takes 0.1 s
        measured(some, replace(PLAN, rounds=40))
        assert 1 < len(some.loads) <= 1 + 40 * 0.1 / (2 * 0.8)

    def test_a_model_that_is_refused_when_it_is_loaded_anew_is_an_error(self):
        host = simulated(refuses=lambda path: "out of memory" if len(host.loads) > 1 else None)
        with pytest.raises(DeviceError, match=r"must run model\d\d again after it has run, but it says: out of memory"):
            measured(host)

    def test_refused_models_are_reported_and_the_others_measured(self):
        host = simulated(refuses=lambda path: f"no kernel for {path}" if path.name in {"model02", "model05"} else None)
        found = measured(host)
        assert found.refused == {name: f"no kernel for {name}" for name in ("model02", "model05")}
        assert set(found.measurements) == set(TRUTH) - set(found.refused)
        assert max(map(abs, errors(found).values())) < 1e-4

    def test_a_refused_sentinel_is_an_error(self):
        host = simulated(refuses=lambda path: "no kernel" if path.name == SENTINEL else None)
        with pytest.raises(DeviceError, match=f"The runtime must run {SENTINEL}, but it says: no kernel"):
            measured(host)
        assert host.visited == []

    def test_without_a_named_sentinel_the_first_that_is_taken_is_one(self):
        first = next(iter(MODELS))
        host = simulated(refuses=lambda path: "no kernel" if path.name == first else None)
        found = measure(host, MODELS, plan=PLAN, clock=host.clock)
        assert found.refused == {first: "no kernel"}
        assert set(found.measurements) == set(TRUTH) - {first}

    def test_where_all_are_refused_nothing_is_measured(self):
        host = simulated(refuses=lambda path: "no kernel")
        found = measure(host, MODELS, plan=PLAN, clock=host.clock)
        assert (found.measurements, set(found.refused), host.visited) == ({}, set(MODELS), [])

    def test_all_is_unloaded_in_the_end(self):
        host = simulated()
        measured(host)
        with pytest.raises(DeviceError, match="must be loaded"):
            list(host.visit([(SENTINEL, 1)]))


class TestWarmingUp:
    def test_it_lasts_until_no_model_gets_faster(self):
        cold = simulated(slowdown=lambda name, now: 1 + 2 * np.exp(-now / 0.05))
        list(cold.load(MODELS))
        fastest = warm_up(cold, MODELS, plan=PLAN, clock=cold.clock)
        assert 2 * len(TRUTH) < len(cold.visited) < MAX_WARMUPS * len(TRUTH)
        assert fastest == pytest.approx(TRUTH, rel=0.1)

    def test_it_lasts_as_long_as_the_plan_says_but_not_for_ever(self):
        host = simulated()
        list(host.load(MODELS))
        warm_up(host, MODELS, plan=replace(PLAN, warmup_seconds=0.15), clock=host.clock)
        assert 0.15 <= host.seconds < 0.15 + 2 * 2 * sum(TRUTH.values()) / 1e3
        warm_up(host, MODELS, plan=replace(PLAN, warmup_seconds=600), clock=lambda: 0.0)
        assert host.seconds < 0.15 + (2 + MAX_WARMUPS) * 2 * sum(TRUTH.values()) / 1e3


class TestResuming:
    @pytest.mark.parametrize("after", [1, 17, 18, 100])
    def test_earlier_visits_count_and_every_model_is_visited_as_often_as_planned(self, after):
        kept: list[Visited] = []
        stopped = simulated(gone_after=2 * len(TRUTH) + after, noise=even(0.001))  # the warm-up takes two turns
        with pytest.raises(DeviceError, match="it is gone"):
            measured(stopped, on_visit=kept.append)
        assert len(kept) == after
        later: list[Visited] = []
        found = measured(simulated(noise=even(0.001), seed=1), earlier=kept, on_visit=later.append)
        assert {visit.call for visit in kept} == {0}
        assert {visit.call for visit in later} == {1}
        assert min(visit.round for visit in later) > max(visit.round for visit in kept)
        counts = Counter(visit.model for visit in [*kept, *later])
        assert min(counts.values()) == PLAN.rounds
        for name, one in found.measurements.items():
            assert list(one.samples_ms) == [visit.samples_ms for visit in [*kept, *later] if visit.model == name]

    def test_stopped_in_the_first_round_again_and_again(self):
        kept: list[Visited] = []
        for _ in range(3 * PLAN.rounds):
            with pytest.raises(DeviceError):
                measured(simulated(gone_after=2 * len(TRUTH) + 5), earlier=tuple(kept), on_visit=kept.append)
        found = measured(simulated(), earlier=tuple(kept), on_visit=kept.append)
        assert min(len(one.samples_ms) for one in found.measurements.values()) == PLAN.rounds
        assert [visit.call for visit in kept] == sorted(visit.call for visit in kept)

    def test_the_time_that_earlier_visits_took_is_spent(self):
        plan = replace(PLAN, target=1e-4, max_rounds=100_000, seconds=20.0)
        kept: list[Visited] = []
        stopped = simulated(gone_after=1500, noise=even(0.2))
        with pytest.raises(DeviceError):
            measured(stopped, plan, on_visit=kept.append)
        spent = sum(sum(visit.samples_ms) for visit in kept) / 1e3
        assert spent > 3
        host = simulated(noise=even(0.2), seed=1)
        measured(host, plan, earlier=kept)
        assert host.seconds == pytest.approx(20 - spent, abs=0.5)

    @pytest.mark.parametrize(
        "plan", [PLAN, replace(PLAN, rounds=40, target=1e-4), replace(PLAN, target=1e-4, seconds=0)], ids=str
    )
    def test_what_was_measured_whole_is_not_measured_again(self, plan):
        kept: list[Visited] = []
        first = measured(simulated(noise=even(0.01)), plan, on_visit=kept.append)
        host = simulated()
        second = measured(host, plan, earlier=kept)
        assert (host.loads, host.visited) == ([], [])
        assert second.unsettled == first.unsettled
        for name, one in second.measurements.items():
            assert replace(one, conditions=first.measurements[name].conditions) == first.measurements[name]

    def test_earlier_visits_of_a_model_that_is_refused_now_are_left_out(self):
        kept: list[Visited] = []
        with pytest.raises(DeviceError):
            measured(simulated(gone_after=100), on_visit=kept.append)
        found = measured(simulated(refuses=lambda path: "no" if path.name == "model00" else None), earlier=kept)
        assert set(found.measurements) == set(TRUTH) - {"model00"}


class TestPlan:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("rounds", 0),
            ("max_rounds", 100_001),
            ("seconds", -1.0),
            ("seconds", float("nan")),
            ("target", 0.0),
            ("target", 2.0),
            ("warmup_seconds", 601.0),
            ("visit_ms", -1.0),
            ("min_runs", 0),
            ("max_runs", 10_001),
        ],
    )
    def test_a_value_that_cannot_be_used_is_named(self, name, value):
        with pytest.raises(SettingsError, match=rf"^measurement\.{name} must be from .* to .*, but {value} came"):
            MeasurementPlan(**{name: value})

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ({"rounds": 9, "max_rounds": 8}, "measurement.rounds must be at most max_rounds=8, but 9 came"),
            ({"min_runs": 21}, "measurement.min_runs must be at most max_runs=20, but 21 came"),
        ],
    )
    def test_the_least_is_no_more_than_the_most(self, how, message):
        with pytest.raises(SettingsError) as caught:
            MeasurementPlan(**how)
        assert message in str(caught.value)

    @given(st.floats(0, 1e4), st.floats(0.01, 100), st.integers(1, 10), st.integers(0, 50))
    def test_runs_a_visit_fill_the_visit_within_their_bounds(self, run_ms, visit_ms, min_runs, more):
        plan = MeasurementPlan(visit_ms=visit_ms, min_runs=min_runs, max_runs=min_runs + more)
        runs = plan.runs_a_visit(run_ms)
        assert plan.min_runs <= runs <= plan.max_runs
        assert runs == plan.max_runs or runs * run_ms >= visit_ms * (1 - 1e-9)
        assert runs == plan.min_runs or (runs - 1) * run_ms <= visit_ms
