"""Regularized evolution: the contract of every strategy, its queue and its tournaments."""

from collections.abc import Sequence

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import FBNet, MobileNetV3, SearchSpace
from hwnas.strategies import RegularizedEvolution
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives


class TestRegularizedEvolution(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: RegularizedEvolution(
            space, objectives, rng=rng, population_size=8, sample_size=3, batch_size=4
        )


def make(space: SearchSpace, objectives: Sequence[Objective], **options: int) -> RegularizedEvolution:
    return RegularizedEvolution(space, objectives, rng=np.random.default_rng(0), **options)


def queue(strategy: RegularizedEvolution) -> list[tuple[int, ...]]:
    return [tuple(one) for one in strategy.state_dict()["queue"]]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_oldest_die_whatever_they_are_worth(mobile: MobileNetV3, batch_size: int) -> None:
    """The queue is always the last that were told, in their order."""
    objectives = toy_objectives(mobile, 2)
    strategy = make(mobile, objectives, population_size=10, sample_size=3, batch_size=batch_size)
    told: list[tuple[int, ...]] = []
    for number in range(12):
        [asked] = converse(strategy, objectives, rounds=1)
        assert len(asked) == (batch_size if number else 10)
        told += [one.architecture.choices for one in asked]
        assert queue(strategy) == told[-10:]


def test_a_child_is_one_change_from_a_living_parent() -> None:
    space = FBNet((3, 32, 32), 10)
    objectives = [toy_error(space), macs(space)]
    strategy = make(space, objectives, population_size=10, sample_size=3, batch_size=2)
    converse(strategy, objectives, rounds=1)
    for _round in range(10):
        alive = queue(strategy)
        [asked] = converse(strategy, objectives, rounds=1)
        for choices_V in choices_of([one.architecture for one in asked]):
            assert min((choices_V != one).sum() for one in alive) == 1


def test_tournaments_of_all_are_won_by_the_fittest(mobile: MobileNetV3) -> None:
    """Of one objective with hundreds of contestants the parent is the best alive."""
    objectives = [toy_error(mobile)]
    strategy = make(mobile, objectives, population_size=10, sample_size=300, batch_size=6)
    converse(strategy, objectives, rounds=1)
    best = min(queue(strategy), key=lambda one: objectives[0].evaluate([mobile.architecture(one)])[0])
    around = {tuple(row) for row in mobile.neighbor_choices(np.array(best)).tolist()}
    assert all(one.architecture.choices in around for one in strategy.ask())


def test_the_fittest_have_more_children(mobile: MobileNetV3) -> None:
    """Told that small is bad, its children grow."""
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    negative = Objective("size", "x", lambda architectures: [-value for value in size.evaluate(architectures)])
    rounds = converse(make(mobile, [negative]), [negative], rounds=60)
    late = np.median(size.evaluate([one.architecture for each in rounds[-10:] for one in each]))
    assert (late - smallest) / (largest - smallest) > 0.9


def test_no_evaluation_is_wasted_above_a_cheap_bound(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.1 * (largest - smallest)
    objectives = [toy_error(mobile), size.bounded(bound)]
    asked = [one.architecture for each in converse(make(mobile, objectives), objectives, rounds=20) for one in each]
    assert len(set(asked)) == len(asked) == 40 + 19 * 5
    assert max(size.evaluate(asked)) <= bound


def test_a_bound_that_nothing_meets_is_an_error() -> None:
    space = ToySpace()
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(space, [macs(space).bounded(10.0)]).ask()


@pytest.mark.parametrize("option", ["population_size", "sample_size", "batch_size"])
@pytest.mark.parametrize("value", [0, 2.5])
def test_hyperparameters_out_of_range_are_refused(option: str, value: float) -> None:
    space = ToySpace()
    with pytest.raises(SettingsError, match=f"{option} of regularized_evolution must be a whole number from 1 to"):
        make(space, [macs(space)], **{option: value})  # type: ignore[arg-type]
