"""Random search: the contract of every strategy, and that it draws as it says."""

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.objectives import macs
from hwnas.spaces import MobileNetV3
from hwnas.strategies import RandomSearch
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives


class TestRandomSearch(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: RandomSearch(space, objectives, rng=rng, batch_size=8)


def test_it_asks_for_everything_and_for_nothing_twice() -> None:
    space = ToySpace()
    objectives = toy_objectives(space, 2)
    strategy = RandomSearch(space, objectives, rng=np.random.default_rng(0), batch_size=10)
    rounds = converse(strategy, objectives, rounds=20)
    asked = [one.architecture for each in rounds for one in each]
    assert len(asked) == len(set(asked)) == 84
    assert [len(each) for each in rounds] == [10] * 8 + [4, 0]


def test_its_choices_are_uniform(mobile: MobileNetV3) -> None:
    """Of every variable each option, about as often as any other: 1,000 draws of 3 options, each within 5 sigmas."""
    asked = RandomSearch(mobile, [macs(mobile)], rng=np.random.default_rng(0), batch_size=1000).ask()
    depths = np.array([one.architecture.choices for one in asked])[:, 0]
    assert np.abs(np.bincount(depths, minlength=3) - 1000 / 3).max() < 5 * np.sqrt(1000 * 2 / 9)


def test_no_evaluation_is_wasted_above_a_cheap_bound(mobile: MobileNetV3) -> None:
    """A bound that one in some hundred meets."""
    size = macs(mobile)
    samples = size.evaluate(mobile.architectures(mobile.sample_choices(2000, rng=np.random.default_rng(1))))
    bound = float(np.quantile(samples, 0.003))
    strategy = RandomSearch(
        mobile, [toy_error(mobile), size.bounded(bound)], rng=np.random.default_rng(0), batch_size=10
    )
    asked = [one.architecture for each in converse(strategy, [toy_error(mobile), size], rounds=3) for one in each]
    assert len(set(asked)) == 30
    assert max(size.evaluate(asked)) <= bound


def test_where_draws_find_nothing_within_a_bound_it_descends_to_it(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.02 * (largest - smallest)
    drawn = size.evaluate(mobile.architectures(mobile.sample_choices(5000, rng=np.random.default_rng(1))))
    assert min(drawn) > bound
    asked = RandomSearch(mobile, [size.bounded(bound)], rng=np.random.default_rng(0), batch_size=6).ask()
    assert len(asked) >= 2
    assert max(size.evaluate([one.architecture for one in asked])) <= bound


def test_a_bound_that_nothing_meets_is_an_error() -> None:
    space = ToySpace()
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        RandomSearch(space, [macs(space).bounded(10.0)], rng=np.random.default_rng(0)).ask()


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_batch_of_nothing_is_refused(batch_size: float) -> None:
    space = ToySpace()
    with pytest.raises(SettingsError, match="batch_size of random must be a whole number from 1 to"):
        RandomSearch(space, [macs(space)], rng=np.random.default_rng(0), batch_size=batch_size)  # type: ignore[arg-type]
