"""Calibration and proof, on data made so that the right form is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hwnas.latency.calibration import Agreement, Calibration, Quality, agreement, calibrate


def networks(count, *, scale=1.0, overhead=0.0, per_operator=0.0, noise=0.005, seed=0):
    rng = np.random.default_rng(seed)
    sums = rng.uniform(1.0, 3.0, count)
    operators = rng.integers(8, 21, count).astype(float)
    measured = (scale * sums + overhead + per_operator * operators) * (1 + noise * rng.standard_normal(count))
    return {"sums_ms_N": sums, "measured_ms_N": measured, "operators_N": operators, "macs_N": 1e6 * sums**1.3}


FORMS = {
    "none: the plain sum is as good": {},
    "scale": {"scale": 1.2},
    "scale + overhead": {"scale": 0.9, "overhead": 0.8},
    "scale + overhead + per operator": {"scale": 0.9, "overhead": 0.3, "per_operator": 0.08},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_as_rich_as_leaving_out_shows_that_it_pays(form):
    found, quality, left_out = calibrate(**networks(30, **FORMS[form]))
    assert found.form == form
    wanted = {"scale": 1.0, "overhead": 0.0, "per_operator": 0.0, **FORMS[form]}
    assert found.scale == pytest.approx(wanted["scale"], abs=0.02)
    assert found.overhead_ms == pytest.approx(wanted["overhead"], abs=0.05)
    assert found.per_operator_ms == pytest.approx(wanted["per_operator"], abs=0.005)
    assert found.relative_deviation == pytest.approx(0.005, rel=0.4)
    assert quality.calibrated.mean_error < 0.007
    assert left_out.shape == (30,)


@pytest.mark.parametrize(
    ("count", "form"), [(1, "none"), (2, "none"), (3, "scale"), (5, "scale"), (6, "scale + overhead")]
)
def test_few_networks_allow_no_rich_form(count, form):
    data = networks(count, scale=0.5, overhead=1.5, noise=0)
    assert calibrate(**data)[0].form.startswith(form)
    assert calibrate(**data)[1].networks == count


def test_each_prediction_is_by_the_others():
    data = networks(12, scale=1.2, noise=0.02)
    found, _, left_out = calibrate(**data)
    assert found.form == "scale"
    for one in range(12):
        others = np.arange(12) != one
        ratio = data["sums_ms_N"][others] / data["measured_ms_N"][others]
        scale = ratio.sum() / (ratio**2).sum()  # least squares of relative errors
        assert left_out[one] == pytest.approx(scale * data["sums_ms_N"][one])


@pytest.mark.parametrize("count", [6, 12, 40])
@pytest.mark.parametrize("level", [0.9, 0.5])
def test_intervals_cover_at_their_nominal_rate(count, level):
    covered = []
    for seed in range(60):
        data = networks(count + 40, scale=1.1, noise=0.01, seed=seed)
        fitted = {key: values[:count] for key, values in data.items()}
        found = calibrate(**fitted)[0]
        predicted = found.apply(data["sums_ms_N"][count:], data["operators_N"][count:])
        covered.extend(np.abs(data["measured_ms_N"][count:] / predicted - 1) <= found.half_width(level))
    assert np.mean(covered) == pytest.approx(level, abs=0.05)


def test_known_errors_tell_of_the_width_where_few_networks_calibrate():
    data = networks(2, noise=0.01)
    assert calibrate(**networks(1))[0].half_width() is None
    few = calibrate(**data)[0]
    more = calibrate(**data, known_errors=0.01 * np.random.default_rng(1).standard_normal(30))[0]
    assert more.degrees_of_freedom == 32
    assert more.half_width() == pytest.approx(1.694 * 0.01, rel=0.3)
    assert few.degrees_of_freedom == 2
    assert few.half_width() / few.relative_deviation == pytest.approx(2.92, abs=0.01)  # Student's t of two


def test_without_a_deviation_there_is_no_width():
    assert Calibration().half_width() is None
    assert Calibration(relative_deviation=0.01, degrees_of_freedom=None).half_width() is None


def test_a_calibration_by_hand():
    found = Calibration(scale=2.0, overhead_ms=0.5, per_operator_ms=0.1)
    assert found.apply(np.array([1.0, 3.0]), np.array([10.0, 20.0])).tolist() == [3.5, 8.5]


def test_agreement_by_hand():
    measured = np.array([1.0, 2.0, 4.0, 5.0])
    predicted = np.array([1.04, 2.16, 5.2, 5.0])  # off by 4, 8, 30, 0 %; the last two change places
    found = agreement(predicted, measured)
    assert found.mean_error == pytest.approx((0.04 + 0.08 + 0.3) / 4)
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(4 / 6)


@pytest.mark.parametrize("predicted", [[1.0, 2.0], [2.0, 2.0, 2.0]])
def test_ranks_of_too_few_or_all_the_same_are_none(predicted):
    found = agreement(np.array(predicted), np.arange(1.0, 1 + len(predicted)))
    assert (found.spearman, found.kendall) == (None, None)


def test_quality_sets_the_calibrated_beside_the_sum_the_macs_and_the_ceiling():
    data = networks(20, scale=1.2, noise=0.01)
    twice = (data["measured_ms_N"] * 0.99, data["measured_ms_N"] * 1.01)
    calibration, found, left_out = calibrate(**data, twice_ms=twice)
    assert found.raw_sum == agreement(data["sums_ms_N"], data["measured_ms_N"])
    assert found.calibrated == agreement(left_out, data["measured_ms_N"])
    assert found.noise_ceiling == agreement(twice[1], twice[0])
    once = calibrate(**data)[0].relative_deviation
    assert calibration.relative_deviation == pytest.approx(np.hypot(once, (1.01 / 0.99 - 1) / 2)), "a third may be off"
    assert found.raw_sum.mean_error == pytest.approx(1 - 1 / 1.2, abs=0.01)
    assert found.calibrated.mean_error < found.macs.mean_error < found.raw_sum.mean_error
    assert calibrate(**data)[1].noise_ceiling is None
    assert Quality.from_json(json.loads(json.dumps(found.to_json()))) == found


GOOD = Agreement(0.95, 0.9, 0.02, 0.9, 1.0)


@pytest.mark.parametrize(
    ("count", "changed", "shortfall"),
    [
        (10, {}, None),
        (10, {"spearman": 0.79}, "it ranks 10 measured networks at Spearman 0.79, below 0.8"),
        (10, {"spearman": -1.0}, "it ranks 10 measured networks at Spearman -1.00, below 0.8"),
        (10, {"within_10": 0.4}, "40% of 10 measured networks are within 10 % of its prediction"),
        (4, {"spearman": 0.0}, None),
        (10, {"spearman": None, "within_10": 0.0}, None),
    ],
)
def test_a_table_falls_short_by_its_ranks_or_its_errors(count, changed, shortfall):
    assert Quality(count, replace(GOOD, **changed), GOOD, GOOD, None).shortfall == shortfall
