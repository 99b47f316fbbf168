import numpy as np
import pytest
from scipy.optimize import approx_fprime

from hwnas.predictors.kernel import Kernel, KernelGradient, RandomFunction, matern

RNG = np.random.default_rng(0)
GROUPS = [RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))]
LOGARITHMS = np.array([-0.5, 0.2, 0.3, 0.1, 0.6])


def test_the_covariance_by_hand():
    kernel = Kernel(np.array([2.0]), 3.0, np.array([0.5]))
    first, second = [np.array([[1.0, 0.0]])], [np.array([[0.0, 1.0], [1.0, 0.0]])]
    distance = np.sqrt(5 * 2) / 0.5
    smooth = 3 * (1 + distance + distance**2 / 3) * np.exp(-distance)
    np.testing.assert_allclose(kernel.covariance(first, second), [[1 + smooth, 1 + 2 + 3]])
    assert kernel.variances(first) == pytest.approx([6.0])


def test_it_is_a_covariance():
    kernel = Kernel.of(LOGARITHMS)
    whole = kernel.covariance(GROUPS, GROUPS)
    np.testing.assert_allclose(whole, whole.T)
    np.testing.assert_allclose(np.diag(whole), kernel.variances(GROUPS))
    assert np.linalg.eigvalsh(whole).min() > -1e-9


def test_gradients_are_those_of_small_steps():
    gradient = KernelGradient(GROUPS)
    weights = RNG.normal(size=(12, 12))
    weights += weights.T
    covariance, change = gradient.covariance(LOGARITHMS)
    np.testing.assert_allclose(covariance, Kernel.of(LOGARITHMS).covariance(GROUPS, GROUPS))
    found = gradient.slopes(LOGARITHMS, covariance, change, weights)
    by_steps = approx_fprime(LOGARITHMS, lambda at: (gradient.covariance(at)[0] * weights).sum(), 1e-6)
    np.testing.assert_allclose(found, by_steps, rtol=1e-3, atol=1e-3)


def test_matern_and_its_derivative():
    squared = np.array([0.0, 0.5, 4.0])
    value, change = matern(squared)
    assert value[0] == 1
    np.testing.assert_allclose(change[1:], (matern(squared[1:] + 1e-6)[0] - value[1:]) / 1e-6, rtol=1e-4)


def test_random_functions_have_the_covariance():
    kernel = Kernel.of(LOGARITHMS)
    function = RandomFunction(kernel, GROUPS, draws=6000, rng=np.random.default_rng(1), features=2000)
    values = function(GROUPS)
    np.testing.assert_allclose(values @ values.T / 6000, kernel.covariance(GROUPS, GROUPS), atol=0.45)
    deviations = values.std(axis=1)
    np.testing.assert_allclose(deviations, np.sqrt(kernel.variances(GROUPS)), rtol=0.1)
