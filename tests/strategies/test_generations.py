"""Generations: who mates with whom is what survival says, and a state takes up where another stood."""

import numpy as np
import pytest

from hwnas.spaces import MobileNetV3
from hwnas.strategies.generations import Generations
from hwnas.testing.strategy_contract import converse, toy_objectives


def made(space, *, survive, seed=0):
    return Generations(
        "nsga9",
        space,
        toy_objectives(space, 2),
        rng=np.random.default_rng(seed),
        survive=survive,
        population_size=8,
        crossover_rate=0.0,
        mutation_rate=None,
    )


def last_ones(values_NM, _violations_N, size):
    rows = np.arange(len(values_NM))[-size:]
    return rows, np.zeros(len(rows), dtype=np.int64)


def test_survivors_are_those_that_survival_names(mobile: MobileNetV3) -> None:
    """Of parents and offspring the last are kept here: what was told last."""
    objectives = toy_objectives(mobile, 2)
    generations = made(mobile, survive=last_ones)
    rounds = converse(generations, objectives, rounds=3)
    assert generations.state_dict()["population"] == [list(one.architecture.choices) for one in rounds[-1]]
    assert len(generations.state_dict()["population"]) == 8


def test_parents_win_by_the_places_that_survival_gives(mobile: MobileNetV3) -> None:
    """One of eight who always wins a tournament of two has 1 - (7/8)² of the offspring, which differ little from it."""

    def survive(values_NM, violations_N, size):
        rows, places = last_ones(values_NM, violations_N, size)
        return rows, np.minimum(np.arange(size), 1) + places

    generations = made(mobile, survive=survive)
    converse(generations, toy_objectives(mobile, 2), rounds=1)
    population_PV = np.array(generations.state_dict()["population"])
    children_NV = generations._offspring(4000, 0)
    differences_NP = (children_NV[:, None] != population_PV[None]).sum(axis=2)
    assert (differences_NP.argmin(axis=1) == 0).mean() == pytest.approx(1 - (7 / 8) ** 2, abs=0.03)


@pytest.mark.parametrize("change", [{"places": [0]}, {"population": [[0, 0, 0]], "places": [0]}])
def test_a_state_that_is_none_is_refused(mobile: MobileNetV3, change: dict) -> None:
    objectives = toy_objectives(mobile, 2)
    generations = made(mobile, survive=last_ones)
    converse(generations, objectives, rounds=2)
    state = generations.state_dict() | change
    with pytest.raises((KeyError, ValueError)):
        made(mobile, survive=last_ones).load_state_dict(state)
