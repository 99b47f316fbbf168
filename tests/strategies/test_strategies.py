"""`make_strategy` and `find_strategy`."""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

import hwnas.plugins
import hwnas.strategies
from hwnas.benchmarks import Truth, load_nas_bench_macro
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, choices_of, macs
from hwnas.spaces import Architecture, SearchSpace
from hwnas.strategies import NSGA2, STRATEGIES, SearchStrategy, find_strategy, make_strategy
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import converse

SPACE = ToySpace()
OBJECTIVES = [macs(SPACE)]


class Chance(SearchStrategy):
    """Random search, as a plug-in would write it."""

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], *, rng: np.random.Generator, batch: int = 3
    ) -> None:
        self._space, self._rng, self._batch = space, rng, batch

    def ask(self) -> list[Candidate]:
        return [Candidate(self._space.sample(self._rng)) for _ in range(self._batch)]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "chance", Chance)


def test_the_strategy_named_is_made() -> None:
    assert isinstance(make_strategy("nsga2", SPACE, OBJECTIVES, seed=0), NSGA2)


def test_the_seed_is_all_that_is_random() -> None:
    asked = [[make_strategy("nsga2", SPACE, OBJECTIVES, seed=seed).ask() for _ in range(2)] for seed in (0, 1)]
    assert asked[0][0] == asked[0][1]
    assert asked[0][0] != asked[1][0]


def test_options_reach_it(chance: None) -> None:
    assert len(make_strategy("chance", SPACE, OBJECTIVES, seed=0, options={"batch": 5}).ask()) == 5


def test_a_class_will_do_for_a_name() -> None:
    made = make_strategy(Chance, SPACE, OBJECTIVES, seed=0, options={"batch": 2})
    assert isinstance(made, Chance)
    assert len(made.ask()) == 2
    with pytest.raises(UnknownNameError, match="option of the strategy Chance"):
        make_strategy(Chance, SPACE, OBJECTIVES, seed=0, options={"bacth": 2})


@pytest.mark.parametrize("wrong", [None, 3, ToySpace, NSGA2.ask])
def test_what_is_no_strategy_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="strategy must be a name or a SearchStrategy class"):
        make_strategy(wrong, SPACE, OBJECTIVES, seed=0)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"strategy 'nsag2' does not exist\. Did you mean 'nsga2'"):
        make_strategy("nsag2", SPACE, OBJECTIVES, seed=0)


@pytest.mark.parametrize(("option", "near"), [("population", "population_size"), ("mutation_rat", "mutation_rate")])
def test_an_unknown_option_names_the_nearest(option: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match="option of the strategy nsga2") as caught:
        make_strategy("nsga2", SPACE, OBJECTIVES, seed=0, options={option: 8})
    assert caught.value.nearest == near


@pytest.mark.parametrize("name", ["rng", "space", "objectives"])
def test_what_the_search_gives_is_no_option(name: str) -> None:
    with pytest.raises(UnknownNameError):
        make_strategy("nsga2", SPACE, OBJECTIVES, seed=0, options={name: 1})


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_built_in_ones_need_no_options(name: str) -> None:
    assert make_strategy(name, SPACE, OBJECTIVES, seed=0).ask()


@pytest.mark.parametrize("value", ["8", None, True, [8]])
def test_an_option_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match="population_size of the strategy nsga2 must be a number"):
        make_strategy("nsga2", SPACE, OBJECTIVES, seed=0, options={"population_size": value})


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("second", "hwnas.strategies.nsga2:NSGA2", "hwnas.strategies")
    monkeypatch.setattr(hwnas.plugins, "entry_points", lambda group: [entry] if group == "hwnas.strategies" else [])
    assert find_strategy("second") is NSGA2
    with pytest.raises(UnknownNameError, match="Did you mean 'second'"):
        find_strategy("secnd")


@pytest.fixture(scope="module")
def macro() -> Truth:
    benchmark = load_nas_bench_macro()
    return Truth(benchmark, benchmark.objectives(["error", "macs", "parameters"]))


def share_of_200(name: str, truth: Truth, seed: int) -> float:
    """The share of the true hypervolume that 200 evaluations find."""
    strategy = make_strategy(name, truth.benchmark.space, truth.objectives, seed=seed)
    found: list[Architecture] = []
    while len(found) < 200:
        found += [one.architecture for one in converse(strategy, truth.objectives, rounds=1)[0]]
    return truth.share(choices_of(found[:200]))


@pytest.mark.parametrize("name", ["local_search", "regularized_evolution", "nsga2", "nsga3"])
def test_it_beats_random_search_on_a_published_table(name: str, macro: Truth) -> None:
    """With each of three seeds, and by a good deal."""
    gains = [share_of_200(name, macro, seed) / share_of_200("random", macro, seed) for seed in range(3)]
    assert min(gains) > 1
    assert np.mean(gains) > 1.04
