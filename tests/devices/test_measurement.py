import itertools
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.devices import Measurement, MeasurementPlan, Session, measure, pinned, summarize
from hwnas.devices.measurement import warm_up

TRUTH = {f"model{index}": 0.05 * 1.6**index for index in range(8)}  # from 0.05 to 1.3 ms


class Machine:
    """A simulated machine: all its sessions share a clock, a drift over the clock, noise and outliers."""

    def __init__(self, *, noise=0.0, drift=0.0, outliers=0.0, seed=0):
        self.noise, self.drift, self.outliers = noise, drift, outliers
        self.rng = np.random.default_rng(seed)
        self.clock_ms = 0.0
        self.calls = []

    def sessions(self, truth=TRUTH):
        return {name: SimulatedSession(self, name, latency_ms) for name, latency_ms in truth.items()}

    def sample(self, latency_ms):
        """The truth, slower as the machine drifts (a period of half a second), with noise and rare interruptions on top."""
        slower = 1 + self.drift * (1 + np.sin(self.clock_ms / 500 * 2 * np.pi)) / 2
        taken = latency_ms * slower * (1 + self.noise * self.rng.exponential())
        if self.rng.random() < self.outliers:
            taken += self.rng.exponential(5.0)
        self.clock_ms += taken
        return taken

    @property
    def visits(self):
        """(model, runs) of each timed visit: what follows its one discarded run."""
        return [call for before, call in itertools.pairwise(self.calls) if before == (call[0], 1)]


class SimulatedSession(Session):
    def __init__(self, machine, name, latency_ms):
        self.machine, self.name, self.latency_ms = machine, name, latency_ms

    def run(self, inputs):
        raise NotImplementedError

    def time_ms(self, runs):
        self.machine.calls.append((self.name, runs))
        return [self.machine.sample(self.latency_ms) for _ in range(runs)]


@pytest.mark.parametrize(
    ("disturbance", "tolerance"),
    [
        ({}, 1e-4),
        ({"noise": 0.05}, 0.03),
        ({"outliers": 0.05}, 0.01),
        ({"drift": 0.2}, 0.05),
        ({"noise": 0.02, "outliers": 0.05, "drift": 0.1}, 0.05),
    ],
    ids=["quiet", "noise", "outliers", "drift", "everything"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_truth_is_recovered(disturbance, tolerance, seed):
    plan = MeasurementPlan(rounds=40)
    samples = measure(Machine(**disturbance, seed=seed).sessions(), plan=plan, seed=seed)
    for name, truth in TRUTH.items():
        found = summarize(samples[name], quantile=plan.quantile)
        assert found.latency_ms == pytest.approx(truth, rel=tolerance)
        assert found.latency_ms >= truth * (1 - 1e-4), "nothing is faster than undisturbed"


def test_a_drift_changes_all_models_alike():
    """What one model after the other would get wrong: the ratio of two models."""
    sessions = Machine(drift=0.5).sessions({"one": 0.5, "two": 1.0})
    plan = MeasurementPlan(rounds=60)
    samples = measure(sessions, plan=plan)
    one, two = (summarize(samples[name], quantile=plan.quantile).latency_ms for name in ("one", "two"))
    assert two / one == pytest.approx(2, rel=0.05)
    sequential = [
        np.median(session.time_ms(400)) for session in Machine(drift=0.5).sessions({"one": 0.5, "two": 1.0}).values()
    ]
    assert sequential[1] / sequential[0] != pytest.approx(2, rel=0.05)


def test_each_model_is_visited_once_a_round_in_an_order_of_its_own():
    seen = []
    plan = MeasurementPlan(rounds=6)
    machine = Machine()
    measure(machine.sessions(), plan=plan, on_visit=lambda name, number, taken: seen.append((number, name)))
    assert [number for number, _ in seen] == sorted([*range(6)] * len(TRUTH))
    rounds = [[name for number, name in seen if number == wanted] for wanted in range(6)]
    assert all(sorted(names) == sorted(TRUTH) for names in rounds)
    assert len({tuple(names) for names in rounds}) == 6, "each round has an order of its own"
    assert [name for name, _ in machine.visits] == [name for _, name in seen]


def test_the_order_hangs_on_the_seed_alone():
    def order(seed, sessions):
        seen = []
        plan = MeasurementPlan(rounds=3)
        measure(sessions, plan=plan, seed=seed, on_visit=lambda name, number, taken: seen.append(name))
        return seen

    turned = dict(reversed(Machine().sessions().items()))
    assert order(1, Machine().sessions()) == order(1, turned) != order(2, Machine().sessions())


def test_a_visit_drops_its_first_run_and_keeps_the_rest():
    machine = Machine()
    plan = MeasurementPlan(rounds=2, visit_ms=1.0, min_runs=2, max_runs=7)
    truth = {"slow": 3.0, "middle": 0.2, "fast": 0.001}
    samples = measure(machine.sessions(truth), plan=plan, run_ms=truth)
    wanted = {"slow": 2, "middle": 5, "fast": 7}
    assert sorted(machine.visits) == sorted(2 * [*wanted.items()])
    assert len(machine.calls) == 2 * len(machine.visits)
    assert {name: {len(visit) for visit in rounds.values()} for name, rounds in samples.items()} == {
        name: {runs} for name, runs in wanted.items()
    }


def test_without_run_times_the_models_are_warmed_up_first():
    machine = Machine()
    measure(machine.sessions(), plan=MeasurementPlan(rounds=1, warmup_runs=5))
    assert machine.calls[: len(TRUTH)] == [(name, 5) for name in TRUTH]


@pytest.mark.parametrize(("warmup_runs", "fastest_ms"), [(1, 4.0), (3, 1.0), (4, 1.0)])
def test_warm_up_runs_each_model_and_gives_its_fastest_run(warmup_runs, fastest_ms):
    class Scripted(SimulatedSession):
        def time_ms(self, runs):
            super().time_ms(runs)
            return [4.0, 2.0, 1.0, 3.0][:runs]

    machine = Machine()
    sessions = {name: Scripted(machine, name, 1.0) for name in ("one", "two")}
    assert warm_up(sessions, MeasurementPlan(warmup_runs=warmup_runs)) == {"one": fastest_ms, "two": fastest_ms}
    assert machine.calls == [("one", warmup_runs), ("two", warmup_runs)]


@pytest.mark.parametrize("stop", [0, 1, 7, 8, 13, 23])
def test_what_was_measured_before_is_not_measured_again(stop):
    plan = MeasurementPlan(rounds=3)
    kept = {}
    order = []

    def keep(name, number, taken):
        kept.setdefault(name, {})[number] = taken
        order.append((name, number))
        if len(order) == stop:
            raise KeyboardInterrupt

    if stop:
        with pytest.raises(KeyboardInterrupt):
            measure(Machine().sessions(), plan=plan, seed=5, run_ms=TRUTH, on_visit=keep)
    before = {name: dict(rounds) for name, rounds in kept.items()}
    machine = Machine(noise=0.1)
    news = []
    samples = measure(
        machine.sessions(),
        plan=plan,
        seed=5,
        run_ms=TRUTH,
        samples=kept,
        on_visit=lambda name, number, taken: order.append((name, number)),
        on_progress=lambda stage, done, total, note="": news.append((stage, done, total)),
    )
    assert Counter(order) == Counter(itertools.product(TRUTH, range(3)))
    assert len(machine.visits) == 24 - stop
    assert news == [("measuring", done, 24) for done in range(stop + 1, 25)]
    assert all(samples[name][number] == taken for name, rounds in before.items() for number, taken in rounds.items())
    uninterrupted = []
    measure(
        Machine().sessions(),
        plan=plan,
        seed=5,
        run_ms=TRUTH,
        on_visit=lambda name, number, taken: uninterrupted.append((name, number)),
    )
    assert order == uninterrupted, "a resumed measurement keeps its order"


def test_a_whole_measurement_measures_nothing_and_leaves_what_was_given_alone():
    plan = MeasurementPlan(rounds=2)
    whole = measure(Machine().sessions(), plan=plan)
    machine = Machine()
    again = measure(machine.sessions(), plan=plan, run_ms=TRUTH, samples=whole)
    assert machine.calls == []
    assert again == whole
    assert again["model0"] is not whole["model0"]


@given(
    st.floats(0, 1e4, allow_nan=False),
    st.floats(0.01, 100),
    st.integers(1, 10),
    st.integers(0, 50),
)
def test_runs_a_visit_fill_the_visit_within_their_bounds(run_ms, visit_ms, min_runs, more):
    plan = MeasurementPlan(visit_ms=visit_ms, min_runs=min_runs, max_runs=min_runs + more)
    runs = plan.runs_a_visit(run_ms)
    assert plan.min_runs <= runs <= plan.max_runs
    assert runs == plan.max_runs or runs * run_ms >= visit_ms * (1 - 1e-9)
    assert runs == plan.min_runs or (runs - 1) * run_ms <= visit_ms


def test_the_estimated_time_is_what_a_quiet_machine_takes():
    machine = Machine()
    plan = MeasurementPlan(rounds=7)
    measure(machine.sessions(), plan=plan, run_ms=TRUTH)
    assert plan.estimated_seconds(TRUTH) == pytest.approx(machine.clock_ms / 1e3)


VISITS = st.lists(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=5), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(VISITS, st.floats(0, 1))
def test_the_interval_holds_the_estimate_and_both_lie_within_the_visits(visits, quantile):
    found = summarize(dict(enumerate(visits)), quantile=quantile)
    medians = [float(np.median(visit)) for visit in visits]
    low, high = found.ci95_ms
    assert min(medians) <= low <= found.latency_ms <= high <= max(medians)


def test_the_estimate_is_the_quantile_of_the_medians_of_the_visits():
    rounds = {2: [9.0, 9.0], 0: [1.0, 2.0, 60.0], 1: [4.0], 4: [3.0, 5.0], 3: [30.0]}
    found = summarize(rounds, quantile=0.25, conditions={"load_average": 0.1})
    assert found.latency_ms == 4.0
    assert found.samples_ms == ((1.0, 2.0, 60.0), (4.0,), (9.0, 9.0), (30.0,), (3.0, 5.0))
    assert found.conditions == {"load_average": 0.1}
    assert found == summarize(rounds, quantile=0.25, conditions={"load_average": 0.1})


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """95 % for the median of many rounds; the percentile bootstrap of 30 rounds is a little short of it."""
    truth = 1 + 0.05 * np.log(2)  # the median of 1 + 0.05 * exponential
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        rounds = {number: [1 + 0.05 * rng.exponential()] for number in range(30)}
        low, high = summarize(rounds, quantile=0.5).ci95_ms
        covered += low <= truth <= high
    assert 85 <= covered <= 100


def test_more_rounds_narrow_the_interval():
    rng = np.random.default_rng(1)
    rounds = {number: [1 + 0.1 * rng.exponential()] for number in range(200)}
    few = summarize({number: rounds[number] for number in range(10)}, quantile=0.5)
    many = summarize(rounds, quantile=0.5)
    assert many.ci95_ms[1] - many.ci95_ms[0] < (few.ci95_ms[1] - few.ci95_ms[0]) / 2


def test_one_round_has_an_interval_of_no_width():
    assert summarize({0: [1.0, 3.0]}, quantile=0.2) == Measurement(2.0, (2.0, 2.0), ((1.0, 3.0),), {})


@pytest.fixture
def affinity(monkeypatch):
    """A machine with cores 0 to 5 of which this process may use 0, 2, 3, 5; the calls that pin it."""
    calls = []
    allowed = {0, 2, 3, 5}

    def pin(pid, cores):
        calls.append(sorted(cores))
        allowed.clear()
        allowed.update(cores)

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", pin, raising=False)
    return calls


@pytest.mark.parametrize(("num_threads", "cores"), [(1, (5,)), (2, (3, 5)), (4, (0, 2, 3, 5)), (9, (0, 2, 3, 5))])
def test_pinned_uses_the_last_cores_that_it_may_and_gives_them_back(affinity, num_threads, cores):
    with pinned(num_threads) as chosen:
        assert chosen == cores
        assert affinity == [list(cores)]
    assert affinity == [list(cores), [0, 2, 3, 5]]


def test_pinned_gives_the_cores_back_on_an_error(affinity):
    with pytest.raises(ZeroDivisionError), pinned(1):
        _ = 1 / 0
    assert affinity == [[5], [0, 2, 3, 5]]


def test_pinned_does_nothing_where_the_system_cannot_pin(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned(1) as chosen:
        assert chosen is None


def test_pinned_does_nothing_where_the_system_refuses(affinity, monkeypatch):
    def refuse(pid, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pinned(1) as chosen:
        assert chosen is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
def test_pinned_for_real():
    before = os.sched_getaffinity(0)
    with pinned(1) as chosen:
        assert os.sched_getaffinity(0) == set(chosen) == {max(before)}
    assert os.sched_getaffinity(0) == before
