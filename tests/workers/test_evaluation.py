"""One evaluation."""

import pickle
import threading
from collections.abc import Sequence

import pytest

from hwnas.errors import SettingsError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import Architecture
from hwnas.workers.evaluation import evaluate_candidate, missing_value, outcome_of, pickled, portable

from .contract import EVERYTHING

CANDIDATE = Candidate(EVERYTHING[3])


def constant(name: str, value: float) -> Objective:
    return Objective(name, "x", lambda architectures: [value for _ in architectures])


def raising(error: BaseException) -> Objective:
    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        raise error

    return Objective("raising", "x", evaluate)


def test_values_are_those_of_the_objectives_in_their_order() -> None:
    found = evaluate_candidate(CANDIDATE, [constant("b", 2), constant("a", 1)])
    assert list(found.values.items()) == [("b", 2.0), ("a", 1.0)]
    assert found.candidate is CANDIDATE


def test_a_failed_one_has_no_values() -> None:
    found = evaluate_candidate(CANDIDATE, [constant("b", 2), raising(ValueError("no"))])
    assert (dict(found.values), found.failure) == ({}, "ValueError: no")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_missing(value: float) -> None:
    assert missing_value({"a": 1.0, "b": value, "c": value}) == f"b is {value}"
    assert missing_value({"a": 1.0}) is None


@pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3), MemoryError(), KeyboardInterrupt()])
def test_what_ends_a_search_is_given_back_with_where_it_was_raised(error: BaseException) -> None:
    outcome = outcome_of(CANDIDATE, [raising(error)])
    assert outcome is error
    again = pickle.loads(pickle.dumps(outcome))
    assert type(again) is type(error)
    assert any("test_evaluation.py" in note for note in again.__notes__)


def test_an_outcome_is_the_evaluation_otherwise() -> None:
    outcome = outcome_of(CANDIDATE, [constant("a", 1)])
    assert isinstance(outcome, Evaluation)
    assert outcome.values == {"a": 1.0}


def test_an_error_that_holds_what_cannot_be_sent_becomes_its_text() -> None:
    error = LookupError("a lock", threading.Lock())
    assert type(portable(error)) is RuntimeError
    assert str(portable(error)).startswith("LookupError: ('a lock'")


def test_objectives_that_cannot_be_sent_are_refused() -> None:
    lock = threading.Lock()
    locked = Objective("a", "x", lambda architectures: [float(lock.locked()) for _ in architectures])
    with pytest.raises(SettingsError, match=r"must be such that other processes can be sent them.*lock.*workers = 1"):
        pickled([locked])


def test_objectives_are_sent_with_their_code() -> None:
    (objective,) = pickle.loads(pickled([constant("a", 4)]))
    assert objective.evaluate(EVERYTHING[:2]) == [4, 4]
