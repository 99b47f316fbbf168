"""BANANAS: the contract of every strategy, and that it chooses by what its ensembles have learned."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Candidate, Evaluation, hypervolume
from hwnas.objectives import Objective, macs
from hwnas.spaces import MobileNetV3, SearchSpace
from hwnas.strategies import BANANAS
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_latency, toy_objectives

SMALL = {"initial_size": 8, "batch_size": 4, "mutants": 60, "hidden_width": 8, "training_steps": 30}


class TestBANANAS(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: BANANAS(space, objectives, rng=rng, **SMALL)


@pytest.fixture(scope="module")
def mobile() -> MobileNetV3:
    return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


def make(space: SearchSpace, objectives: Sequence[Objective], seed: int = 0, **options: Any) -> BANANAS:
    return BANANAS(space, objectives, rng=np.random.default_rng(seed), **options)


def found(objectives: Sequence[Objective], rounds: Sequence[Sequence[Candidate]]) -> np.ndarray:
    architectures = [one.architecture for asked in rounds for one in asked]
    return np.array([objective.evaluate(architectures) for objective in objectives]).T


@pytest.mark.parametrize("seed", range(2))
def test_it_beats_random_architectures_of_every_size(mobile: MobileNetV3, seed: int) -> None:
    objectives = [toy_error(mobile), toy_latency(mobile)]
    random_NM = found(objectives, [make(mobile, objectives, seed, initial_size=100).ask()])
    rounds = converse(make(mobile, objectives, seed, training_steps=100), objectives, rounds=9)
    searched_NM = found(objectives, rounds)
    assert len(searched_NM) == len(random_NM) == 100
    reference = found(objectives, [[Candidate(mobile.smallest()), Candidate(mobile.largest())]]).max(axis=0).tolist()
    assert hypervolume(searched_NM, reference) > 1.1 * hypervolume(random_NM, reference)


def test_it_asks_for_nothing_twice(mobile: MobileNetV3) -> None:
    objectives = toy_objectives(mobile, 3)
    asked = [one.architecture for each in converse(make(mobile, objectives, **SMALL), objectives) for one in each]
    assert len(set(asked)) == len(asked) == 8 + 5 * 4


def test_every_cheap_bound_is_met_from_the_start(mobile: MobileNetV3) -> None:
    smallest, largest = macs(mobile).evaluate([mobile.smallest(), mobile.largest()])
    objectives = [toy_error(mobile), macs(mobile).bounded(smallest + 0.05 * (largest - smallest))]
    macs_N = found(objectives, converse(make(mobile, objectives, **SMALL), objectives))[:, 1]
    assert macs_N.max() <= objectives[1].bound


def test_a_bound_that_nothing_meets_is_an_error(mobile: MobileNetV3) -> None:
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(mobile, [toy_error(mobile), macs(mobile).bounded(10.0)]).ask()


def test_an_expensive_bound_is_learned(mobile: MobileNetV3) -> None:
    """Few random architectures meet it; of those that it asks for later most do."""
    size = macs(mobile)
    costs = size.evaluate(mobile.architectures(mobile.sample_choices(500, rng=np.random.default_rng(0))))
    hidden = Objective("hidden", "MACs", size.evaluate, bound=float(np.quantile(costs, 0.1)))
    objectives = [toy_error(mobile), hidden]
    rounds = converse(make(mobile, objectives, training_steps=100), objectives, rounds=8)
    assert np.mean(found(objectives, rounds[4:])[:, 1] <= hidden.bound) > 0.6


def test_values_may_be_of_any_sign_and_size(mobile: MobileNetV3) -> None:
    """An accuracy in percent with its sign changed is as good as an error."""
    error = toy_error(mobile)
    accuracy = Objective("accuracy", "%", lambda some: [-1e5 * (1 - value) for value in error.evaluate(some)])
    asked = [converse(make(mobile, [one, macs(mobile)], **SMALL), [one, macs(mobile)]) for one in (error, accuracy)]
    assert asked[0] == asked[1]


def test_a_state_goes_on_as_the_search_would_have(mobile: MobileNetV3) -> None:
    objectives = toy_objectives(mobile, 2)
    first, second = make(mobile, objectives, 0, **SMALL), make(mobile, objectives, 1, **SMALL)
    converse(first, objectives, rounds=3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert converse(second, objectives, rounds=2) == converse(first, objectives, rounds=2)


def test_failures_are_not_learned_from(mobile: MobileNetV3) -> None:
    """Told of failures in between, it has the same parents and the same ensembles."""
    objectives = toy_objectives(mobile, 2)
    strategy = make(mobile, objectives, **SMALL)
    asked = strategy.ask()
    strategy.tell([Evaluation(one, failure="it failed") for one in asked[1:]] + _evaluated(objectives, asked[:1]))
    again = strategy.ask()
    assert len(again) == SMALL["initial_size"]  # one value is too few to learn from
    strategy.tell(_evaluated(objectives, again))
    assert len(strategy.ask()) == SMALL["batch_size"]


def test_a_whole_toy_space_is_asked_for() -> None:
    space = ToySpace()
    objectives = toy_objectives(space, 2)
    rounds = converse(make(space, objectives, **SMALL), objectives, rounds=40)
    assert {one.architecture for asked in rounds for one in asked} == set(space.everything())
    assert rounds[-1] == []


def test_mutants_are_near_the_best(mobile: MobileNetV3) -> None:
    """Nine of ten that it chooses from, the rest being random."""
    objectives = toy_objectives(mobile, 1)
    strategy = make(mobile, objectives, initial_size=30, parents=1)
    told = _evaluated(objectives, strategy.ask())
    strategy.tell(told)
    best = min(told, key=lambda one: one.values["error"]).architecture
    drawn = mobile.canonicalize(strategy._draw(100, 0))
    near = {one.choices for one in mobile.neighbors(best)} | {best.choices}
    assert np.mean([tuple(row) in near for row in drawn.tolist()]) == pytest.approx(100 / 110, abs=0.01)


@pytest.mark.parametrize(
    ("option", "value", "must"),
    [
        ("initial_size", 0, "initial_size of bananas must be a whole number from 1 to"),
        ("batch_size", 2.5, "batch_size of bananas must be"),
        ("parents", -1, "parents of bananas must be"),
        ("mutants", 0, "mutants of bananas must be"),
        ("ensemble_size", 1, "ensemble_size of bananas must be a whole number from 2 to"),
        ("hidden_width", 0, "hidden_width of bananas must be"),
        ("training_steps", 0, "training_steps of bananas must be"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(mobile: MobileNetV3, option: str, value: float, must: str) -> None:
    with pytest.raises(SettingsError, match=must):
        make(mobile, [macs(mobile)], **{option: value})


def _evaluated(objectives: Sequence[Objective], candidates: Sequence[Candidate]) -> list[Evaluation]:
    values_NM = found(objectives, [candidates])
    names = [one.name for one in objectives]
    return [Evaluation(one, dict(zip(names, row, strict=True))) for one, row in zip(candidates, values_NM, strict=True)]
