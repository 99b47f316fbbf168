"""Local search: the contract of every strategy, and where it looks."""

from collections.abc import Sequence

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Evaluation, pareto_front
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import Architecture, MobileNetV3, SearchSpace
from hwnas.strategies import LocalSearch
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives


class TestLocalSearch(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: LocalSearch(space, objectives, rng=rng, num_starts=6, batch_size=4)


def make(space: SearchSpace, objectives: Sequence[Objective], **options: int) -> LocalSearch:
    return LocalSearch(space, objectives, rng=np.random.default_rng(0), **options)


def evaluated(strategy: LocalSearch, objectives: Sequence[Objective]) -> list[Evaluation]:
    """One more round."""
    asked = strategy.ask()
    told = [Evaluation(one, {o.name: o.evaluate([one.architecture])[0] for o in objectives}) for one in asked]
    strategy.tell(told)
    return told


def test_each_of_a_round_is_a_neighbour_of_another_member_of_the_front(mobile: MobileNetV3) -> None:
    """As long as the front has unknown neighbours it looks nowhere else."""
    objectives = toy_objectives(mobile, 3)
    strategy = make(mobile, objectives, num_starts=30, batch_size=5)
    told = evaluated(strategy, objectives)
    for _round in range(6):
        front = choices_of([one.architecture for one in pareto_front(told, objectives)])
        around = [{tuple(row) for row in mobile.neighbor_choices(row).tolist()} for row in front]
        latest = evaluated(strategy, objectives)
        assert len({one.architecture for one in latest}) == 5
        for one in latest:
            assert any(one.architecture.choices in each for each in around)
        told += latest


def test_it_looks_around_the_least_crowded_first(mobile: MobileNetV3) -> None:
    """Both ends of a front of many are its least crowded members."""
    objectives = toy_objectives(mobile, 2)
    strategy = make(mobile, objectives, num_starts=40, batch_size=2)
    front = pareto_front(evaluated(strategy, objectives), objectives).evaluations
    assert len(front) > 4
    asked = [one.architecture for one in strategy.ask()]
    for end in (front[0], front[-1]):
        assert sum(one in mobile.neighbors(end.architecture) for one in asked) == 1


def test_nothing_else_is_looked_at_before_all_neighbours_of_the_best(mobile: MobileNetV3) -> None:
    """Of one objective the front is one architecture, here an end that it begins with."""
    objectives = [toy_error(mobile)]
    around = set(mobile.neighbors(mobile.largest()))
    strategy = make(mobile, objectives, num_starts=2, batch_size=1)
    start, *rounds = converse(strategy, objectives, rounds=1 + len(around))
    assert {one.architecture for one in start} == {mobile.smallest(), mobile.largest()}
    assert {one.architecture for each in rounds for one in each} == around


def test_it_goes_on_where_the_front_is_a_local_optimum() -> None:
    """Around the next fronts, and from random architectures where what it knows has no neighbours left."""
    space = ToySpace()
    objectives = toy_objectives(space, 2)
    rounds = converse(make(space, objectives, num_starts=2, batch_size=3), objectives, rounds=60)
    assert {one.architecture for each in rounds for one in each} == set(space.everything())


class Islands(ToySpace):
    """Two kernel sizes change together or not at all, so that no single change leads from one island to the other."""

    name = "islands"

    def neighbor_choices(self, choices_V: np.ndarray) -> np.ndarray:
        around_NV = super().neighbor_choices(choices_V)
        return around_NV[around_NV[:, 1] == choices_V[1]]


def test_it_restarts_where_no_neighbour_is_unknown() -> None:
    space = Islands()
    objectives = toy_objectives(space, 2)
    strategy = make(space, objectives, num_starts=1, batch_size=3)
    first = {one.architecture.choices[1] for one in strategy.ask()}
    rounds = converse(make(space, objectives, num_starts=1, batch_size=3), objectives, rounds=100)
    asked: list[Architecture] = [one.architecture for each in rounds for one in each]
    assert len(asked) == len(set(asked)) == 84
    assert {one.choices[1] for one in asked[:42]} == first


def test_no_evaluation_is_wasted_above_a_cheap_bound(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.1 * (largest - smallest)
    objectives = [toy_error(mobile), size.bounded(bound)]
    asked = [one.architecture for each in converse(make(mobile, objectives), objectives) for one in each]
    assert len(set(asked)) == len(asked) == 20 + 5 * 10
    assert max(size.evaluate(asked)) <= bound


def test_a_bound_that_nothing_meets_is_an_error() -> None:
    space = ToySpace()
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(space, [macs(space).bounded(10.0)]).ask()


@pytest.mark.parametrize("option", ["num_starts", "batch_size"])
@pytest.mark.parametrize("value", [0, 2.5])
def test_hyperparameters_out_of_range_are_refused(option: str, value: float) -> None:
    space = ToySpace()
    with pytest.raises(SettingsError, match=f"{option} of local_search must be a whole number from 1 to"):
        make(space, [macs(space)], **{option: value})  # type: ignore[arg-type]
