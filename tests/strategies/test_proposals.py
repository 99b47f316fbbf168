"""What is worth asking for: new, distinct, within the cheap bounds, in a bounded number of draws."""

import json
from typing import Any

import numpy as np
import pytest

from hwnas.errors import InfeasibleError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import IntArray, MobileNetV3
from hwnas.strategies.proposals import LEAST_DRAWN, MAX_ATTEMPTS, Proposals
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import recorded, toy_error

SPACE = ToySpace()
EVERYTHING = SPACE.everything()


def proposals(*objectives: Objective, seed: int = 0) -> Proposals:
    return Proposals(SPACE, objectives or [toy_error(SPACE)], np.random.default_rng(seed))


def failed(choices_NV: IntArray) -> list[Evaluation]:
    return [Evaluation(Candidate(one), failure="it failed") for one in SPACE.architectures(choices_NV)]


def test_it_collects_in_the_order_drawn_and_each_once() -> None:
    rows = [list(one.choices) for one in EVERYTHING]
    attempts = []

    def draw(number: int, attempt: int) -> IntArray:
        attempts.append(attempt)
        return np.array([rows[0], rows[5], rows[0], rows[5 + attempt]])

    assert proposals().collect(4, draw).tolist() == [rows[0], rows[5], rows[6], rows[7]]
    assert attempts == [0, 1, 2]


def test_encodings_of_one_architecture_are_one() -> None:
    found_NV = proposals().collect(
        2, lambda _number, _attempt: np.array([[0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1]])
    )
    assert found_NV.tolist() == [[0, 1, 1, 0, 0, 0, 0]]


def test_it_gives_up_after_a_bounded_number_of_attempts() -> None:
    asked = []

    def draw(number: int, attempt: int) -> IntArray:
        asked.append((number, attempt))
        return choices_of([EVERYTHING[0]])

    made = proposals()
    made.tell(failed(choices_of([EVERYTHING[0]])))
    assert made.collect(3, draw).shape == (0, 7)
    assert asked == [(LEAST_DRAWN, attempt) for attempt in range(MAX_ATTEMPTS)]


def test_what_was_told_is_not_new_even_where_it_failed() -> None:
    made = proposals()
    told_NV = made.uniform(50)
    made.tell(failed(told_NV))
    rest_NV = made.uniform(50)
    assert len(rest_NV) == len(EVERYTHING) - 50
    assert len(np.unique(np.concatenate([told_NV, rest_NV]), axis=0)) == len(EVERYTHING)
    assert made.worthwhile(told_NV).shape == (0, 7)


def test_only_what_is_within_every_cheap_bound_is_worthwhile() -> None:
    """An expensive bound is nobody's to know before the evaluation."""
    size, latency = macs(SPACE), recorded(SPACE, "recorded_ms", missing=lambda _round, one: one.choices[0] == 1)
    bounds = float(np.median(size.evaluate(EVERYTHING))), 1.6
    made = proposals(toy_error(SPACE).bounded(0.0), size.bounded(bounds[0]), latency.bounded(bounds[1]))
    values = zip(EVERYTHING, size.evaluate(EVERYTHING), latency.evaluate(EVERYTHING), strict=True)
    expected = [list(one.choices) for one, each, ms in values if each <= bounds[0] and ms <= bounds[1]]
    assert 0 < len(expected) < len(EVERYTHING) / 2
    assert made.worthwhile(choices_of(EVERYTHING)).tolist() == expected
    assert sorted(made.uniform(100).tolist()) == expected


def test_nothing_is_proposed_of_a_space_without_any_value() -> None:
    assert len(proposals(recorded(SPACE, "recorded_ms", missing=lambda _round, _one: True)).uniform(5)) == 0


def test_every_size_begins_with_both_ends(mobile: MobileNetV3) -> None:
    found_NV = Proposals(mobile, [macs(mobile)], np.random.default_rng(0)).of_every_size(200)
    assert found_NV[0].tolist() == list(mobile.smallest().choices)
    assert found_NV[1].tolist() == list(mobile.largest().choices)
    depth_N = (found_NV / (mobile.num_options_V - 1)).mean(axis=1)
    assert ((depth_N < 0.2).mean(), (depth_N > 0.8).mean()) > (0.08, 0.08)


def test_small_ones_begin_with_the_smallest(mobile: MobileNetV3) -> None:
    found_NV = Proposals(mobile, [macs(mobile)], np.random.default_rng(0)).small(200)
    assert found_NV[0].tolist() == list(mobile.smallest().choices)
    share_N = (found_NV / (mobile.num_options_V - 1)).mean(axis=1)
    assert (share_N.mean(), share_N.max()) < (0.3, 0.7)


def test_an_end_above_a_bound_is_left_out(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    bound = 1.5 * size.evaluate([mobile.smallest()])[0]
    found_NV = Proposals(mobile, [size.bounded(bound)], np.random.default_rng(0)).of_every_size(30)
    assert len(found_NV) == 30
    assert max(size.evaluate(mobile.architectures(found_NV))) <= bound


def test_a_bound_that_draws_do_not_meet_is_descended_to(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.02 * (largest - smallest)
    assert min(size.evaluate(mobile.architectures(mobile.sample_choices(5000, rng=np.random.default_rng(1))))) > bound
    found_NV = Proposals(mobile, [size.bounded(bound)], np.random.default_rng(0)).uniform(4)
    assert len(found_NV) >= 2
    assert max(size.evaluate(mobile.architectures(found_NV))) <= bound


def test_bounds_that_cannot_be_met_are_an_error_before_the_first_evaluation_alone() -> None:
    size = macs(SPACE)
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        proposals(size.bounded(10.0)).uniform(3)
    only = proposals(size.bounded(size.evaluate([SPACE.smallest()])[0]))
    assert only.uniform(3).tolist() == [list(SPACE.smallest().choices)]
    only.tell(failed(choices_of([SPACE.smallest()])))
    assert only.uniform(3).tolist() == []


def test_its_state_continues_the_draws() -> None:
    made, other = proposals(), proposals(seed=1)
    made.tell(failed(made.uniform(10)))
    other.load_state_dict(json.loads(json.dumps(made.state_dict())))
    assert other.uniform(10).tolist() == made.uniform(10).tolist()


@pytest.mark.parametrize(
    "choices", [[[0, 1]], [[3, 0, 0, 0, 0, 0, 0]], [[-1, 0, 0, 0, 0, 0, 0]], [[0] * 7, [0]], "torn"]
)
def test_a_state_of_another_space_is_refused(choices: Any) -> None:
    made = proposals()
    state = {**made.state_dict(), "history": {"choices": choices, "values": [None] * len(choices)}}
    with pytest.raises(ValueError, match=r".+"):
        made.load_state_dict(state)
    assert len(made.history) == 0


def test_a_state_of_another_generator_is_refused() -> None:
    made = proposals()
    other = np.random.Generator(np.random.MT19937(0)).bit_generator.state
    with pytest.raises(ValueError, match="PCG64"):
        made.load_state_dict({**made.state_dict(), "rng": other})
