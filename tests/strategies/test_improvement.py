"""Expected improvement: held against moocore's hypervolume, and against chance."""

import numpy as np
import pytest

from hwnas.front import hypervolume
from hwnas.objectives import Objective
from hwnas.strategies.improvement import Undominated, worst_corner


def undominated(front_NM, reference_M):
    return Undominated(np.asarray(reference_M, dtype=float), np.asarray(front_NM, dtype=float))


def gains(front_NM, points_NM, reference_M):
    """By how much each point alone enlarges the hypervolume."""
    before = hypervolume(front_NM, reference_M)
    return [hypervolume(np.vstack([front_NM, point_M]), reference_M) - before for point_M in points_NM]


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_values_that_are_known_give_the_gain_of_hypervolume(count: int, seed: int, steps: int | None) -> None:
    """Points that share values, that are of the front, or that lie beyond the corner included."""
    rng = np.random.default_rng(seed)
    front_NM, points_NM = rng.random((rng.integers(1, 20), count)), 1.2 * rng.random((30, count))
    points_NM[:5] = front_NM[rng.integers(len(front_NM), size=5)]
    if steps:
        front_NM, points_NM = np.round(front_NM * steps) / steps, np.round(points_NM * steps) / steps
    found_N = undominated(front_NM, [1.0] * count).expected_improvement(points_NM, np.zeros_like(points_NM))
    assert found_N == pytest.approx(gains(front_NM, points_NM, [1.0] * count), abs=1e-12)


def test_an_uncertain_value_gives_the_mean_gain() -> None:
    """Two of three objectives are uncertain; the mean of many draws agrees within its own error."""
    rng = np.random.default_rng(0)
    front_NM = rng.random((12, 3))
    mean_M, std_M = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.1, 0.0])
    drawn_N = gains(front_NM, mean_M + std_M * rng.standard_normal((4000, 3)), [1.0] * 3)
    found = undominated(front_NM, [1.0] * 3).expected_improvement(mean_M[None], std_M[None])[0]
    assert abs(found - np.mean(drawn_N)) < 4 * np.std(drawn_N) / np.sqrt(len(drawn_N))
    assert found > 0


def test_without_a_front_everything_up_to_the_corner_is_gained() -> None:
    found_N = undominated([], [2.0, 3.0]).expected_improvement(np.array([[1.0, 1.0], [3.0, 0.0]]), np.zeros((2, 2)))
    assert found_N == pytest.approx([2.0, 0.0])


def test_boxes_are_disjoint_and_hold_what_is_left() -> None:
    rng = np.random.default_rng(1)
    front_NM = rng.random((15, 3))
    lower_BM, upper_BM = undominated(front_NM, [1.0] * 3).boxes()
    points_NM = rng.random((3000, 3))
    inside_NB = ((points_NM[:, None] > lower_BM) & (points_NM[:, None] < upper_BM)).all(axis=2)
    dominated_N = (front_NM[None] < points_NM[:, None]).all(axis=2).any(axis=1)
    assert (inside_NB.sum(axis=1) == ~dominated_N).all()


def test_more_doubt_never_hopes_for_less() -> None:
    front_NM = np.array([[0.2, 0.8], [0.6, 0.3]])
    means_NM = np.tile([0.7, 0.7], (5, 1))
    stds_NM = np.stack([np.linspace(0, 0.8, 5), np.zeros(5)], axis=1)
    found_N = undominated(front_NM, [1.0, 1.0]).expected_improvement(means_NM, stds_NM)
    assert found_N[0] == 0
    assert (np.diff(found_N) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_gains_most_is_taken_one_after_another(count: int) -> None:
    rng = np.random.default_rng(count)
    front_NM, values_NM, corner = rng.random((5, count)), rng.random((40, count)) * 0.9, [1.2] * count
    expected: list[int] = []
    for _ in range(4):
        known_NM = np.concatenate([front_NM, values_NM[expected]])
        gained = gains(known_NM, values_NM, corner)
        if max(gained) > 1e-12:
            expected.append(int(np.argmax(gained)))
    assert undominated(front_NM, corner).take(values_NM, np.zeros_like(values_NM), count=4) == expected
    assert expected


def test_nothing_is_taken_that_gains_nothing() -> None:
    front_NM = np.zeros((1, 2))
    for values_NM in (np.zeros((0, 2)), np.ones((3, 2)), np.zeros((1, 2))):
        assert undominated(front_NM, [2.0, 2.0]).take(values_NM, np.zeros_like(values_NM), count=3) == []
    assert undominated([], [2.0, 2.0]).take(np.ones((3, 2)), np.zeros((3, 2)), count=3) == [0]


def test_what_is_uncertain_is_taken_once() -> None:
    mean_NM, std_NM = np.array([[0.5, 0.5], [0.6, 0.6]]), np.full((2, 2), 0.2)
    assert undominated([], [1.0, 1.0]).take(mean_NM, std_NM, count=3) == [0, 1]


def plain(name, bound=None):
    return Objective(name, "x", lambda architectures: [0.0 for _ in architectures], bound=bound)


def corner(rows, *, bound=None, **options):
    return worst_corner(np.array(rows), [plain("a", bound), plain("b")], **options)


def test_the_corner_lies_behind_the_front() -> None:
    rows = [(1.0, 3.0), (2.0, 1.0), (5.0, 5.0), (np.nan, np.nan)]
    assert corner(rows) == pytest.approx([2.1, 3.2])
    assert corner(rows, beyond=1.0) == pytest.approx([3.0, 5.0])


def test_bounds_are_the_corner() -> None:
    assert corner([(1.0, 3.0), (2.0, 1.0), (9.0, 0.0)], bound=4.0) == pytest.approx([4.0, 3.2])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1.0, 1.0), (3.0, 4.0)], [3.2, 4.3]),  # a front of one: all stand for it
        ([(2.0, 0.0)], [2.2, 0.1]),  # one evaluation
        ([(2.0, 0.0), (2.0, 0.0)], [2.2, 0.1]),  # constant objectives
    ],
)
def test_a_front_without_extent_still_has_a_corner(rows: list, expected: list) -> None:
    corner_M = corner(rows)
    assert (corner_M > np.max(rows, axis=0)).all()
    assert corner_M == pytest.approx(expected)


def test_where_nothing_is_within_the_bounds_all_stand_for_the_front() -> None:
    assert corner([(5.0, 1.0), (7.0, 3.0)], bound=4.0) == pytest.approx([4.0, 3.2])
