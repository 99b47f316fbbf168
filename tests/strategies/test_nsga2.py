"""NSGA-II: the contract of every strategy, and that it searches better than chance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation, hypervolume, pareto_front
from hwnas.objectives import Objective, choices_of, macs, parameters
from hwnas.spaces import Architecture, MobileNetV3, SearchSpace, Variable
from hwnas.strategies import NSGA2, SearchLoop
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_latency, toy_objectives


class TestNSGA2(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: NSGA2(space, objectives, rng=rng, population_size=8)


def make(space: SearchSpace, objectives: Sequence[Objective], seed: int = 0, **options: float | None) -> NSGA2:
    return NSGA2(space, objectives, rng=np.random.default_rng(seed), **options)  # type: ignore[arg-type]


def searched(
    space: SearchSpace, objectives: Sequence[Objective], folder: Path, budget: int, **options: float
) -> SearchLoop:
    loop = SearchLoop(
        space,
        objectives,
        make(space, objectives, **options),
        JsonLines(folder / "evaluations.jsonl"),
        space.identity(),
        JsonLines(folder / "search_log.jsonl"),
    )
    loop.run(budget)
    return loop


def values(objectives: Sequence[Objective], architectures: Sequence[Architecture]) -> np.ndarray:
    return np.array([objective.evaluate(architectures) for objective in objectives]).T


@pytest.mark.parametrize("seed", range(4))
def test_it_beats_random_search_with_the_same_budget(mobile: MobileNetV3, seed: int, tmp_path: Path) -> None:
    """By what it finds between the smallest and the largest network, which both are given."""
    objectives = [toy_error(mobile), toy_latency(mobile)]
    budget = 240
    rng = np.random.default_rng(seed)
    sizes_N = rng.random((budget - 2, 1))  # of every size, as NSGA-II's own first population
    at_random = mobile.architectures(mobile.canonicalize(rng.binomial(2, sizes_N, size=(budget - 2, 45))))
    random_NM = values(objectives, [mobile.smallest(), mobile.largest(), *at_random])
    loop = SearchLoop(
        mobile,
        objectives,
        make(mobile, objectives, seed, population_size=30),
        JsonLines(tmp_path / "evaluations.jsonl"),
        {},
        JsonLines(tmp_path / "search_log.jsonl"),
    )
    front = loop.run(budget)
    assert len(loop.evaluations) == budget
    reference = values(objectives, [mobile.smallest(), mobile.largest()]).max(axis=0).tolist()
    assert front.hypervolume(reference) > 1.02 * hypervolume(random_NM, reference)


def test_its_first_population_holds_both_ends_and_every_size(mobile: MobileNetV3) -> None:
    """Uniform choices would all cost about the same: here a third of them are nearer to an end than to the middle."""
    first = [one.architecture for one in make(mobile, [macs(mobile)], population_size=60).ask()]
    assert first[:2] == [mobile.smallest(), mobile.largest()]
    cost = np.array(macs(mobile).evaluate(first))
    share_N = (cost - cost.min()) / (cost.max() - cost.min())
    assert ((share_N < 0.25) | (share_N > 0.75)).mean() > 0.25
    uniform = np.array(macs(mobile).evaluate([mobile.sample(np.random.default_rng(seed)) for seed in range(100)]))
    assert uniform.std() < cost.std() / 2


def test_a_population_is_of_the_size_asked_for(mobile: MobileNetV3) -> None:
    objectives = toy_objectives(mobile, 2)
    rounds = converse(make(mobile, objectives, population_size=24), objectives, rounds=4)
    assert [len(asked) for asked in rounds] == [24] * 4
    for asked in rounds:
        assert len({one.architecture for one in asked}) == 24


def test_the_fittest_survive(mobile: MobileNetV3) -> None:
    """Told that small is bad, its later offspring are larger; told the contrary, smaller."""
    size = macs(mobile)
    found = []
    for sign in (1.0, -1.0):
        objective = Objective(
            "size", "x", lambda architectures, sign=sign: [sign * v for v in size.evaluate(architectures)]
        )
        rounds = converse(make(mobile, [objective], population_size=20), [objective], rounds=12)
        found.append(np.median(size.evaluate([one.architecture for one in rounds[-1]])))
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    low, high = ((value - smallest) / (largest - smallest) for value in found)
    assert low < 0.2
    assert high > 0.8


@pytest.mark.parametrize("cheap", [True, False])
def test_tight_bounds_are_respected_in_the_end(mobile: MobileNetV3, cheap: bool, tmp_path: Path) -> None:
    """Most of what it asks for at last meets a bound that few random architectures meet."""
    size = macs(mobile)
    smallest, largest = size.evaluate([mobile.smallest(), mobile.largest()])
    bound = smallest + 0.1 * (largest - smallest)
    if not cheap:
        size = Objective("macs", "MACs", size.evaluate)
    objectives = [toy_error(mobile), size.bounded(bound)]
    loop = searched(mobile, objectives, tmp_path, 240, population_size=24)
    front = pareto_front(list(loop.evaluations.values()), objectives)
    assert len(front) >= 5
    assert all(one.values["macs"] <= bound for one in front)
    late = [one.values["macs"] <= bound for one in list(loop.evaluations.values())[-48:]]
    assert np.mean(late) > 0.5


def test_a_bound_at_the_minimum_leaves_the_one_that_meets_it(mobile: MobileNetV3, tmp_path: Path) -> None:
    smallest = macs(mobile).evaluate([mobile.smallest()])[0]
    objectives = [toy_error(mobile), macs(mobile).bounded(smallest)]
    loop = searched(mobile, objectives, tmp_path, 60, population_size=12)
    front = pareto_front(list(loop.evaluations.values()), objectives)
    assert [one.architecture for one in front] == [mobile.smallest()]


def test_some_of_the_first_population_meet_the_bounds(mobile: MobileNetV3) -> None:
    latency = toy_latency(mobile)
    samples = latency.evaluate(mobile.architectures(mobile.sample_choices(500, rng=np.random.default_rng(0))))
    bound = min(samples) * 0.8
    first = make(mobile, [toy_error(mobile), latency.bounded(bound)], population_size=10).ask()
    assert min(latency.evaluate([one.architecture for one in first])) <= bound


def test_a_bound_that_nothing_meets_is_an_error(mobile: MobileNetV3) -> None:
    with pytest.raises(InfeasibleError, match="macs <= 10 MACs"):
        make(mobile, [macs(mobile).bounded(10.0)]).ask()


def test_where_nothing_meets_an_expensive_bound_it_goes_on(tmp_path: Path) -> None:
    """That is not known before the last evaluation."""
    space = ToySpace()
    loop = searched(space, [toy_error(space).bounded(0.001), macs(space)], tmp_path, 50, population_size=8)
    assert len(loop.evaluations) == 50
    assert len(pareto_front(list(loop.evaluations.values()), loop.objectives)) == 0


def test_failures_survive_nowhere(mobile: MobileNetV3) -> None:
    """Half of the space fails: soon few are asked for that do."""

    def fails(_round: int, architecture: Architecture) -> bool:
        return architecture.choices[0] != 1

    objectives = toy_objectives(mobile, 2)
    rounds = converse(make(mobile, objectives, population_size=20), objectives, rounds=15, fails=fails)
    shares = [np.mean([fails(0, one.architecture) for one in asked]) for asked in (rounds[0], rounds[-1])]
    assert shares[1] < min(0.35, shares[0])


class Frozen(ToySpace):
    """A space in which some variables have one option only."""

    name = "frozen"

    @property
    def variables(self) -> tuple[Variable, ...]:
        first, *rest = super().variables
        return (first, *(Variable(one.name, one.options[: 1 + index % 2]) for index, one in enumerate(rest)))


class Pair(ToySpace):
    """A space of two architectures."""

    name = "pair"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(
            Variable(one.name, one.options[: 2 if index == 1 else 1]) for index, one in enumerate(super().variables)
        )


@pytest.mark.parametrize(("space", "size"), [(Frozen(), 2 + 4 + 8), (Pair(), 2), (ToySpace(), 84)])
@pytest.mark.parametrize("population_size", [4, 10, 200])
@pytest.mark.parametrize("count", [1, 2])
def test_tiny_spaces_are_searched_to_their_end(
    space: ToySpace, size: int, population_size: int, count: int, tmp_path: Path
) -> None:
    """With fewer offspring than wanted, or none, and populations larger than the space."""
    objectives = toy_objectives(space, count)
    loop = searched(space, objectives, tmp_path, 1000, population_size=population_size)
    assert len(loop.evaluations) <= size
    if population_size >= size:
        assert len(loop.evaluations) == size
    everything = [
        Evaluation(Candidate(one), {o.name: o.evaluate([one])[0] for o in objectives}) for one in space.everything()
    ]
    best = pareto_front(everything, objectives)
    assert pareto_front(list(loop.evaluations.values()), objectives).values_NM.tolist() == best.values_NM.tolist()


@pytest.mark.parametrize(
    "options", [{"crossover_rate": 0.0, "mutation_rate": 0.0}, {"crossover_rate": 1, "mutation_rate": 1}]
)
def test_rates_may_be_extreme(mobile: MobileNetV3, options: dict[str, float]) -> None:
    objectives = toy_objectives(mobile, 2)
    rounds = converse(make(mobile, objectives, population_size=8, **options), objectives)
    asked = {one.architecture for asked in rounds for one in asked}
    if options["mutation_rate"] == 0:
        assert len(rounds[1]) == 0  # nothing new can come of copies
    else:
        assert len(asked) == 8 * len(rounds)


def test_crossover_alone_mixes_what_there_is(mobile: MobileNetV3) -> None:
    objectives = toy_objectives(mobile, 2)
    first, second = converse(
        make(mobile, objectives, population_size=8, crossover_rate=1, mutation_rate=0), objectives, rounds=2
    )
    parents_NV, children_NV = (choices_of([one.architecture for one in asked]) for asked in (first, second))
    for variable in range(parents_NV.shape[1]):
        assert set(children_NV[:, variable]) <= {0, *parents_NV[:, variable]}  # 0 where the block is gone


@pytest.mark.parametrize("population_size", [3, 0, -1, 2.5, 10.0])
def test_a_population_too_small_to_mate_is_refused(mobile: MobileNetV3, population_size: float) -> None:
    with pytest.raises(SettingsError, match="population_size of nsga2 must be a whole number from 4 to"):
        make(mobile, [macs(mobile)], population_size=population_size)


@pytest.mark.parametrize("name", ["crossover_rate", "mutation_rate"])
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_chance_is_refused(mobile: MobileNetV3, name: str, rate: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} of nsga2 must be from 0 to 1"):
        make(mobile, [macs(mobile)], **{name: rate})


@pytest.mark.slow
def test_hundreds_of_generations_do_not_wear_it_out() -> None:
    """Each finds something new, after thousands of evaluations."""
    space = MobileNetV3((1, 8, 8), 10, width_mult=0.25)
    objectives = [parameters(space)]
    rounds = converse(make(space, objectives, population_size=4), objectives, rounds=1100)
    assert len(rounds) == 1100
    assert all(rounds)
