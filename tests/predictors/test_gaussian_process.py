import itertools

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.predictors import Encoding, GaussianProcess
from hwnas.testing.predictor_contract import known_errors


@pytest.mark.parametrize("count", [30, 150])
def test_intervals_hold_as_many_unknown_networks_as_they_say(mobile, count):
    encoding, levels = Encoding.of(mobile.space), (0.5, 0.8, 0.9)
    held = {level: [] for level in levels}
    within_one = []
    for seed in range(8):
        known = known_errors(mobile.space, count + 300, seed=seed)
        predictor = GaussianProcess(encoding)
        predictor.fit(known.choices_NV[:count], known.errors_N[:count])
        unknown_NV, errors_N = known.choices_NV[count:], known.errors_N[count:]
        for level in levels:
            low_N, high_N = predictor.interval(unknown_NV, level)
            held[level].append(np.mean((low_N <= errors_N) & (errors_N <= high_N)))
        mean_N, std_N = predictor.predict(unknown_NV)
        within_one.append(np.mean(np.abs(mean_N - errors_N) <= std_N))
    for level in levels:
        assert np.mean(held[level]) == pytest.approx(level, abs=0.07)
    assert np.mean(within_one) == pytest.approx(0.68, abs=0.1)


def test_a_process_that_is_too_sure_is_widened(mobile):
    """Errors of another kind than it expects: a few networks are far off whatever their choices."""
    errors_N = mobile.errors_N * np.where(np.random.default_rng(0).random(len(mobile.errors_N)) < 0.15, 1.6, 1.0)
    predictor = GaussianProcess(Encoding.of(mobile.space))
    predictor.fit(mobile.choices_NV[:150], errors_N[:150])
    low_N, high_N = predictor.interval(mobile.choices_NV[150:], 0.9)
    inside = (low_N <= errors_N[150:]) & (errors_N[150:] <= high_N)
    assert inside.mean() == pytest.approx(0.9, abs=0.07)


def test_levels_are_nested(mobile):
    predictor = GaussianProcess(Encoding.of(mobile.space))
    predictor.fit(mobile.choices_NV[:60], mobile.errors_N[:60])
    ends = [predictor.interval(mobile.choices_NV[60:], level) for level in (0.5, 0.8, 0.9, 0.999)]
    for (low, high), (lower, higher) in itertools.pairwise(ends):
        assert (lower <= low).all()
        assert (high <= higher).all()


def test_fewer_networks_for_the_parameters_still_know_all(mobile):
    choices_NV, errors_N = mobile.choices_NV[:200], mobile.errors_N[:200]
    off = []
    for fitted_on, told in ((20, 200), (20, 20)):
        predictor = GaussianProcess(Encoding.of(mobile.space), fitted_on=fitted_on)
        predictor.fit(choices_NV[:told], errors_N[:told])
        off.append(np.abs(predictor.predict(mobile.choices_NV[200:])[0] - mobile.errors_N[200:]).mean())
    assert off[0] < 0.8 * off[1]


def test_too_few_networks_for_the_parameters_are_refused(mobile):
    with pytest.raises(SettingsError, match="at least 10, but 3 came"):
        GaussianProcess(Encoding.of(mobile.space), fitted_on=3)


def test_a_part_at_a_time_gives_the_same(mobile, monkeypatch):
    predictor = GaussianProcess(Encoding.of(mobile.space))
    predictor.fit(mobile.choices_NV[:50], mobile.errors_N[:50])
    whole = predictor.predict(mobile.choices_NV)
    monkeypatch.setattr("hwnas.predictors.gaussian_process.CHUNK", 100)
    np.testing.assert_allclose(predictor.predict(mobile.choices_NV), whole, rtol=1e-9)
