import numpy as np
import pytest

from hwnas.predictors.warp import PowerWarp

ERRORS = np.array([0.05, 0.06, 0.08, 0.1, 0.2, 0.6])


@pytest.mark.parametrize("power", [-4.0, -1.0, 0.0, 5e-4, 0.5, 1.0, 2.0])
def test_back_and_forth(power):
    warp = PowerWarp.of(ERRORS, power)
    warped = warp.forward(ERRORS)
    assert warped.mean() == pytest.approx(0, abs=1e-9)
    assert warped.std() == pytest.approx(1)
    assert (np.diff(warped) > 0).all()
    np.testing.assert_allclose(warp.inverse(warped), ERRORS, rtol=1e-6)


def test_around_the_logarithm_it_is_smooth():
    at = [PowerWarp.of(ERRORS, power).forward(ERRORS) for power in (-1.1e-3, 0.0, 1.1e-3)]
    np.testing.assert_allclose((at[0] + at[2]) / 2, at[1], atol=1e-5)


@pytest.mark.parametrize("power", [-3.0, 0.0, 2.0])
def test_far_off_it_stays_an_error(power):
    warp = PowerWarp.of(ERRORS, power)
    ends = warp.inverse(np.array([-1e4, 1e4]))
    assert 0 <= ends[0] < ERRORS.min() / 5
    assert ends[1] == 1.0  # twice the largest would be more
    assert PowerWarp.of(ERRORS * 100, power).inverse(np.array([1e4]))[0] == pytest.approx(120)  # percents go beyond 1


def test_an_error_of_zero_is_told_from_a_small_one():
    warp = PowerWarp.of(np.array([0.0, 0.02, 0.04]), -1.0)
    warped = warp.forward(np.array([0.0, 0.02, 0.04]))
    assert np.isfinite(warped).all()
    assert warped[0] < warped[1] < warped[2]
    assert np.isfinite(PowerWarp.of(np.zeros(3), 0.0).forward(np.zeros(3))).all()


def test_moments_are_those_of_many_draws():
    warp = PowerWarp.of(ERRORS, -1.0)
    mean, std = np.array([-0.5, 0.3]), np.array([0.2, 0.4])
    drawn = warp.inverse(mean + std * np.random.default_rng(0).normal(size=(200_000, 2)))
    found = warp.moments(mean, std)
    np.testing.assert_allclose(found[0], drawn.mean(axis=0), rtol=0.01)
    np.testing.assert_allclose(found[1], drawn.std(axis=0), rtol=0.06)


@pytest.mark.parametrize("power", [-2.0, 0.0, 0.7])
def test_derivatives_are_those_of_small_steps(power):
    step = 1e-5
    _, change, change_of_slopes = PowerWarp.of(ERRORS, power).evidence(ERRORS)
    low, high = (PowerWarp.of(ERRORS, power + side * step) for side in (-1, 1))
    if power == 0:  # the steps are on the scale's logarithmic side
        step, low, high = 0.01, PowerWarp.of(ERRORS, -0.01), PowerWarp.of(ERRORS, 0.01)
    np.testing.assert_allclose(change, (high.forward(ERRORS) - low.forward(ERRORS)) / (2 * step), atol=1e-3)
    by_steps = (high.evidence(ERRORS)[0] - low.evidence(ERRORS)[0]) / (2 * step)
    assert change_of_slopes == pytest.approx(by_steps, rel=1e-3, abs=1e-3)
