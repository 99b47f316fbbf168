import numpy as np
import pytest
from scipy import stats

from hwnas.errors import HwnasError
from hwnas.latency.transfer import Reading, build_basis, choose_networks, transfer_latencies

PLACES, OPTIONS = 6, 4


def simulated(seed, *, networks=400, devices=6, noise=0.03):
    """One-hot networks on related devices, the last of them new: structure, known and true latencies."""
    rng = np.random.default_rng(seed)
    choices = rng.integers(0, OPTIONS, (networks, PLACES))
    structure = np.eye(OPTIONS)[choices].reshape(networks, -1)
    kinds = rng.gamma(2.0, size=(3, structure.shape[1]))  # costs of each operator in compute, memory, launches
    costs = rng.dirichlet(np.ones(3), devices + 1) @ kinds * rng.lognormal(sigma=0.1, size=(devices + 1, 1))
    costs *= rng.lognormal(sigma=0.05, size=costs.shape)
    exact = structure @ costs.T + 1.0
    measured = exact * (1 + noise * rng.normal(size=exact.shape))
    return structure, measured[:, :-1], measured[:, -1], exact[:, -1]


def test_ten_networks_rank_a_new_device_better_than_its_relatives_do():
    for seed in range(5):
        structure, known, measured, exact = simulated(seed)
        basis = build_basis(known, [Reading(structure)])
        chosen = choose_networks(basis.spread_NF(), 10, rng=np.random.default_rng(seed))
        found = transfer_latencies(basis, chosen, measured[chosen])
        ours = stats.spearmanr(found.mean_ms_N, exact).statistic
        assert ours > 0.95
        assert ours > stats.spearmanr((known / known.mean(axis=0)).mean(axis=1), exact).statistic
        assert (found.mean_ms_N > 0).all()


def test_more_networks_and_smoothing_help():
    few, many, rough = [], [], []
    for seed in range(6):
        structure, known, measured, exact = simulated(seed, noise=0.1)
        order = np.random.default_rng(seed).permutation(len(exact))
        basis = build_basis(known, [Reading(structure)])
        few.append(stats.spearmanr(transfer_latencies(basis, order[:8], measured[order[:8]]).mean_ms_N, exact)[0])
        many.append(stats.spearmanr(transfer_latencies(basis, order[:80], measured[order[:80]]).mean_ms_N, exact)[0])
        plain = build_basis(known)
        rough.append(stats.spearmanr(transfer_latencies(plain, order[:80], measured[order[:80]]).mean_ms_N, exact)[0])
    assert np.mean(many) > np.mean(few)
    assert np.mean(many) > np.mean(rough) + 0.01


def test_deviations_cover_new_measurements_at_about_their_rate():
    inside = []
    for seed in range(20):
        structure, known, measured, _ = simulated(seed)
        chosen = np.random.default_rng(seed).choice(len(measured), 20, replace=False)
        found = transfer_latencies(build_basis(known, [Reading(structure)]), chosen, measured[chosen])
        inside.append(np.abs(measured - found.mean_ms_N) < 1.645 * found.std_ms_N)
    assert 0.82 < np.mean(inside) < 0.97


def test_the_reading_that_the_device_follows_is_found():
    rng = np.random.default_rng(0)
    structure, known, _, _ = simulated(0)
    used = structure * (rng.random(structure.shape) < 0.5)
    costs = np.linalg.lstsq(structure, known, rcond=None)[0].mean(axis=1)
    measured = used @ costs + 1.0
    chosen = rng.choice(len(used), 60, replace=False)
    basis = build_basis(known, [Reading(structure), Reading(used)])
    found = transfer_latencies(basis, chosen, measured[chosen])
    assert found.reading_probabilities[1] > 0.99
    assert stats.spearmanr(found.mean_ms_N, measured).statistic > 0.99


def test_an_outlier_among_known_latencies_changes_little():
    structure, known, measured, exact = simulated(1)
    spoiled = known.copy()
    spoiled[::40] *= 30.0
    chosen = np.random.default_rng(1).choice(len(measured), 20, replace=False)
    found = [
        transfer_latencies(build_basis(latencies, [Reading(structure)]), chosen, measured[chosen]).mean_ms_N
        for latencies in (known, spoiled)
    ]
    quality = [stats.spearmanr(mean, exact).statistic for mean in found]
    assert quality[1] > quality[0] - 0.02


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_networks_give_finite_positive_latencies(count):
    structure, known, measured, _ = simulated(2)
    found = transfer_latencies(build_basis(known[:, :1], [Reading(structure)]), np.arange(count), measured[:count])
    assert (found.mean_ms_N > 0).all()
    assert np.isfinite(found.std_ms_N).all()


def test_chosen_networks_tell_more_than_random_ones():
    structure = simulated(3)[0]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        chosen = choose_networks(structure, 10, rng=rng)
        assert len(set(chosen.tolist())) == 10
        drawn = rng.choice(len(structure), 10, replace=False)
        gains = []
        for rows in (chosen, drawn):
            centred = structure[rows] - structure.mean(axis=0)
            gains.append(np.linalg.slogdet(np.eye(10) + centred @ centred.T / 0.01)[1])
        assert gains[0] > gains[1]


def test_the_choice_follows_from_the_seed():
    features = simulated(4)[0]
    first, again, other = (choose_networks(features, 5, rng=np.random.default_rng(s), candidates=50) for s in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("known", "readings", "message"),
    [
        (np.ones((0, 2)), [], "networks x devices"),
        (np.ones(3), [], "networks x devices"),
        (np.zeros((3, 2)), [], "must be positive"),
        (np.full((3, 2), np.nan), [], "6 numbers are not"),
        (np.ones((3, 2)), [Reading(np.ones((4, 1)))], r"must have the shape \(3, 1\)"),
    ],
)
def test_a_basis_that_cannot_be_used_is_an_error(known, readings, message):
    with pytest.raises(HwnasError, match=message):
        build_basis(known, readings)


@pytest.mark.parametrize(
    ("measured", "latencies", "message"),
    [
        (np.arange(0), np.ones(0), "at least one"),
        (np.array([0, 400]), np.ones(2), "from 0 to 399"),
        (np.arange(3), np.ones(2), r"must have the shape \(3,\)"),
        (np.arange(2), np.array([1.0, np.nan]), "1 numbers are not"),
        (np.arange(2), np.array([1.0, 0.0]), "must be positive"),
    ],
)
def test_measurements_that_cannot_be_used_are_an_error(measured, latencies, message):
    structure, known, _, _ = simulated(5)
    basis = build_basis(known, [Reading(structure)])
    with pytest.raises(HwnasError, match=message):
        transfer_latencies(basis, measured, latencies)


@pytest.mark.parametrize("count", [0, 401])
def test_a_number_of_networks_that_cannot_be_chosen_is_an_error(count):
    with pytest.raises(HwnasError, match="from 1 to 400"):
        choose_networks(simulated(6)[0], count, rng=np.random.default_rng(0))
