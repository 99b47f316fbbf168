import numpy as np
import pytest
from scipy import stats

from hwnas.errors import HwnasError
from hwnas.latency.adaptation import adapt_costs, cost_features
from hwnas.latency.transfer import choose_networks

OPERATORS = 40


def simulated(seed, *, devices=4, networks=300, noise=0.01, deviation=0.1):
    """Networks of a third of the operators: counts, facts, costs of devices (the last is new), its latencies."""
    rng = np.random.default_rng(seed)
    counts = (rng.random((networks, OPERATORS)) < 0.3).astype(float)
    counts[:, 0] = 1.0
    facts = np.column_stack([rng.gamma(2.0, size=OPERATORS), rng.gamma(1.0, size=OPERATORS)])
    kinds = np.vstack([facts.T, np.ones(OPERATORS)])
    costs = rng.dirichlet(np.ones(3), devices + 1) @ kinds
    costs *= rng.lognormal(sigma=deviation, size=costs.shape) * rng.uniform(0.1, 10, (devices + 1, 1))
    latencies = counts @ costs[-1] + 0.05 * costs[-1].sum()
    return counts, facts, costs, latencies * (1 + noise * rng.normal(size=networks))


@pytest.mark.parametrize(("devices", "least"), [(0, 0.85), (1, 0.85), (4, 0.95)])
def test_ten_networks_rank_the_others(devices, least):
    found = []
    for seed in range(6):
        counts, facts, costs, latencies = simulated(seed, devices=4)
        basis = costs[:devices] if devices else None
        features = cost_features(counts, basis_ms_KO=basis, facts_OF=facts)
        chosen = choose_networks(features, 10, rng=np.random.default_rng(seed))
        adapted = adapt_costs(counts[chosen], latencies[chosen], basis_ms_KO=basis, facts_OF=facts)
        unseen = np.setdiff1d(np.arange(len(counts)), chosen)
        found.append(stats.spearmanr(adapted.predict(counts[unseen])[0], latencies[unseen]).statistic)
        assert (adapted.costs_ms_O > 0).all()
    assert np.mean(found) > least


def test_operator_costs_are_recovered_with_their_deviations():
    errors, standard = [], []
    for seed in range(10):
        counts, facts, costs, latencies = simulated(seed, devices=6)
        adapted = adapt_costs(counts[:30], latencies[:30], basis_ms_KO=costs[:-1], facts_OF=facts)
        assert stats.spearmanr(adapted.costs_ms_O, costs[-1]).statistic > 0.9
        errors.append(np.median(np.abs(adapted.costs_ms_O / costs[-1] - 1)))
        standard.append(np.abs(adapted.costs_ms_O - costs[-1]) / adapted.std_ms_O)
    assert np.mean(errors) < 0.12
    assert 0.7 < np.mean(np.array(standard) < 1.645) < 0.99


def test_with_enough_networks_the_costs_are_those_of_least_squares():
    counts, _, costs, latencies = simulated(0, devices=1, noise=0.005)
    adapted = adapt_costs(counts, latencies, basis_ms_KO=costs[:1])
    np.testing.assert_allclose(adapted.costs_ms_O, costs[-1], rtol=0.1, atol=0.05 * costs[-1].mean())
    assert adapted.noise_ms == pytest.approx(0.005 * latencies.mean(), rel=0.5)


def test_intervals_cover_new_measurements_at_about_their_rate():
    for coverage in (0.5, 0.9):
        inside = []
        for seed in range(30):
            counts, facts, costs, latencies = simulated(seed)
            adapted = adapt_costs(counts[:15], latencies[:15], basis_ms_KO=costs[:-1], facts_OF=facts)
            low, high = adapted.interval(counts[15:], coverage=coverage)
            inside.append((low <= latencies[15:]) & (latencies[15:] <= high))
        assert coverage - 0.1 < np.mean(inside) < min(coverage + 0.18, 0.98)


def test_the_scale_of_a_known_device_does_not_matter():
    counts, facts, costs, latencies = simulated(1)
    first = adapt_costs(counts[:10], latencies[:10], basis_ms_KO=costs[:2], facts_OF=facts)
    again = adapt_costs(counts[:10], latencies[:10], basis_ms_KO=costs[:2] * [[1e3], [1e-3]], facts_OF=1e6 * facts)
    np.testing.assert_allclose(again.costs_ms_O, first.costs_ms_O, rtol=1e-6)


def test_costs_stay_positive_where_the_measurements_pull_below_zero():
    counts, _, costs, _ = simulated(2)
    pulled = costs[0].copy()
    pulled[1] = -2 * np.median(pulled)
    adapted = adapt_costs(counts[:200], counts[:200] @ pulled + pulled.max(), basis_ms_KO=costs[:2])
    assert (adapted.costs_ms_O > 0).all()
    assert adapted.costs_ms_O[1] < 0.2 * np.median(adapted.costs_ms_O)


def test_one_spoiled_measurement_changes_little_and_is_seen():
    counts, facts, costs, latencies = simulated(3)
    spoiled = latencies.copy()
    spoiled[4] *= 3
    adapted = adapt_costs(counts[:30], spoiled[:30], basis_ms_KO=costs[:-1], facts_OF=facts)
    assert adapted.trust_N.argmin() == 4
    assert np.median(np.abs(adapted.predict(counts[30:])[0] / latencies[30:] - 1)) < 0.05


@pytest.mark.parametrize("count", [1, 2, 4])
def test_very_few_networks_set_the_scale(count):
    counts, facts, costs, _ = simulated(4)
    latencies = counts @ costs[0]
    adapted = adapt_costs(counts[:count], 7 * latencies[:count], basis_ms_KO=costs[:1], facts_OF=facts)
    assert np.median(np.abs(adapted.predict(counts)[0] / (7 * latencies) - 1)) < 0.2


def test_operators_without_facts_cost_next_to_nothing_when_no_device_is_known():
    counts, facts, _, latencies = simulated(5)
    idle = np.vstack([facts, np.zeros((1, 2))])
    with_idle = np.hstack([counts, np.ones((len(counts), 1))])
    adapted = adapt_costs(with_idle[:20], latencies[:20], facts_OF=idle)
    assert adapted.costs_ms_O[-1] < 0.1 * adapted.costs_ms_O.mean()


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("counts", "latencies", "basis", "facts", "message"),
    [
        (np.ones((0, 2)), np.ones(0), None, None, "networks x operators"),
        (np.ones(2), np.ones(2), None, None, "networks x operators"),
        (ONES, np.ones(2), None, None, r"must have the shape \(3,\)"),
        (ONES, np.array([1, np.nan, 1]), None, None, "1 numbers are not"),
        (ONES, np.zeros(3), None, None, "must be positive"),
        (-ONES, np.ones(3), None, None, "must be 0 or more"),
        (0 * ONES, np.ones(3), None, None, "must be 0 or more"),
        (ONES, np.ones(3), np.ones((1, 3)), None, r"must have the shape \(1, 2\)"),
        (ONES, np.ones(3), np.full((1, 2), np.inf), None, "2 numbers are not"),
        (ONES, np.ones(3), np.zeros((1, 2)), None, "a latency above 0"),
        (ONES, np.ones(3), None, np.ones((3, 1)), r"must have the shape \(1, 2\)"),
        (ONES, np.ones(3), None, -np.ones((2, 1)), "must not be negative"),
    ],
)
def test_bad_input_is_an_error(counts, latencies, basis, facts, message):
    with pytest.raises(HwnasError, match=message):
        adapt_costs(counts, latencies, basis_ms_KO=basis, facts_OF=facts)


@pytest.mark.parametrize("coverage", [0, 1, 1.5])
def test_a_coverage_that_is_no_probability_is_an_error(coverage):
    adapted = adapt_costs(ONES, np.ones(3))
    with pytest.raises(HwnasError, match="between 0 and 1"):
        adapted.interval(ONES, coverage=coverage)
