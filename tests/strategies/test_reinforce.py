"""REINFORCE: the contract of every strategy, its rewards, and that its controller follows its targets."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Candidate, Evaluation, hypervolume
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import Architecture, MobileNetV3, SearchSpace
from hwnas.strategies import REINFORCE
from hwnas.strategies.reinforce import OFFSET, _ranks, _scaled, soft_rewards
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_latency, toy_objectives

SMALL = {"initial_size": 8, "batch_size": 4, "hidden_units": 8, "updates": 2, "replay_size": 8}


class TestREINFORCE(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: REINFORCE(space, objectives, rng=rng, **SMALL)


@pytest.fixture(scope="module")
def mobile() -> MobileNetV3:
    return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


@pytest.fixture(scope="module")
def space() -> ToySpace:
    return ToySpace()


def make(space: SearchSpace, objectives: Sequence[Objective], seed: int = 0, **options: Any) -> REINFORCE:
    return REINFORCE(space, objectives, rng=np.random.default_rng(seed), **options)


def found(objectives: Sequence[Objective], rounds: Sequence[Sequence[Candidate]]) -> np.ndarray:
    architectures = [one.architecture for asked in rounds for one in asked]
    return np.array([objective.evaluate(architectures) for objective in objectives]).T


def test_a_reward_is_mnasnets() -> None:
    """Accuracy times (latency / target) ** -0.07 up to the target, and as its inverse above it."""
    scaled_NM = np.array([[0.5, 0.25], [0.5, 0.5], [0.5, 0.75]])
    rewards_N = soft_rewards(scaled_NM, np.zeros(3), np.array([[0.5, 0.5]]))[0]
    below, above = ((latency + OFFSET) / (0.5 + OFFSET) for latency in (0.25, 0.75))
    np.testing.assert_allclose(np.exp(rewards_N), [below**-0.07, 1.0, above**-1.0])


def test_bounds_and_failures_lower_a_reward() -> None:
    """More than any values do."""
    scaled_NM = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    rewards_KN = soft_rewards(scaled_NM, np.array([0.0, 0.5, 2.0, np.inf]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert rewards_KN.shape == (2, 4)
    assert (np.diff(rewards_KN, axis=1) < 0).all()


def test_targets_choose_among_the_front() -> None:
    """At each the member of its proportions is rewarded most, in a hollow of the front as well."""
    front_NM = np.array([[0.0, 1.0], [0.6, 0.6], [1.0, 0.0]])
    targets_KM = front_NM / front_NM.sum(axis=1, keepdims=True)
    assert soft_rewards(front_NM, np.zeros(3), targets_KM).argmax(axis=1).tolist() == [0, 1, 2]


def test_targets_sweep_the_front(space: ToySpace) -> None:
    targets_KM = make(space, toy_objectives(space, 3))._draw_targets(2000)
    np.testing.assert_allclose(targets_KM.sum(axis=1), 1.0)
    np.testing.assert_allclose(targets_KM.mean(axis=0), 1 / 3, atol=0.03)
    assert (targets_KM.min(axis=0) < 0.001).all()
    assert (targets_KM.max(axis=0) > 0.99).all()


def test_a_rank_is_the_share_that_is_worse() -> None:
    rewards_KN = np.array([[1.0, 3.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(_ranks(rewards_KN, np.array([1, 0])), [0.875, 0.5])
    np.testing.assert_allclose(_ranks(rewards_KN, np.array([2, 3])), [0.5, 0.5])


def test_values_are_scaled_over_those_within_bounds() -> None:
    values_NM = np.array([[1.0, 5.0], [3.0, 5.0], [7.0, 4.0], [np.nan, np.nan]])
    scaled_NM = _scaled(values_NM, np.array([0.0, 0.0, 1.0, np.inf]))
    np.testing.assert_allclose(scaled_NM, [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(_scaled(values_NM, np.array([2.0, 1.0, 1.0, np.inf]))[:, 0], [0.0, 1 / 3, 1.0, 1.0])


def test_its_controller_follows_its_targets(mobile: MobileNetV3) -> None:
    """Where the error may be large, it writes small networks, and where the MACs may be many, large ones."""
    objectives = [toy_error(mobile), macs(mobile)]
    strategy = make(mobile, objectives, initial_size=40)
    converse(strategy, objectives, rounds=6)
    sizes = [
        np.median(
            macs(mobile).evaluate(
                mobile.architectures(strategy._controller.sample(wanted_NC, rng=np.random.default_rng(0)))
            )
        )
        for wanted_NC in (np.tile([0.95, 0.05], (60, 1)), np.tile([0.05, 0.95], (60, 1)))
    ]
    assert sizes[1] > 1.3 * sizes[0]


def test_it_beats_random_architectures_of_every_size(mobile: MobileNetV3) -> None:
    objectives = [toy_error(mobile), toy_latency(mobile)]
    random_NM = found(objectives, [make(mobile, objectives, initial_size=120).ask()])
    searched_NM = found(objectives, converse(make(mobile, objectives), objectives, rounds=11))
    assert len(searched_NM) == len(random_NM) == 120
    reference = found(objectives, [[Candidate(mobile.smallest()), Candidate(mobile.largest())]]).max(axis=0).tolist()
    assert hypervolume(searched_NM, reference) > 1.02 * hypervolume(random_NM, reference)


def test_it_asks_for_nothing_twice(space: ToySpace) -> None:
    """And for everything in the end, however sure its controller has become."""
    objectives = toy_objectives(space, 2)
    rounds = converse(make(space, objectives, **SMALL), objectives, rounds=80)
    asked = [one.architecture for each in rounds for one in each]
    assert len(asked) == len(set(asked))
    assert set(asked) == set(space.everything())
    assert rounds[-1] == []


def test_every_cheap_bound_is_met_from_the_start(mobile: MobileNetV3) -> None:
    smallest, largest = macs(mobile).evaluate([mobile.smallest(), mobile.largest()])
    objectives = [toy_error(mobile), macs(mobile).bounded(smallest + 0.05 * (largest - smallest))]
    rounds = converse(make(mobile, objectives, **SMALL), objectives)
    assert all(rounds)
    assert found(objectives, rounds)[:, 1].max() <= objectives[1].bound


def test_a_bound_that_nothing_meets_is_an_error(mobile: MobileNetV3) -> None:
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(mobile, [toy_error(mobile), macs(mobile).bounded(10.0)]).ask()


def test_failures_are_written_less_and_less(space: MobileNetV3) -> None:
    """A choice that fails is avoided."""
    objectives = toy_objectives(space, 2)

    def fails(_round: int, architecture: Architecture) -> bool:
        return architecture.choices[1] == 1

    strategy = make(space, objectives, batch_size=4)
    converse(strategy, objectives, rounds=9, fails=fails)
    written_NV = strategy._controller.sample(strategy._draw_targets(300), rng=np.random.default_rng(0))
    assert (written_NV[:, 1] == 1).mean() < 0.15


def test_a_state_goes_on_as_the_search_would_have(mobile: MobileNetV3) -> None:
    objectives = toy_objectives(mobile, 3)
    first, second = make(mobile, objectives, 0, **SMALL), make(mobile, objectives, 1, **SMALL)
    converse(first, objectives, rounds=3)
    state = json.loads(json.dumps(first.state_dict()))
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert converse(second, objectives, rounds=3) == converse(first, objectives, rounds=3)
    assert second.state_dict() == first.state_dict()


def test_fewer_may_be_told_than_were_asked_for(space: ToySpace) -> None:
    objectives = toy_objectives(space, 2)
    strategy = make(space, objectives, **SMALL)
    for _ in range(3):
        asked = strategy.ask()[:3]
        values_NM = found(objectives, [asked])
        names = [one.name for one in objectives]
        strategy.tell(
            [Evaluation(one, dict(zip(names, row, strict=True))) for one, row in zip(asked, values_NM, strict=True)]
        )
    assert len(choices_of([one.architecture for one in strategy.ask()])) == SMALL["batch_size"]


@pytest.mark.parametrize(
    ("option", "value", "must"),
    [
        ("initial_size", 0, "a whole number from 1 to"),
        ("batch_size", 2.5, "a whole number from 1 to"),
        ("hidden_units", 0, "a whole number from 1 to 4096"),
        ("hidden_units", 10**6, "a whole number from 1 to 4096"),
        ("updates", -1, "a whole number from 1 to"),
        ("replay_size", 0, "a whole number from 1 to"),
        ("elite_share", 1.1, "from 0 to 1"),
        ("learning_rate", -0.1, "from 0 to 1"),
        ("learning_rate", float("inf"), "from 0 to 1"),
        ("entropy_weight", float("nan"), "from 0 to 1"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(space: ToySpace, option: str, value: float, must: str) -> None:
    with pytest.raises(SettingsError, match=f"{option} of reinforce must be {must}"):
        make(space, [macs(space)], **{option: value})
