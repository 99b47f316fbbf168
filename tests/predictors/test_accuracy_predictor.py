"""What holds of every predictor: few networks, repeats, equal errors, order, wrong input, joint draws."""

import numpy as np
import pytest

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.predictors import PREDICTORS, AccuracyPredictor, Encoding, make_predictor
from hwnas.ranking import kendall


@pytest.fixture(params=sorted(PREDICTORS))
def predictor(request, mobile) -> AccuracyPredictor:
    return make_predictor(mobile.space, request.param)


def test_it_orders_networks_that_it_does_not_know(predictor, mobile):
    predictor.fit(mobile.choices_NV[:200], mobile.errors_N[:200])
    mean_N, std_N = predictor.predict(mobile.choices_NV[200:])
    macs_N = predictor.encoding.costs(mobile.choices_NV[200:])[:, 0]
    found, by_macs = (kendall(one, mobile.errors_N[200:]) for one in (mean_N, -macs_N))
    assert found > 0.7
    assert found > by_macs + 0.1
    assert (std_N > 0).all()


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_few_networks_are_enough_for_a_guess(predictor, mobile, count):
    predictor.fit(mobile.choices_NV[:count], mobile.errors_N[:count])
    mean_N, std_N = predictor.predict(mobile.choices_NV)
    low_N, high_N = predictor.interval(mobile.choices_NV, 0.9)
    for found in (mean_N, std_N, low_N, high_N):
        assert np.isfinite(found).all()
        assert (found >= 0).all()
    assert (low_N < high_N).all()


def test_the_order_and_repeats_of_what_it_is_told_do_not_matter(predictor, mobile):
    choices_NV, errors_N = mobile.choices_NV[:40], mobile.errors_N[:40]
    predictor.fit(choices_NV, errors_N)
    before = predictor.predict(mobile.choices_NV[40:80])
    order = np.concatenate([np.arange(40)[::-1], np.arange(10), np.arange(10)])
    shift = np.concatenate([np.zeros(40), np.full(10, 0.01), np.full(10, -0.01)])  # repeats whose mean is the same
    predictor.fit(choices_NV[order], errors_N[order] + shift)
    np.testing.assert_allclose(predictor.predict(mobile.choices_NV[40:80]), before, rtol=1e-6)


def test_told_the_same_it_foretells_the_same(predictor, mobile):
    found = []
    for _ in range(2):
        predictor.fit(mobile.choices_NV[:60], mobile.errors_N[:60])
        drawn = predictor.sample(mobile.choices_NV[:20], 3, rng=np.random.default_rng(5))
        found.append(np.concatenate([*predictor.predict(mobile.choices_NV), drawn.ravel()]))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("value", [0.0, 0.3, 25.0])
def test_errors_that_are_all_the_same_are_foretold_again(predictor, mobile, value):
    predictor.fit(mobile.choices_NV[:30], np.full(30, value))
    mean_N, std_N = predictor.predict(mobile.choices_NV[30:60])
    np.testing.assert_allclose(mean_N, value, atol=0.1 * value + 1e-3)
    assert np.isfinite(std_N).all()


def test_some_errors_may_be_zero(predictor, mobile):
    errors_N = np.where(mobile.errors_N[:60] < np.quantile(mobile.errors_N[:60], 0.2), 0.0, mobile.errors_N[:60])
    predictor.fit(mobile.choices_NV[:60], errors_N)
    assert kendall(predictor.predict(mobile.choices_NV[60:])[0], mobile.errors_N[60:]) > 0.5


@pytest.mark.parametrize(
    ("errors", "came"), [([0.1, np.nan], "nan"), ([0.1, -0.2], "-0.2"), ([0.1], "1 errors"), ([], "0 errors")]
)
def test_what_it_cannot_be_fitted_on_is_refused(predictor, mobile, errors, came):
    with pytest.raises(SettingsError, match=came):
        predictor.fit(mobile.choices_NV[:2], np.array(errors))


def test_before_it_is_fitted_it_says_so(predictor, mobile):
    with pytest.raises(SettingsError, match="Call `fit` first"):
        predictor.predict(mobile.choices_NV[:2])


def test_draws_agree_with_the_prediction(predictor, mobile):
    predictor.fit(mobile.choices_NV[:80], mobile.errors_N[:80])
    choices_NV = mobile.choices_NV[80:110]
    mean_N, std_N = predictor.predict(choices_NV)
    drawn_DN = predictor.sample(choices_NV, 4000, rng=np.random.default_rng(0))
    assert drawn_DN.shape == (4000, 30)
    assert (np.abs(drawn_DN.mean(axis=0) - mean_N) < 0.2 * std_N).all()
    np.testing.assert_allclose(drawn_DN.std(axis=0), std_N, rtol=0.25)


def test_draws_of_like_networks_go_together(predictor, mobile):
    predictor.fit(mobile.choices_NV[:20], mobile.errors_N[:20])
    one = mobile.choices_NV[300]
    like = mobile.space.neighbor_choices(one)
    like = like[(like != one).any(axis=1)][:1]
    drawn_DN = predictor.sample(
        np.concatenate([one[None], like, mobile.choices_NV[400:401]]), 2000, rng=np.random.default_rng(0)
    )
    correlations = np.corrcoef(drawn_DN.T)
    assert correlations[0, 1] > correlations[0, 2] + 0.1


def test_no_architectures_have_no_predictions(predictor, mobile):
    predictor.fit(mobile.choices_NV[:20], mobile.errors_N[:20])
    none_0V = mobile.choices_NV[:0]
    assert [len(one) for one in predictor.predict(none_0V)] == [0, 0]
    assert predictor.sample(none_0V, 3, rng=np.random.default_rng(0)).shape == (3, 0)


def test_an_unknown_predictor_names_the_nearest(mobile):
    with pytest.raises(UnknownNameError, match="Did you mean 'gaussian_process'"):
        make_predictor(Encoding.of(mobile.space), "gausian_process")
