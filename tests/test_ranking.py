import json
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from hwnas.ranking import RankAgreement, _kendalls, _spearmans, kendall, rank_agreement, spearman


def related(count, *, noise, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=count)
    return first, first + noise * rng.normal(size=count)


def test_both_correlations_by_hand():
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0])  # one of six pairs is turned
    assert kendall(first, second) == pytest.approx(4 / 6)
    assert spearman(first, second) == pytest.approx(0.8)


@pytest.mark.parametrize("count", [9, 1500])
def test_a_resample_counts_each_network_as_often_as_it_was_drawn(count):
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, count // 2, (2, count)).astype(float)
    drawn = rng.integers(0, count, count)
    weights = np.bincount(drawn, minlength=count)[None].astype(float)
    assert _kendalls(first, second, weights)[0] == pytest.approx(kendalltau(first[drawn], second[drawn])[0])
    assert _spearmans(first, second, weights)[0] == pytest.approx(spearmanr(first[drawn], second[drawn])[0])


def test_ties_count_as_scipy_counts_them():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, 40).astype(float), rng.integers(0, 4, 40).astype(float)
    assert kendall(first, second) == pytest.approx(kendalltau(first, second)[0])
    assert spearman(first, second) == pytest.approx(spearmanr(first, second)[0])


@pytest.mark.parametrize("second", [[1.0, 2.0], [2.0, 2.0, 2.0], []])
def test_too_few_or_equal_scores_have_no_order(second):
    first = np.arange(float(len(second)))
    assert rank_agreement(first, np.array(second)) == RankAgreement(len(second), None, None, None, None)


def test_the_same_seed_gives_the_same_interval():
    pair = related(30, noise=1.0)
    assert rank_agreement(*pair, seed=4) == rank_agreement(*pair, seed=4)
    assert rank_agreement(*pair, seed=5).kendall_ci95 != rank_agreement(*pair, seed=4).kendall_ci95


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = 2 / math.pi * math.asin(math.sqrt(0.5))  # Kendall's tau of normal scores with correlation 1 / sqrt(2)
    held = []
    for seed in range(60):
        low, high = rank_agreement(*related(40, noise=1.0, seed=seed), resamples=200).kendall_ci95
        held.append(low <= truth <= high)
    assert 0.85 <= np.mean(held) <= 1.0


def test_more_networks_narrow_the_interval():
    widths = []
    for count in (20, 200):
        low, high = rank_agreement(*related(count, noise=1.0), resamples=200).spearman_ci95
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize("count", [2, 20])
def test_written_as_json_and_read_again(count):
    found = rank_agreement(*related(count, noise=0.5), resamples=50)
    assert RankAgreement.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    "changed", [{"kendall": "high"}, {"kendall": float("nan")}, {"spearman_ci95": [1.0]}, {"networks": None}]
)
def test_another_form_is_not_read(changed):
    document = rank_agreement(*related(20, noise=0.5), resamples=20).to_json() | changed
    with pytest.raises((TypeError, ValueError)):
        RankAgreement.from_json(document)
