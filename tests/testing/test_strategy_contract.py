"""The contract holds for the strategies (tests/strategies) and the simplest one; it fails where a strategy breaks it."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.front import Candidate
from hwnas.spaces import Architecture
from hwnas.strategies import SearchStrategy
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import FAILING, MakeStrategy, converse, recorded, toy_objectives
from hwnas.testing.toy_space import OneArchitecture


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of journal lines need not reach a disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


SPACE = ToySpace()
BROKEN: dict[str, tuple[str, type["Chance"]]] = {}


class Chance(SearchStrategy):
    """Random search."""

    def __init__(self, space, objectives, *, rng):
        self.space, self.objectives, self.rng = space, objectives, rng

    def ask(self):
        return [Candidate(self.space.sample(self.rng)) for _ in range(5)]

    def tell(self, evaluations):
        pass

    def state_dict(self):
        return {"space": self.space.name, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        if state["space"] != self.space.name:
            raise ValueError("the state is of another space")
        self.rng.bit_generator.state = state["rng"]


class TestChance(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: Chance(space, objectives, rng=rng)


def breaks(check: str) -> Callable[[type[Chance]], type[Chance]]:
    def note(strategy: type[Chance]) -> type[Chance]:
        BROKEN[strategy.__name__] = (check, strategy)
        return strategy

    return note


@breaks("test_it_asks_for_members_of_the_space")
class AsksForEncodings(Chance):
    def ask(self):
        return [Candidate(Architecture("toy", (0, 0, 0, 1, 1, 1, 1)))]


@breaks("test_it_asks_for_members_of_the_space")
class AsksForNothing(Chance):
    def ask(self):
        return []


@breaks("test_it_asks_for_something_new")
class AsksForOne(Chance):
    def ask(self):
        return [Candidate(self.space.smallest())]


@breaks("test_told_the_same_it_asks_the_same")
class UsesTheGlobalGenerator(Chance):
    def ask(self):
        return [Candidate(self.space.sample(np.random.default_rng(np.random.randint(9999))))]


@breaks("test_told_the_same_it_asks_the_same")
class HasASeedOfItsOwn(Chance):
    def __init__(self, space, objectives, *, rng):
        super().__init__(space, objectives, rng=np.random.default_rng())


@breaks("test_another_seed_asks_otherwise")
class IgnoresTheGenerator(Chance):
    def __init__(self, space, objectives, *, rng):
        super().__init__(space, objectives, rng=np.random.default_rng(0))


@breaks("test_global_generators_stay_where_they_are")
class MovesTheGlobalGenerator(Chance):
    def ask(self):
        np.random.random()
        return super().ask()


@breaks("test_it_leaves_evaluation_to_others")
class EvaluatesItself(Chance):
    def ask(self):
        candidates = super().ask()
        self.objectives[0].evaluate([one.architecture for one in candidates])
        return candidates


@breaks("test_failed_evaluations_do_not_stop_it")
class TrustsEveryScore(Chance):
    def tell(self, evaluations):
        sum(one.values["error"] for one in evaluations)


@breaks("test_failed_evaluations_do_not_stop_it")
class GivesUp(Chance):
    failed = False

    def ask(self):
        return [] if self.failed else super().ask()

    def tell(self, evaluations):
        self.failed = any(one.failure for one in evaluations)


@breaks("test_it_finds_a_front_of_any_number_of_objectives")
class NeedsTwoObjectives(Chance):
    def tell(self, evaluations):
        [(one.values["error"], one.values["macs"]) for one in evaluations]


@breaks("test_a_killed_search_goes_on_where_it_was")
class RemembersOutsideItself(Chance):
    count = 0

    def ask(self):
        RemembersOutsideItself.count += 1
        self.rng = np.random.default_rng(self.count)
        return super().ask()


@breaks("test_its_state_is_all_that_it_goes_on_from")
class ForgetsItsGenerator(Chance):
    def load_state_dict(self, state):
        pass


@breaks("test_its_state_is_all_that_it_goes_on_from")
class ForgetsWhatItWasTold(Chance):
    told = 0

    def ask(self):
        return super().ask() if self.told < 20 else super().ask()[:2]

    def tell(self, evaluations):
        self.told += len(evaluations)


@breaks("test_its_state_is_all_that_it_goes_on_from")
class KeepsArraysInItsState(Chance):
    def state_dict(self):
        return {**super().state_dict(), "array": np.zeros(2)}


@breaks("test_its_state_is_all_that_it_goes_on_from")
class KeepsWhatIsNoNumber(Chance):
    def state_dict(self):
        return {**super().state_dict(), "best": float("inf")}


@breaks("test_its_state_stays_as_it_was_taken")
class GivesItsStateAway(Chance):
    def __init__(self, space, objectives, *, rng):
        super().__init__(space, objectives, rng=rng)
        self.told = []

    def tell(self, evaluations):
        self.told.append(len(evaluations))

    def state_dict(self):
        return {**super().state_dict(), "told": self.told}


@breaks("test_a_torn_or_foreign_state_is_refused")
class TakesAnyState(Chance):
    def load_state_dict(self, state):
        self.rng.bit_generator.state = state.get("rng", self.rng.bit_generator.state)


@breaks("test_a_torn_or_foreign_state_is_refused")
class TakesStatesOfOtherSpaces(Chance):
    def load_state_dict(self, state):
        self.rng.bit_generator.state = state["rng"]


@breaks("test_an_objective_that_never_differs_beside_others_does_no_harm")
class ScalesByTheExtent(Chance):
    def tell(self, evaluations):
        values = [list(one.values.values()) for one in evaluations]
        assert (np.ptp(values, axis=0) > 0).all()


@breaks("test_cheap_objectives_need_not_be_sums")
class NeedsOperatorCosts(Chance):
    def ask(self):
        assert all(one.operator_costs is not None for one in self.objectives if one.cost == "cheap")
        return super().ask()


@breaks("test_values_missing_for_some_architectures_do_no_harm")
class TrustsThatNoneFails(Chance):
    def tell(self, evaluations):
        assert not [one for one in evaluations if one.failure]


@breaks("test_a_budget_below_its_first_round_is_kept")
class AsksForTheSame(Chance):
    def ask(self):
        return [Candidate(self.space.smallest())] * 5


@breaks("test_the_smallest_spaces_are_searched")
class NeedsNeighbors(Chance):
    def ask(self):
        return [Candidate(self.space.neighbors(one.architecture)[0]) for one in super().ask()]


def run_check(check: str, kind: type[Chance], folder: Path) -> None:
    values: dict[str, Any] = {
        "make": lambda space, objectives, rng: kind(space, objectives, rng=rng),
        "space": SPACE,
        "failing": "some",
        "count": 1,
        "bounded": False,
        "killed_after": 17,
        "rounds": 4,
        "missing": "expensive",
        "smallest_space": OneArchitecture(),
        "tmp_path": folder,
    }
    function = getattr(StrategyContract(), check)
    function(**{name: values[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_found_out(name: str, tmp_path: Path) -> None:
    check, kind = BROKEN[name]
    run_check(check, Chance, tmp_path / "sound")
    with pytest.raises((AssertionError, IndexError, KeyError, TypeError, ValueError, pytest.fail.Exception)):
        run_check(check, kind, tmp_path / "broken")


def test_a_recorded_objective_is_cheap_and_lacks_what_it_should() -> None:
    everything = SPACE.everything()
    whole, partial = (recorded(SPACE, "ms", missing=FAILING[missing]) for missing in ("none", "some"))
    assert whole.cost == "cheap"
    assert whole.operator_costs is None
    values_N = np.array(whole.evaluate(everything))
    assert (values_N.min(), values_N.max()) == (1, 2)
    lacks = np.isnan(partial.evaluate(everything))
    assert lacks.tolist() == [sum(one.choices) % 3 == 0 for one in everything]
    assert 0.2 < lacks.mean() < 0.5


def test_a_conversation_ends_where_nothing_is_asked_for() -> None:
    objectives = toy_objectives(SPACE, 1)
    assert converse(AsksForNothing(SPACE, objectives, rng=None), objectives) == [[]]


def test_who_fails_is_told_so() -> None:
    told = []

    class Listens(Chance):
        def tell(self, evaluations):
            told.extend(evaluations)

    objectives = toy_objectives(SPACE, 2)
    listener = Listens(SPACE, objectives, rng=np.random.default_rng(0))
    converse(listener, objectives, rounds=2, fails=FAILING["the first round"])
    assert [one.failure is not None for one in told] == [True] * 5 + [False] * 5
    assert all(set(one.values) == ({"error", "macs"} if one.failure is None else set()) for one in told)


def test_bounds_leave_a_part_of_the_space() -> None:
    for count in (1, 2, 3, 4):
        objectives = toy_objectives(SPACE, count, bounded=True)
        within = [
            all(one.bound is None or one.evaluate([each])[0] <= one.bound for one in objectives)
            for each in SPACE.everything()
        ]
        assert 0 < sum(within) < 0.75 * len(within)
