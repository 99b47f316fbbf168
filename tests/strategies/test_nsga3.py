"""NSGA-III: the contract of every strategy, and what its reference directions keep."""

from collections.abc import Sequence

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import non_dominated
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import MobileNetV3, SearchSpace
from hwnas.strategies import NSGA3
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives


class TestNSGA3(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: NSGA3(space, objectives, rng=rng, population_size=8)


def make(space: SearchSpace, objectives: Sequence[Objective], **options: float) -> NSGA3:
    return NSGA3(space, objectives, rng=np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_one_objective_is_descended(mobile: MobileNetV3) -> None:
    """With a single direction it is elitist: the median of what it asks for falls towards the least."""
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    negative = Objective("size", "x", lambda architectures: [-value for value in size.evaluate(architectures)])
    last = converse(make(mobile, [negative], population_size=20), [negative], rounds=12)[-1]
    found = np.median(size.evaluate([one.architecture for one in last]))
    assert (found - smallest) / (largest - smallest) > 0.8


def test_the_population_spreads_over_four_objectives(mobile: MobileNetV3) -> None:
    """Of what it has at last nearly nobody is dominated, and both ends are near."""
    objectives = toy_objectives(mobile, 4)
    strategy = make(mobile, objectives, population_size=20)
    asked = [one.architecture for each in converse(strategy, objectives, rounds=10) for one in each]
    everything_NM = np.array([one.evaluate(asked) for one in objectives]).T
    kept = [mobile.architecture(one) for one in strategy.state_dict()["population"]]
    kept_NM = np.array([one.evaluate(kept) for one in objectives]).T
    assert len(set(kept)) == 20
    assert non_dominated(kept_NM).mean() > 0.9
    span_M = np.ptp(everything_NM, axis=0)
    assert ((kept_NM.min(axis=0) - everything_NM.min(axis=0)) / span_M).max() < 0.1


def test_parents_within_bounds_are_preferred(mobile: MobileNetV3) -> None:
    """An expensive bound that few random architectures meet is met by most of its later offspring."""
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.1 * (largest - smallest)
    objectives = [toy_error(mobile), Objective("macs", "MACs", size.evaluate, bound=bound)]
    rounds = converse(make(mobile, objectives, population_size=20), objectives, rounds=12)
    late = size.evaluate([one.architecture for each in rounds[-3:] for one in each])
    assert np.mean(np.array(late) <= bound) > 0.5


def test_no_evaluation_is_wasted_above_a_cheap_bound(mobile: MobileNetV3) -> None:
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    objectives = [toy_error(mobile), size.bounded(smallest + 0.1 * (largest - smallest))]
    rounds = converse(make(mobile, objectives, population_size=12), objectives)
    asked = [one.architecture for each in rounds for one in each]
    assert len(set(asked)) == 12 * len(rounds)
    assert max(size.evaluate(asked)) <= smallest + 0.1 * (largest - smallest)
    assert len(np.unique(choices_of(asked), axis=0)) == len(asked)


def test_a_bound_that_nothing_meets_is_an_error() -> None:
    space = ToySpace()
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(space, [macs(space).bounded(10.0)]).ask()


@pytest.mark.parametrize(
    ("option", "value"),
    [("population_size", 3), ("population_size", 8.0), ("crossover_rate", 1.1), ("mutation_rate", -1)],
)
def test_hyperparameters_out_of_range_are_refused(option: str, value: float) -> None:
    space = ToySpace()
    with pytest.raises(SettingsError, match=f"{option} of nsga3 must be"):
        make(space, [macs(space)], **{option: value})
