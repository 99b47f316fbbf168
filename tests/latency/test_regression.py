"""Costs from networks whose truth is known."""

import numpy as np
import pytest

from hwnas.errors import DataError
from hwnas.latency import regression
from hwnas.latency.regression import regress_costs

OPERATORS, LENGTH = 30, 8


def drawn(networks, *, seed=0, deviation=0.0, noise=0.0, weights=(1.3, 0.4)):
    """Networks of eight operators each: counts, latencies, features, and the true costs."""
    rng = np.random.default_rng(seed)
    features_OP = np.stack([rng.uniform(0.05, 0.6, OPERATORS), rng.uniform(0, 0.5, OPERATORS)], axis=1)
    costs_O = features_OP @ np.array(weights) * np.exp(deviation * rng.standard_normal(OPERATORS))
    counts_NO = np.stack(
        [np.bincount(rng.integers(0, OPERATORS, LENGTH), minlength=OPERATORS) for _ in range(networks)]
    )
    counts_NO = counts_NO.astype(float)
    latency_ms_N = counts_NO @ costs_O * np.exp(noise * rng.standard_normal(networks))
    return counts_NO, latency_ms_N, features_OP, costs_O


def test_what_features_explain_is_found_from_a_few_networks():
    counts_NO, latency_ms_N, features_OP, costs_O = drawn(6)
    found = regress_costs(counts_NO, latency_ms_N, features_OP)
    assert found.weights_P == pytest.approx([1.3, 0.4], rel=1e-6)
    assert found.costs_ms_O == pytest.approx(costs_O, rel=1e-6)
    assert found.left_out_ms_N == pytest.approx(latency_ms_N, rel=1e-6)


def test_deviations_are_believed_as_far_as_the_networks_bear_them_out():
    counts_NO, latency_ms_N, features_OP, costs_O = drawn(100, deviation=0.1, noise=0.003)
    found = regress_costs(counts_NO, latency_ms_N, features_OP)
    explained_O = features_OP @ found.weights_P
    missed = np.abs(found.costs_ms_O / costs_O - 1).mean()
    assert missed < 0.02 < 0.06 < np.abs(explained_O / costs_O - 1).mean()
    few = regress_costs(counts_NO[:20], latency_ms_N[:20], features_OP)
    assert np.abs(few.costs_ms_O / costs_O - 1).mean() < 0.12


def test_standard_deviations_and_the_noise_are_as_wide_as_the_errors():
    scores, shares = [], []
    for seed in range(12):
        counts_NO, latency_ms_N, features_OP, costs_O = drawn(60, seed=seed, deviation=0.05, noise=0.01)
        found = regress_costs(counts_NO, latency_ms_N, features_OP)
        scores.extend((found.costs_ms_O - costs_O) / found.deviations_ms_O)
        shares.append(found.noise)
    assert 0.75 < np.std(scores) < 1.35
    assert 0.85 < np.mean(np.abs(scores) < 1.96) <= 1
    assert np.median(shares) == pytest.approx(0.01, rel=0.5)


def test_left_out_is_what_a_fit_without_the_network_foretells(monkeypatch):
    """With the share of deviation and the noise held, which otherwise are found anew."""
    monkeypatch.setattr(regression, "DEVIATIONS", (0.08,))
    monkeypatch.setattr(regression, "NOISES", (0.01,))
    counts_NO, latency_ms_N, features_OP, _ = drawn(25, deviation=0.08, noise=0.01)
    base = features_OP @ np.array([1.3, 0.4])

    def fit(rows):
        design_NO = counts_NO[rows] / latency_ms_N[rows, None]
        return regression._Fit(design_NO, features_OP, base, 0.08, 0.01)

    whole = fit(np.arange(25))
    for network in range(25):
        others = fit(np.arange(25) != network)
        foretold = counts_NO[network] / latency_ms_N[network] @ others.costs_O
        assert 1 - whole.left_out_N[network] == pytest.approx(foretold, rel=1e-9)


def test_left_out_errors_are_those_on_networks_never_seen():
    counts_NO, latency_ms_N, features_OP, _ = drawn(120, deviation=0.1, noise=0.005)
    found = regress_costs(counts_NO[:40], latency_ms_N[:40], features_OP)
    left_out = np.abs(found.left_out_ms_N / latency_ms_N[:40] - 1).mean()
    unseen = np.abs(counts_NO[40:] @ found.costs_ms_O / latency_ms_N[40:] - 1).mean()
    fitted = np.abs(counts_NO[:40] @ found.costs_ms_O / latency_ms_N[:40] - 1).mean()
    assert left_out == pytest.approx(unseen, rel=0.4)
    assert fitted < left_out


def test_a_feature_that_would_count_below_zero_does_not_count():
    counts_NO, latency_ms_N, features_OP, _ = drawn(40, weights=(1.0, -0.2), noise=0.002)
    found = regress_costs(counts_NO, latency_ms_N, features_OP)
    assert found.weights_P[1] == 0
    assert found.weights_P[0] > 0
    assert (found.costs_ms_O >= 0).all()


def test_weights_that_are_found_beside_deviations_are_not_below_zero_either():
    below = 0
    for seed in range(30):
        counts_NO, latency_ms_N, features_OP, _ = drawn(20, seed=seed, weights=(1.0, 0.02), deviation=0.2, noise=0.01)
        found = regress_costs(counts_NO, latency_ms_N, features_OP)
        assert (found.weights_P >= 0).all()
        assert found.weights_P[0] > 0
        below += found.weights_P[1] == 0
    assert below > 5, "else nothing was put to the test"


def test_no_cost_is_below_zero():
    counts_NO, latency_ms_N, features_OP, _ = drawn(40, deviation=0.3, noise=0.1)
    features_OP[:3] = 1e-6  # nearly nothing, so that noise may push it below
    found = regress_costs(counts_NO, latency_ms_N, features_OP)
    assert (found.costs_ms_O >= 0).all()
    assert (found.deviations_ms_O >= 0).all()
    assert np.isfinite(found.costs_ms_O).all()


def test_an_operator_that_no_network_has_is_explained_by_its_features_and_known_the_least():
    counts_NO, latency_ms_N, features_OP, _ = drawn(60, deviation=0.05, noise=0.005)
    kept = counts_NO[:, 0] == 0
    found = regress_costs(counts_NO[kept], latency_ms_N[kept], features_OP)
    assert found.costs_ms_O[0] == pytest.approx(features_OP[0] @ found.weights_P)
    relative_O = found.deviations_ms_O / found.costs_ms_O
    assert relative_O[0] > np.median(relative_O)


def test_a_feature_of_nothing_but_zeros_is_left_out():
    counts_NO, latency_ms_N, features_OP, costs_O = drawn(20, weights=(1.0, 0.0))
    features_OP[:, 1] = 0
    found = regress_costs(counts_NO, latency_ms_N, features_OP)
    assert found.weights_P == pytest.approx([1.0, 0.0])
    assert found.costs_ms_O == pytest.approx(costs_O)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c, y, f: (c, y[:-1], f), "must be given a latency for each network and features for each operator"),
        (lambda c, y, f: (c, y, f[:-1]), "must be given a latency for each network and features for each operator"),
        (lambda c, y, f: (c, y * 0, f), "must be given latencies above zero"),
        (lambda c, y, f: (c, y * np.nan, f), "must be given latencies above zero"),
        (lambda c, y, f: (c, y, f - 1), "must be given features not below zero"),
        (lambda c, y, f: (c, y, f * np.inf), "must be given features not below zero"),
        (lambda c, y, f: (c[:2], y[:2], f), "must be given a network more than features"),
    ],
)
def test_what_cannot_be_fitted_is_said(spoil, message):
    counts_NO, latency_ms_N, features_OP, _ = drawn(10)
    features_OP[0, 0] = 0.5
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match=message):
        regress_costs(*spoil(counts_NO, latency_ms_N, features_OP))
