"""Latencies from visits: what is divided out, what the intervals hold, and what is flagged."""

import json

import numpy as np
import pytest

from hwnas.devices import Visited, estimate
from hwnas.devices.estimation import LEAST, UNKNOWN, Measurement

TRUTH = {f"model{number}": 1.0 + number for number in range(8)}


def visits_of(rounds, *, rng, runs=4, noise=0.01, slow=lambda share: 1.0, call=0, first=0):
    """Visits in rounds of random order by even noise; `slow` is the slowdown when such a share of the time is over."""
    found = []
    names = list(TRUTH)
    for number in range(rounds):
        for place, name in enumerate(rng.permutation(names)):
            factor = slow((number + place / len(names)) / rounds)
            samples = TRUTH[name] * factor * np.exp(noise * rng.standard_normal(runs))
            found.append(Visited(str(name), first + number, tuple(map(float, samples)), call))
    return found


def within(found):
    inside = [one.ci95_ms[0] <= TRUTH[name] <= one.ci95_ms[1] for name, one in found.measurements.items()]
    return float(np.mean(inside))


@pytest.mark.parametrize("runs", [3, 10])
@pytest.mark.parametrize(
    "slow",
    [lambda share: 1.0, lambda share: 1 + 0.4 * (share > 0.6), lambda share: 1.1 + 0.1 * np.sin(10 * share)],
    ids=["quiet", "throttled", "wave"],
)
def test_the_intervals_hold_the_truth_at_least_as_often_as_they_say(slow, runs):
    rng = np.random.default_rng(0)
    shares = [within(estimate(visits_of(24, rng=rng, runs=runs, slow=slow))) for _ in range(25)]
    assert np.mean(shares) >= 0.94


def test_with_one_run_a_visit_the_interval_is_that_of_the_visits_alone():
    rng = np.random.default_rng(0)
    shares = [within(estimate(visits_of(24, rng=rng, runs=1))) for _ in range(25)]
    assert 0.91 <= np.mean(shares) <= 0.99


def test_an_interval_is_no_wider_than_the_visits_tell():
    rng = np.random.default_rng(1)
    few, many = (estimate(visits_of(rounds, rng=rng, runs=1)) for rounds in (10, 160))
    widths = [
        [np.diff(one.ci95_ms)[0] / one.latency_ms for one in found.measurements.values()] for found in (few, many)
    ]
    assert np.median(widths[1]) < np.median(widths[0]) / 2
    assert np.median(widths[1]) < 2 * 1.96 * 1.2533 * 0.01 / 160**0.5 * 1.5  # the median's own, half as much again


def test_of_runs_that_are_only_ever_slowed_down_the_interval_holds_the_fastest_that_may_be():
    rng = np.random.default_rng(2)
    for runs in (3, 5, 10):
        shares = []
        for _ in range(20):
            visits = [
                Visited(name, number, tuple(truth * (1 + 0.03 * rng.exponential(size=runs))))
                for number in range(24)
                for name, truth in TRUTH.items()
            ]
            shares.append(within(estimate(visits)))
        assert np.mean(shares) >= 0.9


def test_latencies_are_those_at_full_speed_and_slowdowns_are_of_the_rounds():
    visits = visits_of(40, rng=np.random.default_rng(3), noise=0, slow=lambda share: 1 + 0.4 * (share >= 0.75))
    found = estimate(visits)
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=1e-6)
    assert found.slowdowns[:25] == pytest.approx([1.0] * 25)
    assert found.slowdowns[-5:] == pytest.approx([1.4] * 5)
    slowed, drifted = found.flags
    assert slowed.startswith("slowed down: for 25% of the time the machine was slower by more than 10%")
    assert drifted == "drifted: the last quarter of the time was +40.0% against the first"


def test_a_quiet_machine_and_a_few_outliers_are_not_flagged():
    rng = np.random.default_rng(4)
    visits = visits_of(30, rng=rng)
    wild = [
        Visited(one.model, one.round, tuple(5 * ms for ms in one.samples_ms)) if rng.random() < 0.05 else one
        for one in visits
    ]
    for found in (estimate(visits), estimate(wild)):
        assert (found.flags, found.unsettled) == ((), frozenset())
        assert found.slowdowns == (1.0,) * 30
        assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=0.02)


def test_a_slowdown_of_one_call_does_not_reach_into_the_next():
    rng = np.random.default_rng(5)
    earlier = visits_of(12, rng=rng, noise=0.002, slow=lambda share: 1.3)
    visits = [*earlier, *visits_of(12, rng=rng, noise=0.002, call=1, first=12)]
    found = estimate(visits)
    assert found.slowdowns[:12] == pytest.approx([1.3] * 12, abs=0.01)
    assert found.slowdowns[12:] == pytest.approx([1.0] * 12, abs=0.01)
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=0.01)


def test_a_reference_ties_the_latencies_to_its_speed():
    visits = visits_of(20, rng=np.random.default_rng(6), noise=0.001, slow=lambda share: 1.07)
    found = estimate(visits, references_ms={"model3": TRUTH["model3"]})
    assert found.measurements["model3"].latency_ms == pytest.approx(TRUTH["model3"], rel=1e-9)
    assert {name: one.latency_ms for name, one in found.measurements.items()} == pytest.approx(TRUTH, rel=2e-3)
    assert within(found) == 1
    assert found.speed == pytest.approx(1 / 1.07, rel=2e-3)
    assert found.flags == (
        f"another speed: the sentinel took {1 / found.speed - 1:+.1%} against the earlier measurement",
    )


@pytest.mark.parametrize("factor", [0.96, 1.04])
def test_a_speed_that_is_nearly_the_same_is_not_flagged(factor):
    visits = visits_of(20, rng=np.random.default_rng(7), noise=0, slow=lambda share: factor)
    assert estimate(visits, references_ms={"model3": TRUTH["model3"]}).flags == ()


def test_a_model_that_never_settles_is_flagged_with_its_spread():
    rng = np.random.default_rng(8)
    visits = visits_of(30, rng=rng)
    spread = [
        Visited(one.model, one.round, (float(np.exp(rng.standard_normal())),)) if one.model == "model5" else one
        for one in visits
    ]
    found = estimate(spread)
    assert found.unsettled == {"model5"}
    unsettled, wild = found.measurements["model5"].flags
    low, high = found.measurements["model5"].ci95_ms
    assert unsettled.startswith("unsettled: known to ±")
    assert unsettled.endswith("only, after 30 visits")
    assert high / low > 1.3
    assert wild.startswith("wild: half of its 30 visits are more than ")
    assert [one.flags for name, one in found.measurements.items() if name != "model5"] == [()] * 7


def test_the_target_decides_what_is_settled():
    visits = visits_of(20, rng=np.random.default_rng(9))
    assert estimate(visits, target=0.05).unsettled == frozenset()
    assert estimate(visits, target=0.0005).unsettled == set(TRUTH)


@pytest.mark.parametrize("rounds", [1, 2])
def test_so_few_visits_tell_nothing_and_can_still_be_stored(rounds):
    found = estimate(visits_of(rounds, rng=np.random.default_rng(10), noise=0))
    for name, one in found.measurements.items():
        assert one.latency_ms == pytest.approx(TRUTH[name])
        assert one.ci95_ms == pytest.approx((TRUTH[name] * np.exp(-UNKNOWN), TRUTH[name] * np.exp(UNKNOWN)))
        assert one.flags == (f"unsettled: known to ±100.0% only, after {rounds} visits",)
        json.dumps(one.ci95_ms, allow_nan=False)
    assert found.unsettled == set(TRUTH)


def test_no_interval_is_narrower_than_what_can_be_known():
    (one,) = estimate([Visited("one", number, (2.0, 2.0)) for number in range(20)]).measurements.values()
    assert one.latency_ms == pytest.approx(2.0)
    assert one.ci95_ms == pytest.approx((2 * np.exp(-LEAST), 2 * np.exp(LEAST)))


def test_a_lower_quartile_of_each_visit_counts_and_all_samples_are_kept():
    visits = [Visited("one", number, (3.0, 1.0, 2.0, 9.0, 4.0)) for number in range(6)]
    (one,) = estimate(visits, conditions={"before": {"load_average": 0.1}}).measurements.values()
    assert one.latency_ms == pytest.approx(2.0)
    assert one.samples_ms == ((3.0, 1.0, 2.0, 9.0, 4.0),) * 6
    assert one.conditions == {"before": {"load_average": 0.1}}


@pytest.mark.parametrize(
    ("load", "cores", "busy"), [(1.7, 2, False), (1.8, 2, True), (None, 2, False), (9.0, None, False)]
)
def test_a_machine_that_was_busy_before_is_flagged(load, cores, busy):
    conditions = {"before": {"load_average": load}, "cores": cores}
    found = estimate(visits_of(12, rng=np.random.default_rng(11)), conditions=conditions)
    assert found.flags == ((f"busy: the load average was {load} on {cores} cores when it began",) if busy else ())


def test_the_same_visits_give_the_same_estimates():
    visits = visits_of(20, rng=np.random.default_rng(12), slow=lambda share: 1.1 + 0.1 * np.sin(30 * share))
    assert estimate(visits) == estimate(visits)
    assert isinstance(estimate(visits).measurements["model0"], Measurement)
