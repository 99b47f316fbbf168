"""Foresight: cheap objectives exactly, expensive ones predicted, and the corner that a front is improved up to."""

import numpy as np
import pytest

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, choices_of, macs
from hwnas.strategies.foresight import Foresight
from hwnas.strategies.history import History
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import toy_error


@pytest.fixture(scope="module")
def space() -> ToySpace:
    return ToySpace()


def told(objectives, rows):
    history = History(objectives)
    space = ToySpace()
    architectures = space.architectures(space.sample_choices(200, rng=np.random.default_rng(0)))
    distinct = list(dict.fromkeys(architectures))
    for architecture, values in zip(distinct, rows, strict=False):
        found = {} if values is None else dict(zip([o.name for o in objectives], values, strict=True))
        history.add([Evaluation(Candidate(architecture), found, failure="it failed" if values is None else None)])
    return history


def plain(name, bound=None):
    return Objective(name, "x", lambda architectures: [0.0 for _ in architectures], bound=bound)


def searched(space, objectives, count):
    architectures = list(dict.fromkeys(space.architectures(space.sample_choices(300, rng=np.random.default_rng(1)))))
    history = History(objectives)
    rows = [[one.evaluate([architecture])[0] for one in objectives] for architecture in architectures[:count]]
    for architecture, row in zip(architectures[:count], rows, strict=True):
        history.add([Evaluation(Candidate(architecture), dict(zip([o.name for o in objectives], row, strict=True)))])
    return history, architectures[count:]


def test_cheap_objectives_are_exact_and_expensive_ones_are_foretold(space: ToySpace) -> None:
    objectives = [toy_error(space), macs(space)]
    history, others = searched(space, objectives, 30)
    foresight = Foresight(space, objectives)
    foresight.fit(history, anew=True)
    values_NM, spread_NM = foresight.expected(choices_of(others))
    true_NM = np.array([one.evaluate(others) for one in objectives]).T
    assert (values_NM[:, 1] == true_NM[:, 1]).all()
    assert (spread_NM[:, 1] == 0).all()
    assert (spread_NM[:, 0] > 0).all()
    assert np.corrcoef(values_NM[:, 0], true_NM[:, 0])[0, 1] > 0.9


def test_what_it_learned_further_is_near_what_a_new_fit_says(space: ToySpace) -> None:
    objectives = [toy_error(space)]
    history, others = searched(space, objectives, 40)
    first, _ = searched(space, objectives, 30)
    updated, anew = Foresight(space, objectives), Foresight(space, objectives)
    updated.fit(first, anew=True)
    updated.fit(history, anew=False)
    anew.fit(history, anew=True)
    near, far = (one.expected(choices_of(others))[0][:, 0] for one in (updated, anew))
    assert np.abs(near - far).max() < 0.05
    known = updated.expected(history.choices_NV)[0][:, 0]
    assert np.abs(known - history.values_NM[:, 0]).max() < 0.03


def test_values_below_zero_can_be_foretold(space: ToySpace) -> None:
    error = toy_error(space)
    lowered = Objective("score", "x", lambda architectures: [value - 1 for value in error.evaluate(architectures)])
    history, others = searched(space, [lowered], 40)
    foresight = Foresight(space, [lowered])
    foresight.fit(history, anew=True)
    values_N = foresight.expected(choices_of(others))[0][:, 0]
    assert np.corrcoef(values_N, lowered.evaluate(others))[0, 1] > 0.9
    assert values_N.max() < 0


def test_failed_evaluations_count_as_bad(space: ToySpace) -> None:
    """Of networks alike but for whether their like failed, those are expected to be worse."""
    objectives = [toy_error(space)]
    history, _ = searched(space, objectives, 30)
    failing = History(objectives)
    largest = choices_of([space.largest()])
    order = np.argsort(((history.choices_NV - largest) ** 2).sum(axis=1))
    for place, architecture in enumerate(space.architectures(history.choices_NV)):
        bad = place in order[:5]
        values = {} if bad else {"error": float(history.values_NM[place, 0])}
        failing.add([Evaluation(Candidate(architecture), values, failure="it failed" if bad else None)])
    expected = []
    for told_it in (history, failing):
        foresight = Foresight(space, objectives)
        foresight.fit(told_it, anew=True)
        expected.append(foresight.expected(largest)[0][0, 0])
    assert expected[1] > expected[0]
