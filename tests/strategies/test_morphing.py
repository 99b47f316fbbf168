"""The steps that lemonade and nash take, and the scale on which they compare."""

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import macs
from hwnas.spaces import ConvNet
from hwnas.strategies.morphing import candidates_from, logarithmic, steps_from
from hwnas.strategies.proposals import Proposals
from hwnas.testing import ToySpace

SPACE = ConvNet((1, 8, 8), 10)
OBJECTIVES = [macs(SPACE)]


def told(*architectures, failed: bool = False, objectives=OBJECTIVES) -> Proposals:
    proposals = Proposals(SPACE, objectives, np.random.default_rng(0))
    values = [{} if failed else {"macs": OBJECTIVES[0].evaluate([one])[0]} for one in architectures]
    failure = "it failed" if failed else None
    proposals.tell(
        [Evaluation(Candidate(one), found, failure=failure) for one, found in zip(architectures, values, strict=True)]
    )
    return proposals


def test_steps_are_the_neighbours_that_were_not_told_by_kind() -> None:
    parent = SPACE.sample(np.random.default_rng(0))
    known = SPACE.neighbors(parent)[:3]
    keeping, nearing = (
        SPACE.architectures(kind) for kind in steps_from(SPACE, told(parent, *known), np.array(parent.choices))
    )
    assert {*keeping, *nearing} == set(SPACE.neighbors(parent)) - set(known)
    assert len({*keeping, *nearing}) == len(keeping) + len(nearing)
    assert all(SPACE.keeps_function(parent, one) for one in keeping)
    assert not any(SPACE.keeps_function(parent, one) for one in nearing)


def test_steps_above_a_cheap_bound_are_none() -> None:
    parent = SPACE.largest()
    bounded = [OBJECTIVES[0].bounded(OBJECTIVES[0].evaluate([SPACE.smallest()])[0])]
    assert steps_from(SPACE, told(parent, objectives=bounded), np.array(parent.choices)) == []


def test_a_kind_of_which_there_is_none_is_left_out() -> None:
    largest = SPACE.largest()
    (steps_NV,) = steps_from(SPACE, told(largest), np.array(largest.choices))
    assert set(SPACE.architectures(steps_NV)) == set(SPACE.neighbors(largest))
    toy = ToySpace()  # it knows no morphisms
    parent = toy.smallest()
    (steps_NV,) = steps_from(toy, Proposals(toy, [macs(toy)], np.random.default_rng(0)), np.array(parent.choices))
    assert set(toy.architectures(steps_NV)) == {parent, *toy.neighbors(parent)}  # it was not told of the parent either


def test_candidates_name_the_parents_that_did_not_fail() -> None:
    parent, child = SPACE.smallest(), SPACE.largest()
    assert candidates_from(SPACE, told(parent).history, {child.choices: 0}) == [Candidate(child, parent)]
    assert candidates_from(SPACE, told(parent, failed=True).history, {child.choices: 0}) == [Candidate(child)]
    assert candidates_from(SPACE, told(parent).history, {}) == []


def test_objectives_that_are_positive_throughout_are_compared_by_their_ratios() -> None:
    values_NM = np.array([[1.0, 0.0, np.e], [np.e, 5.0, np.nan]])
    expected_NM = np.array([[0.0, 0.0, 1.0], [1.0, 5.0, np.nan]])
    np.testing.assert_allclose(logarithmic(values_NM), expected_NM)
