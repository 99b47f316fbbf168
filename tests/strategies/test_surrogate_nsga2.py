"""surrogate_nsga2: the contract of every strategy, what it looks at, and that it needs few evaluations."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from hwnas.benchmarks import Truth, load_benchmark
from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Evaluation
from hwnas.objectives import Objective, macs, score_choices
from hwnas.spaces import MobileNetV3, NASBench201, SearchSpace
from hwnas.strategies import SurrogateNSGA2, make_strategy
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives


class TestSurrogateNSGA2(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: SurrogateNSGA2(
            space, objectives, rng=rng, first_evaluations=8, batch_size=6, refit_growth=0.5
        )


def make(space: SearchSpace, objectives: Sequence[Objective], seed: int = 0, **options: float) -> SurrogateNSGA2:
    return SurrogateNSGA2(space, objectives, rng=np.random.default_rng(seed), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def mobile() -> MobileNetV3:
    return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


def share_after(strategy: str, budget: int, seed: int) -> float:
    """The share of the true hypervolume of nas_bench_macro that a search finds."""
    benchmark = load_benchmark("nas_bench_macro")
    objectives = benchmark.objectives(["error", "macs", "parameters"])
    made = make_strategy(strategy, benchmark.space, objectives, seed=seed)
    known: dict[tuple[int, ...], None] = {}
    while len(known) < budget:
        asked = made.ask()
        values = [{o.name: o.evaluate([one.architecture])[0] for o in objectives} for one in asked]
        made.tell([Evaluation(one, found) for one, found in zip(asked, values, strict=True)])
        known |= dict.fromkeys(one.architecture.choices for one in asked)
    return Truth(benchmark, objectives).share(np.array(list(known)[:budget]))


@pytest.mark.parametrize("seed", range(2))
def test_it_finds_the_true_front_with_few_evaluations(seed: int) -> None:
    """With 60 of 6,561 more than random search with 200."""
    found = share_after("surrogate_nsga2", 60, seed)
    assert found > 0.985
    assert found > share_after("random", 200, seed)


def test_a_large_space_is_searched_by_evolution(mobile: MobileNetV3) -> None:
    """What it asks for after its first evaluations is better than these, and new."""
    objectives = [toy_error(mobile), macs(mobile)]
    strategy = make(mobile, objectives, first_evaluations=20, batch_size=10, generations=8)
    first, *later = converse(strategy, objectives, rounds=4)
    asked = [one.architecture for batch in later for one in batch]
    assert len(asked) == len(set(asked)) == 30
    best = min(objectives[0].evaluate([one.architecture for one in first]))
    assert min(objectives[0].evaluate(asked)) < best


def test_bounds_of_cheap_objectives_cost_no_evaluation(mobile: MobileNetV3) -> None:
    bound = float(np.quantile(macs(mobile).evaluate([mobile.sample(np.random.default_rng(n)) for n in range(50)]), 0.1))
    objectives = [toy_error(mobile), macs(mobile).bounded(bound)]
    for batch in converse(make(mobile, objectives, generations=4), objectives, rounds=4):
        choices_NV = np.array([one.architecture.choices for one in batch])
        assert (score_choices(mobile, objectives, choices_NV)["macs"] <= bound).all()


def test_a_bound_that_only_evaluations_can_tell_is_found(mobile: MobileNetV3) -> None:
    """Few of the first evaluations are within it; later most are."""
    error = toy_error(mobile)
    bound = float(np.min(error.evaluate([mobile.sample(np.random.default_rng(seed)) for seed in range(300)])))
    objectives = [error.bounded(bound), macs(mobile)]
    first, *later = converse(make(mobile, objectives, generations=8), objectives, rounds=5)
    within = [np.mean([error.evaluate([one.architecture])[0] <= bound for one in batch]) for batch in (first, *later)]
    assert within[0] < 0.4
    assert within[-1] > 0.7


def test_a_bound_that_no_architecture_of_a_small_space_meets_is_an_error() -> None:
    space = ToySpace()
    with pytest.raises(InfeasibleError, match="macs <= 1 MACs"):
        make(space, [toy_error(space), macs(space).bounded(1.0)]).ask()


def test_disconnected_cells_are_not_asked_for() -> None:
    space = NASBench201()
    objectives = [toy_error(space), macs(space)]
    for batch in converse(make(space, objectives), objectives, rounds=3):
        assert space.is_connected(np.array([one.architecture.choices for one in batch])).all()


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_it_goes_on_from_its_state_between_two_fits(rounds: int) -> None:
    """The predictors were fitted on fewer evaluations than were told since; they come back as they were."""
    space = ToySpace()
    objectives = toy_objectives(space, 2)
    first = make(space, objectives, 1, first_evaluations=10, batch_size=3, refit_growth=1.0)
    converse(first, objectives, rounds=rounds)
    second = make(space, objectives, 2, first_evaluations=10, batch_size=3, refit_growth=1.0)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert converse(second, objectives, rounds=5) == converse(first, objectives, rounds=5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("first_evaluations", 0),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("refit_growth", 1.5),
        ("population_size", 3),
        ("generations", -1),
    ],
)
def test_hyperparameters_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{option} of surrogate_nsga2"):
        make(ToySpace(), toy_objectives(ToySpace(), 2), **{option: value})
