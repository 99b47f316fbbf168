"""What was told, and how constraints rank it."""

import json
from typing import Any

import numpy as np
import pytest

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import Architecture
from hwnas.strategies.history import History, constrained_ranks, require_choices_of, violations
from hwnas.testing import ToySpace

NAN = float("nan")
OBJECTIVES = [Objective("error", "x", lambda _: []), Objective("macs", "x", lambda _: [], bound=10.0)]


def told(choices: tuple[int, ...], *values: float) -> Evaluation:
    """A failed evaluation where there are no values."""
    candidate = Candidate(Architecture("any", choices))
    if not values:
        return Evaluation(candidate, failure="it failed")
    return Evaluation(candidate, dict(zip(("error", "macs"), values, strict=True)))


def three() -> History:
    history = History(OBJECTIVES)
    history.add([told((0, 1), 0.5, 8.0), told((2, 0))])
    history.add([told((1, 1), 0.25, 12.0)])
    return history


def test_an_empty_history_has_no_rows() -> None:
    history = History(OBJECTIVES)
    assert len(history) == 0
    assert history.values_NM.shape == (0, 2)
    assert history.violations_N.shape == (0,)
    assert history.new(np.array([[1, 1], [0, 1]])).tolist() == [[1, 1], [0, 1]]


def test_it_keeps_the_order_and_marks_failures() -> None:
    history = three()
    assert history.choices_NV.tolist() == [[0, 1], [2, 0], [1, 1]]
    np.testing.assert_array_equal(history.values_NM, [[0.5, 8.0], [NAN, NAN], [0.25, 12.0]])
    np.testing.assert_allclose(history.violations_N, [0, np.inf, 0.2])
    assert (2, 0) in history
    assert (0, 0) not in history


def test_the_first_evaluation_of_an_architecture_counts() -> None:
    history = three()
    history.add([told((0, 1), 0.9, 9.0), told((2, 0), 0.1, 1.0)])
    assert len(history) == 3
    np.testing.assert_array_equal(history.values_NM[:2], [[0.5, 8.0], [NAN, NAN]])


def test_values_are_found_by_choices() -> None:
    history = three()
    np.testing.assert_array_equal(history.values_at([(1, 1), (2, 0)]), [[0.25, 12.0], [NAN, NAN]])
    assert history.values_at([]).shape == (0, 2)
    with pytest.raises(KeyError):
        history.values_at([(9, 9)])


def test_what_is_new_comes_once() -> None:
    choices_NV = np.array([[0, 0], [0, 1], [0, 0], [2, 1]], dtype=np.int8)
    assert three().new(choices_NV).tolist() == [[0, 0], [2, 1]]
    assert three().new(np.array([[0, 1]])).shape == (0, 2)


def test_its_state_is_strict_json_and_all_of_it() -> None:
    history, other = three(), History(OBJECTIVES)
    other.add([told((7, 7), 1.0, 1.0)])
    other.load_state_dict(json.loads(json.dumps(history.state_dict(), allow_nan=False)))
    assert other.choices_NV.tolist() == history.choices_NV.tolist()
    np.testing.assert_array_equal(other.values_NM, history.values_NM)
    assert (7, 7) not in other


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"choices": [[0, 1]]},
        {"choices": [[0, 1]], "values": []},
        {"choices": [[0, 1]], "values": [[0.5]]},
        {"choices": [[0, 1]], "values": [["half", 1.0]]},
        {"choices": [["a", 1]], "values": [[0.5, 1.0]]},
        {"choices": None, "values": None},
    ],
)
def test_a_torn_state_is_refused_and_changes_nothing(state: dict[str, object]) -> None:
    history = three()
    with pytest.raises((KeyError, TypeError, ValueError)):
        history.load_state_dict(state)
    assert len(history) == 3


def test_violations_are_relative_and_add_up() -> None:
    objectives = [Objective(name, "x", lambda _: [], bound=bound) for name, bound in (("a", 4.0), ("b", -2.0))]
    values_NM = np.array([[4.0, -2.0], [5.0, -3.0], [5.0, -1.0], [NAN, -5.0]])
    np.testing.assert_allclose(violations(values_NM, objectives), [0, 0.25, 0.75, np.inf])


def test_without_bounds_nothing_is_violated() -> None:
    free = [Objective("a", "x", lambda _: [])]
    assert violations(np.array([[1e9], [NAN]]), free).tolist() == [0, np.inf]


def test_those_within_bounds_rank_by_front_and_the_rest_by_how_far() -> None:
    values_NM = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [0.0, 0.0], [0.0, 0.0], [NAN, NAN], [NAN, NAN]])
    violations_N = np.array([0, 0, 0, 0.5, 0.1, np.inf, np.inf])
    assert constrained_ranks(values_NM, violations_N).tolist() == [0, 0, 1, 3, 2, 4, 4]


def test_one_objective_is_ranked_by_value() -> None:
    assert constrained_ranks(np.array([[3.0], [1.0], [3.0]]), np.zeros(3)).tolist() == [1, 0, 1]


def test_where_nothing_is_within_bounds_the_nearest_is_first() -> None:
    assert constrained_ranks(np.zeros((3, 2)), np.array([2.0, np.inf, 1.0])).tolist() == [1, 2, 0]
    assert constrained_ranks(np.zeros((0, 2)), np.zeros(0)).tolist() == []


@pytest.mark.parametrize("stored", [[[0] * 6], [[9] * 7], [[-1] + [0] * 6], [["x"] * 7], "torn"])
def test_choices_of_another_space_are_told_apart(stored: Any) -> None:
    require_choices_of(ToySpace(), [one.choices for one in ToySpace().everything()])
    with pytest.raises((TypeError, ValueError)):
        require_choices_of(ToySpace(), stored)
