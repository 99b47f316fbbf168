"""StrategyContract: what every search strategy keeps, as tests that the author of a strategy inherits.

The author of a strategy writes one test class, in the way of optuna's `optuna.testing.pytest_samplers`::

    from hwnas.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        @pytest.fixture
        def make(self):
            return lambda space, objectives, rng: MyStrategy(space, objectives, rng=rng, population_size=8)
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest

from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation, non_dominated
from hwnas.objectives import Objective, choices_of, macs, parameters
from hwnas.spaces import Architecture, IntArray, SearchSpace
from hwnas.strategies import SearchLoop, SearchStrategy
from hwnas.testing.generators import global_states, scramble
from hwnas.testing.toy_space import OneArchitecture, OneVariable, ToySpace

__all__ = [
    "Killed",
    "MakeStrategy",
    "StrategyContract",
    "converse",
    "recorded",
    "toy_error",
    "toy_latency",
    "toy_objectives",
]

MakeStrategy = Callable[[SearchSpace, Sequence[Objective], np.random.Generator], SearchStrategy]
Failing = Callable[[int, Architecture], bool]

ROUNDS: Final = 6
"""Asks and tells of a conversation: enough for a strategy to build on what it was told."""

FAILING: Final[dict[str, Failing]] = {
    "none": lambda _round, _architecture: False,
    "some": lambda _round, architecture: sum(architecture.choices) % 3 == 0,
    "the first round": lambda number, _architecture: number == 0,
    "all": lambda _round, _architecture: True,
}


class Killed(BaseException):
    """Stands for a killed process: nothing catches it."""


class StrategyContract:
    """Tests that every SearchStrategy must pass. Subclass it and override the fixture `make`."""

    @pytest.fixture
    def make(self) -> MakeStrategy:
        """Makes the strategy under test from a space, objectives and a generator."""
        raise NotImplementedError("override the fixture `make` in your subclass of StrategyContract")

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        """The space that is searched: 84 architectures, unless overridden."""
        return ToySpace()

    def test_it_asks_for_members_of_the_space(self, make: MakeStrategy, space: SearchSpace) -> None:
        """At least one in the first round; canonical, and so are the parents that it names."""
        objectives = toy_objectives(space, 2)
        rounds = converse(make(space, objectives, np.random.default_rng(1)), objectives)
        assert rounds[0]
        for candidate in [one for asked in rounds for one in asked]:
            assert isinstance(candidate, Candidate)
            for architecture in (candidate.architecture, candidate.parent):
                assert architecture is None or space.architecture(architecture.choices) == architecture

    def test_it_asks_for_something_new(self, make: MakeStrategy, space: SearchSpace) -> None:
        """Within a few rounds it has asked for more than in the first."""
        objectives = toy_objectives(space, 2)
        rounds = converse(make(space, objectives, np.random.default_rng(1)), objectives)
        assert {one.architecture for one in rounds[0]} < {one.architecture for asked in rounds for one in asked}

    @pytest.mark.parametrize("failing", ["none", "some"])
    def test_told_the_same_it_asks_the_same(self, make: MakeStrategy, space: SearchSpace, failing: str) -> None:
        """It is a function of its generator and of what it is told: that is how a stopped search is gone on with."""
        objectives = toy_objectives(space, 3)
        fails = FAILING[failing]
        scramble(2)
        first = converse(make(space, objectives, np.random.default_rng(2)), objectives, fails=fails)
        scramble(3)
        again = converse(make(space, objectives, np.random.default_rng(2)), objectives, fails=fails)
        assert again == first

    def test_another_seed_asks_otherwise(self, make: MakeStrategy, space: SearchSpace) -> None:
        """Its generator is what it draws from."""
        objectives = toy_objectives(space, 2)
        conversations = [
            converse(make(space, objectives, np.random.default_rng(seed)), objectives) for seed in range(3)
        ]
        assert conversations[0] != conversations[1] != conversations[2]

    def test_global_generators_stay_where_they_are(self, make: MakeStrategy, space: SearchSpace) -> None:
        """Whoever else draws from them would get other numbers because of a search."""
        objectives = toy_objectives(space, 2)
        before = global_states()
        converse(make(space, objectives, np.random.default_rng(4)), objectives)
        assert global_states() == before

    def test_it_leaves_evaluation_to_others(self, make: MakeStrategy, space: SearchSpace) -> None:
        """It never calls an expensive objective: what it knows is what it is told."""
        objectives = toy_objectives(space, 2)
        sealed = [replace(one, evaluate=_refuse) if one.cost == "expensive" else one for one in objectives]
        assert converse(make(space, sealed, np.random.default_rng(5)), objectives)[-1] is not None

    @pytest.mark.parametrize("failing", ["some", "the first round", "all"])
    def test_failed_evaluations_do_not_stop_it(self, make: MakeStrategy, space: SearchSpace, failing: str) -> None:
        """They have no values; it goes on asking."""
        objectives = toy_objectives(space, 2, bounded=True)
        rounds = converse(make(space, objectives, np.random.default_rng(6)), objectives, fails=FAILING[failing])
        assert all(rounds[:2])

    @pytest.mark.parametrize("bounded", [False, True])
    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_it_finds_a_front_of_any_number_of_objectives(
        self, make: MakeStrategy, space: SearchSpace, count: int, bounded: bool, tmp_path: Path
    ) -> None:
        """Nobody on it is dominated, and every bound is met."""
        objectives = toy_objectives(space, count, bounded=bounded)
        front = _loop(make, space, objectives, tmp_path).run(40)
        assert len(front) >= 1
        assert non_dominated(front.values_NM).all()
        for objective in objectives:
            if objective.bound is not None:
                assert all(one.values[objective.name] <= objective.bound for one in front)
        assert count > 1 or len(front) == 1

    def test_objectives_that_never_differ_do_no_harm(
        self, make: MakeStrategy, space: SearchSpace, tmp_path: Path
    ) -> None:
        """Everything is as good as everything else; one is kept."""
        objectives = [Objective("constant", "x", lambda architectures: [1.0 for _ in architectures])]
        assert len(_loop(make, space, objectives, tmp_path).run(30)) == 1

    def test_an_objective_that_never_differs_beside_others_does_no_harm(
        self, make: MakeStrategy, space: SearchSpace, tmp_path: Path
    ) -> None:
        """Cheap or expensive: nothing can be scaled by how far its values reach."""
        cheap = replace(recorded(space, "cheap"), score=lambda choices_NV: np.ones(len(choices_NV)))
        expensive = Objective("expensive", "x", lambda architectures: [1.0 for _ in architectures])
        front = _loop(make, space, [toy_error(space), cheap, expensive], tmp_path).run(40)
        assert len(front) == 1

    @pytest.mark.parametrize("bounded", [False, True])
    def test_cheap_objectives_need_not_be_sums(
        self, make: MakeStrategy, space: SearchSpace, bounded: bool, tmp_path: Path
    ) -> None:
        """A recorded latency is exact, but belongs to no operator."""
        latency = recorded(space, "recorded_ms").bounded(1.5 if bounded else None)
        loop = _loop(make, space, [toy_error(space), latency], tmp_path)
        front = loop.run(40)
        assert len(front) >= 2
        assert not bounded or max(one.values["recorded_ms"] for one in front) <= 1.5

    @pytest.mark.parametrize("missing", ["cheap", "expensive"])
    def test_values_missing_for_some_architectures_do_no_harm(
        self, make: MakeStrategy, space: SearchSpace, missing: str, tmp_path: Path
    ) -> None:
        """A table has no row for a third of them, or their evaluation gives no number: it finds some of the others."""
        partial = recorded(space, "partial", missing=FAILING["some"])
        known = partial if missing == "cheap" else replace(partial, score=None)
        loop = _loop(make, space, [toy_error(space), known], tmp_path)
        front = loop.run(40)
        assert len(front) >= 2
        assert all(np.isfinite(one.values["partial"]) for one in front)
        failed = [one.architecture for one in loop.evaluations.values() if one.failure is not None]
        assert all(FAILING["some"](0, one) for one in failed)

    def test_a_budget_below_its_first_round_is_kept(
        self, make: MakeStrategy, space: SearchSpace, tmp_path: Path
    ) -> None:
        """It knows no budget: the search ends in the middle of what it asked for."""
        loop = _loop(make, space, toy_objectives(space, 2), tmp_path)
        assert len(loop.run(2)) >= 1
        assert len(loop.evaluations) == 2

    @pytest.mark.parametrize("smallest_space", [OneVariable(), OneArchitecture()], ids=lambda space: space.name)
    @pytest.mark.parametrize("count", [1, 3])
    def test_the_smallest_spaces_are_searched(
        self, make: MakeStrategy, smallest_space: ToySpace, count: int, tmp_path: Path
    ) -> None:
        """Of one variable, and of one architecture, with which no variation is possible."""
        objectives = toy_objectives(smallest_space, count)
        loop = _loop(make, smallest_space, objectives, tmp_path)
        assert len(loop.run(20)) >= 1
        assert len(loop.evaluations) <= len(smallest_space.everything())

    @pytest.mark.parametrize("failing", ["none", "some", "all"])
    @pytest.mark.parametrize("rounds", [1, 4])
    def test_its_state_is_all_that_it_goes_on_from(
        self, make: MakeStrategy, space: SearchSpace, rounds: int, failing: str
    ) -> None:
        """Written as JSON and read by one of another seed, which had another conversation before."""
        objectives = toy_objectives(space, 3, bounded=True)
        fails = FAILING[failing]
        strategy, other = (make(space, objectives, np.random.default_rng(seed)) for seed in (8, 9))
        converse(strategy, objectives, rounds=rounds, fails=fails)
        converse(other, objectives, rounds=2)
        state = _as_json(strategy)
        other.load_state_dict(state)
        assert _as_json(other) == state
        expected = converse(strategy, objectives, rounds=5, fails=fails)
        assert converse(other, objectives, rounds=5, fails=fails) == expected
        assert _as_json(other) == _as_json(strategy)

    def test_its_state_stays_as_it_was_taken(self, make: MakeStrategy, space: SearchSpace) -> None:
        """What the strategy does later changes nothing in it."""
        objectives = toy_objectives(space, 2)
        strategy = make(space, objectives, np.random.default_rng(10))
        converse(strategy, objectives, rounds=2)
        state = strategy.state_dict()
        taken = copy.deepcopy(state)
        converse(strategy, objectives, rounds=2)
        assert state == taken

    def test_a_torn_or_foreign_state_is_refused(self, make: MakeStrategy, space: SearchSpace) -> None:
        """With a part missing, with a part that is something else, or of a search of another space."""
        objectives = toy_objectives(space, 2)
        strategy = make(space, objectives, np.random.default_rng(11))
        converse(strategy, objectives, rounds=2)
        state = _as_json(strategy)
        elsewhere = make(OneVariable(), toy_objectives(OneVariable(), 2), np.random.default_rng(11))
        converse(elsewhere, toy_objectives(OneVariable(), 2), rounds=1)
        wrong: list[dict[str, Any]] = [{}, _as_json(elsewhere)]
        wrong += [{key: value for key, value in state.items() if key != missing} for missing in state]
        wrong += [{**state, key: "torn"} for key in state]
        for one in wrong:
            with pytest.raises((KeyError, TypeError, ValueError)):
                make(space, objectives, np.random.default_rng(12)).load_state_dict(one)

    def test_an_exhausted_space_ends_the_search(self, make: MakeStrategy, space: SearchSpace, tmp_path: Path) -> None:
        """There are fewer architectures than evaluations were allowed."""
        objectives = toy_objectives(space, 2)
        loop = _loop(make, space, objectives, tmp_path)
        assert len(loop.run(100_000)) >= 1
        assert len(loop.evaluations) < 100_000

    @pytest.mark.parametrize("killed_after", [0, 1, 17, 29])
    def test_a_killed_search_goes_on_where_it_was(
        self, make: MakeStrategy, space: SearchSpace, killed_after: int, tmp_path: Path
    ) -> None:
        """The same evaluations in the same order, none twice, and the same front as without the kill."""
        unbroken = _loop(make, space, toy_objectives(space, 3), tmp_path / "unbroken")
        expected = unbroken.run(40)
        calls: list[Architecture] = []
        mortal = _mortal(toy_objectives(space, 3), calls, dies_at=killed_after)
        with pytest.raises(Killed):
            _loop(make, space, mortal, tmp_path / "broken").run(40)
        assert len(calls) == killed_after
        resumed = _loop(make, space, _mortal(toy_objectives(space, 3), calls), tmp_path / "broken")
        found = resumed.run(40)
        assert calls == list(unbroken.evaluations)
        assert list(resumed.evaluations) == list(unbroken.evaluations)
        assert [one.values for one in found] == [one.values for one in expected]
        assert [one.architecture for one in found] == [one.architecture for one in expected]


def converse(
    strategy: SearchStrategy,
    objectives: Sequence[Objective],
    *,
    rounds: int = ROUNDS,
    fails: Failing | None = None,
) -> list[list[Candidate]]:
    """Asks and tells `rounds` times, or until nothing is asked for.

    Args:
        strategy: to talk with.
        objectives: what it is told the values of.
        rounds: how often.
        fails: whether the evaluation of an architecture in a round, counted from 0, fails; None: none does.

    Returns:
        What was asked for, a list a round.
    """
    asked = []
    for number in range(rounds):
        candidates = strategy.ask()
        asked.append(candidates)
        if not candidates:
            break
        strategy.tell(
            [
                Evaluation(candidate, failure="it failed")
                if fails is not None and fails(number, candidate.architecture)
                else Evaluation(candidate, _values(objectives, candidate.architecture))
                for candidate in candidates
            ]
        )
    return asked


def toy_error(space: SearchSpace) -> Objective:
    """An expensive objective that falls, with less and less gain, as the choices grow; some choices matter more."""
    weights_V = 0.5 + np.random.default_rng(0).random(len(space.variables))
    span_V = np.maximum(space.num_options_V - 1, 1)

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        return [float(0.9 * np.exp(-3 * np.mean(weights_V * np.array(one.choices) / span_V))) for one in architectures]

    return Objective("error", "fraction", evaluate)


def toy_latency(space: SearchSpace, *, seed: int = 0) -> Objective:
    """A cheap objective with a random cost an operator, as a table of a strange device would have."""
    costs = 0.1 + np.random.default_rng(seed).random(len(space.all_operators()))

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        choices_NV = np.array([one.choices for one in architectures], dtype=np.int64).reshape(len(architectures), -1)
        values: list[float] = space.total_costs(choices_NV, [costs])[0].tolist()
        return values

    return Objective("latency_ms@toy", "ms", evaluate, costs)


def toy_objectives(space: SearchSpace, count: int, *, bounded: bool = False) -> list[Objective]:
    """The first `count` of error, MACs, parameters and latency; `bounded`: with bounds that a part of the space meets."""
    objectives = [toy_error(space), macs(space), parameters(space), toy_latency(space)][:count]
    if not bounded:
        return objectives
    rng = np.random.default_rng(1)
    sampled = [space.smallest(), space.largest(), *(space.sample(rng) for _ in range(200))]
    quartiles = [
        float(np.quantile(one.evaluate(sampled), 0.25 if one.cost == "expensive" else 0.4)) for one in objectives
    ]
    kept = objectives[:1] if count == 1 else objectives[1:]
    return [one.bounded(bound) if one in kept else one for one, bound in zip(objectives, quartiles, strict=True)]


def recorded(space: SearchSpace, name: str, *, missing: Failing = FAILING["none"]) -> Objective:
    """A cheap objective that is no sum over operators, as if it were read from a table: from 1 to 2, NaN where missing.

    Args:
        space: that it is of.
        name: of the objective.
        missing: which architectures the table lacks; its first argument is 0.
    """
    span_V = np.maximum(space.num_options_V - 1, 1)

    def score(choices_NV: IntArray) -> npt.NDArray[np.float64]:
        values_N = 1 + np.sqrt(np.mean(choices_NV / span_V, axis=1))
        lacks = [missing(0, one) for one in space.architectures(choices_NV)]
        return np.where(np.array(lacks, dtype=np.bool_), np.nan, values_N)

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        values: list[float] = score(choices_of(architectures)).tolist()
        return values

    return Objective(name, "ms", evaluate, score=score)


def _as_json(strategy: SearchStrategy) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(json.dumps(strategy.state_dict(), allow_nan=False))
    return state


def _values(objectives: Sequence[Objective], architecture: Architecture) -> Mapping[str, float]:
    return {objective.name: objective.evaluate([architecture])[0] for objective in objectives}


def _loop(make: MakeStrategy, space: SearchSpace, objectives: Sequence[Objective], folder: Path) -> SearchLoop:
    strategy = make(space, objectives, np.random.default_rng(7))
    journal, log = JsonLines(folder / "evaluations.jsonl"), JsonLines(folder / "search_log.jsonl")
    return SearchLoop(space, objectives, strategy, journal, space.identity(), log)


def _mortal(
    objectives: Sequence[Objective], calls: list[Architecture], *, dies_at: int | None = None
) -> list[Objective]:
    """The same objectives, of which the expensive one notes its calls and kills the search at one of them."""

    def watched(objective: Objective) -> Objective:
        def evaluate(architectures: Sequence[Architecture]) -> list[float]:
            if len(calls) == dies_at:
                raise Killed
            calls.extend(architectures)
            return objective.evaluate(architectures)

        return replace(objective, evaluate=evaluate)

    return [watched(one) if one.cost == "expensive" else one for one in objectives]


def _refuse(_architectures: Sequence[Architecture]) -> list[float]:
    raise AssertionError("the strategy evaluated an expensive objective itself")
