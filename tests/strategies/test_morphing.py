"""The steps that lemonade and nash take."""

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import macs, parameters
from hwnas.spaces import ConvNet
from hwnas.strategies.history import History
from hwnas.strategies.morphing import Steps, candidates_from, require_count, small_choices, within_cheap_bounds

SPACE = ConvNet((1, 8, 8), 10)
OBJECTIVES = [macs(SPACE)]


def history_of(*architectures, failed: bool = False) -> History:
    history = History(OBJECTIVES)
    history.add(
        [
            Evaluation(Candidate(one), {}, failure="it failed")
            if failed
            else Evaluation(Candidate(one), {"macs": OBJECTIVES[0].evaluate([one])[0]})
            for one in architectures
        ]
    )
    return history


def test_steps_are_the_neighbours_that_were_not_told() -> None:
    parent = SPACE.sample(np.random.default_rng(0))
    known = SPACE.neighbors(parent)[:3]
    steps = Steps(SPACE, np.array(parent.choices), history_of(parent, *known))
    found = set(SPACE.architectures(steps.children_NV))
    assert len(steps) == len(found)
    assert found == set(SPACE.neighbors(parent)) - set(known)


def test_both_kinds_of_steps_are_drawn_alike() -> None:
    parent = SPACE.architecture([1, *SPACE.smallest().choices[1:]])  # there is one smaller network only
    steps, rng = Steps(SPACE, np.array(parent.choices), history_of(parent)), np.random.default_rng(0)
    drawn = [SPACE.architecture(steps.draw(rng)) for _ in range(200)]
    assert 70 < sum(SPACE.keeps_function(parent, one) for one in drawn) < 130


def test_the_largest_network_has_steps_of_one_kind() -> None:
    steps = Steps(SPACE, np.array(SPACE.largest().choices), history_of(SPACE.largest()))
    assert SPACE.architecture(steps.draw(np.random.default_rng(0))) in SPACE.neighbors(SPACE.largest())


def test_candidates_name_the_parents_that_did_not_fail() -> None:
    parent, child = SPACE.smallest(), SPACE.largest()
    assert candidates_from(SPACE, history_of(parent), [child.choices], [0]) == [Candidate(child, parent)]
    assert candidates_from(SPACE, history_of(parent, failed=True), [child.choices], [0]) == [Candidate(child)]


def test_cheap_bounds_sort_out_unless_nothing_meets_them() -> None:
    choices_NV = np.array([SPACE.smallest().choices, SPACE.largest().choices])
    least, most = parameters(SPACE).evaluate([SPACE.smallest(), SPACE.largest()])
    for bound, expected in ((least, [True, False]), (most, [True, True]), (least - 1, [True, True])):
        assert within_cheap_bounds(SPACE, [parameters(SPACE).bounded(bound)], choices_NV).tolist() == expected


@pytest.mark.parametrize("count", [1, 5])
def test_small_networks_come_each_once_and_meet_cheap_bounds(count: int) -> None:
    bound = 1.5 * parameters(SPACE).evaluate([SPACE.smallest()])[0]
    for objectives in ([parameters(SPACE)], [parameters(SPACE).bounded(bound)]):
        found = SPACE.architectures(small_choices(SPACE, objectives, count, rng=np.random.default_rng(0)))
        assert len(set(found)) == len(found) <= count
        assert len(found) == count or objectives[0].bound is not None
        assert objectives[0].bound is None or max(objectives[0].evaluate(found)) <= bound


@pytest.mark.parametrize("wrong", [0, 1.0, "2", True, None])
def test_a_count_is_a_whole_number(wrong: object) -> None:
    with pytest.raises(SettingsError, match="n of x must be a whole number from 1 up"):
        require_count("n of x", wrong)
