"""Fitness in a population, against distances worked out by hand."""

import numpy as np
import pytest

from hwnas.strategies.crowding import crowding_distances, fittest_first

INF = float("inf")


def test_distances_are_the_gaps_between_neighbours() -> None:
    """0 | 1 | 2 | 10 in the first objective, 8 | 4 | 3 | 0 in the second."""
    values_NM = np.array([[1.0, 4.0], [0.0, 8.0], [10.0, 0.0], [2.0, 3.0]])
    expected = [(2 / 10 + 5 / 8) / 2, INF, INF, (9 / 10 + 4 / 8) / 2]
    np.testing.assert_allclose(crowding_distances(values_NM), expected)


def test_scales_do_not_matter() -> None:
    values_NM = np.random.default_rng(0).random((12, 3))
    np.testing.assert_allclose(
        crowding_distances(values_NM * [1e9, 1, 1e-6] - 5), crowding_distances(values_NM), rtol=1e-5
    )


def test_an_objective_that_never_differs_adds_nothing() -> None:
    values_NM = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    distance_N = crowding_distances(values_NM)
    assert distance_N[2] == pytest.approx(3 / 4 / 2)
    assert np.isinf(distance_N[[0, 3]]).all()
    assert not np.isnan(crowding_distances(np.ones((3, 2)))).any()


@pytest.mark.parametrize("count", [1, 2])
def test_of_one_or_two_none_is_crowded(count: int) -> None:
    assert np.isinf(crowding_distances(np.random.default_rng(0).random((count, 3)))).all()


def test_fronts_come_before_crowds_and_bounds_before_fronts() -> None:
    values_NM = np.array([[9.0, 9.0], [0.0, 3.0], [1.0, 1.9], [1.1, 1.8], [3.0, 0.0], [0.0, 0.0], [np.nan, np.nan]])
    violations_N = np.array([0, 0, 0, 0, 0, 0.1, INF])
    order = fittest_first(values_NM, violations_N).tolist()
    assert set(order[:2]) == {1, 4}
    assert order[2:] == [3, 2, 0, 5, 6]  # of the middle two the second has the larger gap on its other side


def test_an_empty_population_has_no_order() -> None:
    assert fittest_first(np.zeros((0, 2)), np.zeros(0)).tolist() == []
