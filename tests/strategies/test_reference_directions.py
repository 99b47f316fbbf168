"""NSGA-III's survival: the lattice, the normalisation and the niches, each against what the paper says of it."""

import json
import math
from typing import Any

import numpy as np
import pytest

from hwnas.strategies.reference_directions import ReferenceDirections, das_dennis


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def survivors(values_NM: np.ndarray, count: int, most: int = 12) -> list[int]:
    directions = ReferenceDirections(values_NM.shape[1], most)
    return directions.survivors(values_NM, np.zeros(len(values_NM)), count, rng=rng()).tolist()


@pytest.mark.parametrize(
    ("objectives", "most", "count"), [(2, 20, 20), (3, 91, 91), (3, 20, 15), (4, 20, 20), (5, 3, 5)]
)
def test_the_lattice_is_the_finest_that_there_is_room_for(objectives: int, most: int, count: int) -> None:
    """91 points for three objectives are the paper's 12 divisions; the corners are there even without room."""
    points_DM = das_dennis(objectives, most)
    assert points_DM.shape == (count, objectives)
    np.testing.assert_allclose(points_DM.sum(axis=1), 1)
    assert points_DM.min() == 0
    assert len(np.unique(points_DM, axis=0)) == count
    assert {tuple(corner) for corner in np.eye(objectives).tolist()} <= {tuple(point) for point in points_DM.tolist()}
    steps = 1 / points_DM[points_DM > 0].min()
    assert math.comb(round(steps) + objectives - 1, objectives - 1) == count


def test_one_objective_has_one_direction() -> None:
    assert das_dennis(1, 10).tolist() == [[1.0]]


def test_of_a_plane_the_points_on_the_directions_survive() -> None:
    """Six directions, a point on each and many others beside them, all on one front."""
    on_DM = das_dennis(3, 6)
    between_NM = np.random.default_rng(1).dirichlet(np.ones(3), size=60)
    values_NM = np.concatenate([between_NM, on_DM])
    assert set(survivors(values_NM, 6, most=6)) == set(range(60, 66))


def test_scales_do_not_matter() -> None:
    values_NM = np.random.default_rng(1).dirichlet(np.ones(3), size=60)
    assert survivors(values_NM * [1e6, 1.0, 1e-6] + [5e6, 0.0, 1.0], 10) == survivors(values_NM, 10)


def test_whole_fronts_come_first() -> None:
    front_NM = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    values_NM = np.concatenate([front_NM + 2, front_NM, front_NM + 1])
    assert set(survivors(values_NM, 5)[:3]) == {3, 4, 5}
    assert set(survivors(values_NM, 5)[3:]) < {6, 7, 8}


def test_an_empty_niche_is_filled_before_a_full_one() -> None:
    """The first front lies in the niches of two directions; of the second the one in the third is wanted."""
    values_NM = np.array([[0.0, 1.0], [1.0, 0.0], [0.9, 0.05], [0.01, 1.2], [1.0, 1.0], [1.2, 0.01]])
    assert survivors(values_NM, 4, most=3) == [0, 1, 2, 4]


def test_those_above_bounds_or_failed_come_last() -> None:
    values_NM = np.array([[0.0, 0.0], [1.0, 2.0], [np.nan, np.nan], [0.0, 0.1], [2.0, 1.0]])
    violations_N = np.array([0.5, 0, np.inf, 0.1, 0])
    order = ReferenceDirections(2, 4).survivors(values_NM, violations_N, 5, rng=rng()).tolist()
    assert set(order[:2]) == {1, 4}
    assert order[2:] == [3, 0, 2]
    nothing_within = ReferenceDirections(2, 4).survivors(values_NM[:3], np.array([2.0, 1.0, np.inf]), 2, rng=rng())
    assert nothing_within.tolist() == [1, 0]


@pytest.mark.parametrize(
    "values_NM",
    [
        np.arange(8.0)[:, None],
        np.ones((8, 3)),
        np.column_stack([np.arange(8.0), -np.arange(8.0), np.ones(8)]),
        np.array([[0.0, 0.0, 0.0]] * 7 + [[0.0, 0.0, 1.0]]),
    ],
    ids=["one objective", "all alike", "one objective never differs", "a front of one point"],
)
def test_degenerate_fronts_have_survivors(values_NM: np.ndarray) -> None:
    """No plane goes through their extreme points."""
    found = survivors(values_NM, 4)
    assert len(set(found)) == 4
    if values_NM.shape[1] == 1:
        assert found == [0, 1, 2, 3]


def test_the_ideal_and_the_extreme_points_are_remembered() -> None:
    """What was once the best in an objective shapes the niches after it is gone; the state holds it."""
    first_NM, second_NM = np.array([[0.0, 9.0], [9.0, 0.0]]), np.random.default_rng(1).dirichlet([1, 1], size=30) + 2
    veteran, novice = ReferenceDirections(2, 5), ReferenceDirections(2, 5)
    veteran.survivors(first_NM, np.zeros(2), 2, rng=rng())
    state = json.loads(json.dumps(veteran.state_dict()))
    expected = veteran.survivors(second_NM, np.zeros(30), 5, rng=rng()).tolist()
    assert novice.survivors(second_NM, np.zeros(30), 5, rng=rng()).tolist() != expected
    resumed = ReferenceDirections(2, 5)
    resumed.load_state_dict(state)
    assert resumed.survivors(second_NM, np.zeros(30), 5, rng=rng()).tolist() == expected
    assert resumed.state_dict() == veteran.state_dict()


def test_before_the_first_survival_its_state_is_json_too() -> None:
    fresh = ReferenceDirections(2, 5)
    other = ReferenceDirections(2, 5)
    other.survivors(np.ones((3, 2)), np.zeros(3), 2, rng=rng())
    other.load_state_dict(json.loads(json.dumps(fresh.state_dict(), allow_nan=False)))
    assert other.state_dict() == fresh.state_dict()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"ideal": None},
        {"ideal": [0.0], "extremes": []},
        {"ideal": [0.0, 0.0], "extremes": [[1.0]]},
        {"ideal": [0.0, 0.0], "extremes": "torn"},
        {"ideal": "torn", "extremes": []},
    ],
)
def test_a_torn_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        ReferenceDirections(2, 5).load_state_dict(state)
