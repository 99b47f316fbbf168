"""Rows out of measurements: contexts subtracted, carriers believed, later rows by known weights, proofs replaced."""

import numpy as np
import pytest

from hwnas.devices import Measurement
from hwnas.latency import LatencyTable
from hwnas.latency.costing import FEATURES, counts_of, with_calibration, with_rows
from hwnas.latency.models import sides_of


def costs_of(space):
    """What each operator truly costs in a network."""
    return {operator: 0.1 * (1 + number) for number, operator in enumerate(space.all_operators())}


@pytest.fixture
def measured(space, measurement_of):
    """Each operator between its contexts, which take 1 ms a pair."""
    found = {name: measurement_of(1.0) for operator in space.all_operators() for name in sides_of(operator, space)}
    for operator, cost in costs_of(space).items():
        found[operator.key] = measurement_of(cost + 0.5 * len(sides_of(operator, space)))
    return found


@pytest.fixture
def empty(identity):
    return LatencyTable(identity, {}, {})


def whole(space, measurement_of, architectures, factor=1.0):
    """Measured networks."""
    costs = costs_of(space)
    return {
        one: measurement_of(factor * sum(costs[operator] for operator in space.operators(one))) for one in architectures
    }


class TestRows:
    def test_half_of_each_context_is_subtracted_and_rows_sum(self, empty, space, measured):
        table = with_rows(empty, space, space.all_operators(), measured=measured, carriers={})
        costs = costs_of(space)
        for operator, row in table.entries.items():
            assert row.latency_ms == pytest.approx(costs[operator])
            assert row.ci95_ms[0] <= row.latency_ms <= row.ci95_ms[1]
            assert row.samples_ms == measured[operator.key].samples_ms
            assert row.conditions["half_subtracted"] == list(sides_of(operator, space))
            assert row.conditions["between_contexts_ms"] == pytest.approx(costs[operator])
        largest = space.operators(space.largest())
        assert table.predict_ms(largest) == pytest.approx(sum(costs[operator] for operator in largest))
        assert set(table.contexts) == {name for operator in costs for name in sides_of(operator, space)}
        assert (table.weights, table.networks, table.quality) == ({}, (), None)

    def test_the_errors_of_what_is_subtracted_are_added(self, empty, space, measured):
        operator = space.all_operators()[0]
        (side,) = sides_of(operator, space)
        measured[operator.key] = Measurement(10.0, (9.7, 10.6))
        measured[side] = Measurement(2.0, (1.2, 2.8))
        row = with_rows(empty, space, [operator], measured=measured, carriers={}).entries[operator]
        assert row.latency_ms == 9.0
        assert row.ci95_ms == pytest.approx((9.0 - (0.3**2 + 0.4**2) ** 0.5, 9.0 + (0.6**2 + 0.4**2) ** 0.5))

    def test_an_operator_that_seems_to_take_less_than_nothing_takes_nothing(self, empty, space, measured):
        operator = space.all_operators()[1]
        measured[operator.key] = Measurement(0.9, (0.8, 1.05))
        row = with_rows(empty, space, [operator], measured=measured, carriers={}).entries[operator]
        assert row.latency_ms == 0
        assert row.ci95_ms[0] == 0 <= row.ci95_ms[1]

    def test_flags_are_kept(self, empty, space, measured, measurement_of):
        operator = space.all_operators()[2]
        measured[operator.key] = measurement_of(2.0, flags=("unsettled: a bit",))
        row = with_rows(empty, space, [operator], measured=measured, carriers={}).entries[operator]
        assert row.flags == ("unsettled: a bit",)


class TestCarriers:
    def test_rows_are_those_that_networks_tell(self, empty, space, measured, measurement_of):
        carriers = whole(space, measurement_of, space.everything()[::3], factor=1.3)
        table = with_rows(empty, space, space.all_operators(), measured=measured, carriers=carriers)
        for one, found in whole(space, measurement_of, space.everything(), factor=1.3).items():
            assert table.predict_ms(space.operators(one)) == pytest.approx(found.latency_ms, rel=0.01)
        assert list(table.weights) == list(FEATURES)
        assert table.weights[FEATURES[0]] == pytest.approx(1.3, rel=0.02)
        for row in table.entries.values():
            assert row.ci95_ms[0] <= row.latency_ms <= row.ci95_ms[1]

    def test_the_proof_is_of_networks_that_were_left_out(self, empty, space, measured, measurement_of):
        carriers = whole(space, measurement_of, space.everything()[::3])
        table = with_rows(empty, space, space.all_operators(), measured=measured, carriers=carriers)
        assert [one.role for one in table.networks] == ["carrier"] * len(carriers)
        assert table.quality.networks == len(carriers)
        assert table.quality.calibrated == table.quality.raw_sum
        assert table.quality.calibrated.spearman > 0.95
        assert table.quality.noise_ceiling is None
        errors = np.array([one.predicted_ms / one.found.latency_ms - 1 for one in table.networks])
        assert table.calibration.relative_deviation == pytest.approx(np.sqrt(np.mean(errors**2)))
        assert table.calibration.form.startswith("none")
        assert table.interval_ms(space.operators(space.largest())) is not None

    def test_too_few_of_them_are_not_believed(self, empty, space, measured, measurement_of):
        carriers = whole(space, measurement_of, space.everything()[:2], factor=1.3)
        table = with_rows(empty, space, space.all_operators(), measured=measured, carriers=carriers)
        assert (table.weights, table.networks) == ({}, ())
        assert [row.latency_ms for row in table.entries.values()] == pytest.approx(list(costs_of(space).values()))

    def test_rows_that_are_added_later_are_built_up_by_the_known_weights(self, empty, space, measured, measurement_of):
        *first, last = space.all_operators()
        from_the_first = [one for one in space.everything() if last not in space.operators(one)]
        assert from_the_first == [], "the classifier is in all of them, so the weights are given here"
        known = LatencyTable(empty.identity, {}, {}, weights={FEATURES[0]: 1.5, FEATURES[1]: 2.0})
        table = with_rows(known, space, first, measured=measured, carriers={})
        table = with_rows(table, space, [last], measured=measured, carriers={})
        for operator, cost in costs_of(space).items():
            expected = 1.5 * cost + 2.0 * space.counts[operator].parameters / 1e6
            assert table.entries[operator].latency_ms == pytest.approx(expected)
        assert table.weights == known.weights


class TestCalibrating:
    @pytest.fixture
    def table(self, empty, space, measured, measurement_of):
        carriers = whole(space, measurement_of, space.everything()[::3])
        return with_rows(empty, space, space.all_operators(), measured=measured, carriers=carriers)

    def test_the_proof_is_of_the_networks_and_keeps_the_carriers(self, table, space, measurement_of):
        networks = whole(space, measurement_of, space.everything()[1::6], factor=1.1)
        again = whole(space, measurement_of, networks, factor=1.11)
        found = with_calibration(table, space, networks, again=again)
        assert found.entries == table.entries
        assert found.networks[: len(table.networks)] == table.networks
        proof = found.networks[len(table.networks) :]
        assert [(one.role, one.choices) for one in proof] == [("calibration", one.choices) for one in networks]
        for one in proof:
            operators = space.operators(space.architecture(one.choices))
            assert one.sum_ms == pytest.approx(sum(table.entries[operator].latency_ms for operator in operators))
            assert one.again_ms == pytest.approx(one.found.latency_ms * 1.11 / 1.105), "found is the mean of both"
            assert one.predicted_ms == pytest.approx(one.found.latency_ms, rel=0.01)
        assert found.calibration.scale == pytest.approx(1.105, rel=0.01)
        assert found.quality.networks == len(networks)
        assert found.quality.noise_ceiling.mean_error == pytest.approx(0.11 / 11, rel=0.1)
        assert found.quality.raw_sum.mean_error == pytest.approx(0.105 / 1.105, rel=0.1)

    def test_an_older_proof_is_replaced(self, table, space, measurement_of):
        first = with_calibration(table, space, whole(space, measurement_of, space.everything()[1::6], 1.3), again={})
        second = whole(space, measurement_of, space.everything()[2::6], 1.1)
        found = with_calibration(first, space, second, again={})
        assert {one.choices for one in found.networks if one.role == "calibration"} == {one.choices for one in second}
        assert found.calibration.scale == pytest.approx(1.1, rel=0.01)
        assert found.quality.noise_ceiling is None


def test_counts_are_how_often_each_operator_occurs(space):
    architectures = [space.smallest(), space.largest()]
    counts_NO = counts_of(space, architectures, space.all_operators())
    assert counts_NO.sum(axis=1).tolist() == [len(space.operators(one)) for one in architectures]
    for row, one in zip(counts_NO, architectures, strict=True):
        assert row.tolist() == [space.operators(one).count(operator) for operator in space.all_operators()]
    assert counts_NO.max() == 2, "the second and the third block may be the same"
