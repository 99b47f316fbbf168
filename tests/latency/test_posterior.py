import numpy as np
import pytest

from hwnas.errors import HwnasError
from hwnas.latency.posterior import CoefficientGroup, Gaussian, condition, infer


def test_condition_is_the_textbook_posterior():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    prior = Gaussian(rng.normal(size=4), root @ root.T + np.eye(4))
    design, targets, noise = rng.normal(size=(6, 4)), rng.normal(size=6), rng.uniform(0.5, 1, 6)
    posterior, _ = condition(prior, design, targets, noise_N=noise)
    precision = np.linalg.inv(prior.covariance_FF) + design.T @ (design / noise[:, None] ** 2)
    expected = np.linalg.solve(
        precision, np.linalg.solve(prior.covariance_FF, prior.mean_F) + design.T @ (targets / noise**2)
    )
    np.testing.assert_allclose(posterior.mean_F, expected)
    np.testing.assert_allclose(posterior.covariance_FF, np.linalg.inv(precision), atol=1e-12)


def test_the_evidence_is_the_density_of_the_targets():
    prior = Gaussian(np.array([1.0]), np.array([[3.0]]))
    _, log_evidence = condition(prior, np.array([[1.0]]), np.array([2.0]), noise_N=np.array([1.0]))
    assert log_evidence == pytest.approx(-0.5 * np.log(2 * np.pi * 4) - 1 / 8)


def test_targets_that_the_prior_excludes_are_an_error():
    certain = Gaussian(np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(HwnasError, match="Add noise"):
        condition(certain, np.ones((1, 1)), np.ones(1), noise_N=np.zeros(1))


def test_infer_switches_off_the_group_that_explains_nothing():
    rng = np.random.default_rng(1)
    design = rng.normal(size=(60, 10))
    targets = design[:, :5] @ rng.normal(size=5) + 0.05 * rng.normal(size=60)
    groups = [CoefficientGroup(5, (0.0, 0.3, 1.0)), CoefficientGroup(5, (0.0, 0.3, 1.0))]
    found = infer(design, targets, groups=groups)
    assert found.weights[0] > 0.3 > 0.1 > found.weights[1]
    assert found.noise == pytest.approx(0.05, rel=0.4)


def test_the_design_that_explains_the_targets_has_the_greater_evidence():
    rng = np.random.default_rng(2)
    right, wrong = rng.normal(size=(2, 40, 6))
    targets = right @ rng.normal(size=6)
    groups = [CoefficientGroup(6)]
    assert infer(right, targets, groups=groups).log_evidence > infer(wrong, targets, groups=groups).log_evidence + 10


def test_a_measurement_that_the_others_contradict_counts_for_little():
    rng = np.random.default_rng(3)
    design, truth = rng.normal(size=(40, 4)), rng.normal(size=4)
    targets = design @ truth + 0.02 * rng.normal(size=40)
    targets[7] += 20.0
    found = infer(design, targets, groups=[CoefficientGroup(4)])
    assert found.trust_N.argmin() == 7
    assert found.trust_N[7] < 0.01
    np.testing.assert_allclose(found.coefficients.mean_F, truth, atol=0.05)


def test_deviations_cover_the_truth_at_about_their_rate():
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(40):
        design, unseen = rng.normal(size=(20, 30)), rng.normal(size=(50, 30))
        truth = rng.normal(size=30)
        targets = design @ truth + rng.normal(size=20)
        mean, std = infer(design, targets, groups=[CoefficientGroup(30)]).predict(unseen)
        inside.append(np.abs(unseen @ truth + rng.normal(size=50) - mean) < 1.645 * std)
    assert 0.82 < np.mean(inside) < 0.97


def test_a_scale_of_the_targets_only_scales_the_answer():
    rng = np.random.default_rng(5)
    design, targets = rng.normal(size=(12, 20)), rng.normal(size=12)
    groups = [CoefficientGroup(8), CoefficientGroup(12, (0.1, 0.3), 0.1)]
    small, large = infer(design, targets, groups=groups), infer(design, 1e4 * targets, groups=groups)
    np.testing.assert_allclose(large.coefficients.mean_F, 1e4 * small.coefficients.mean_F)
    np.testing.assert_allclose(large.coefficients.covariance_FF, 1e8 * small.coefficients.covariance_FF, rtol=1e-6)


@pytest.mark.parametrize(
    ("design", "targets", "message"),
    [
        (np.ones((0, 2)), np.ones(0), "must have a measurement"),
        (np.ones((3, 1)), np.ones(3), r"must have the shape \(3, 2\)"),
        (np.full((3, 2), np.nan), np.ones(3), "6 numbers are not"),
        (np.ones((3, 2)), np.array([1, np.inf, 1]), "1 numbers are not"),
    ],
)
def test_bad_input_is_an_error(design, targets, message):
    with pytest.raises(HwnasError, match=message):
        infer(design, targets, groups=[CoefficientGroup(2)])
