"""LEMONADE, and what is particular to it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.front import Evaluation
from hwnas.objectives import macs, parameters
from hwnas.spaces import ConvNet
from hwnas.strategies import LEMONADE
from hwnas.strategies.lemonade import density
from hwnas.testing import StrategyContract, ToySpace
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives

SPACE = ConvNet((1, 8, 8), 10)


class TestLEMONADE(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: LEMONADE(
            space, objectives, rng=rng, first_networks=4, proposals=20, children=4
        )


def generations(count: int, seed: int = 0) -> list[list]:
    objectives = [toy_error(SPACE), parameters(SPACE)]
    return converse(LEMONADE(SPACE, objectives, rng=np.random.default_rng(seed)), objectives, rounds=count)


def test_it_begins_with_small_networks_of_no_parent() -> None:
    first, *_ = generations(1)
    count = parameters(SPACE)
    sizes = count.evaluate([one.architecture for one in first])
    assert len(first) == 8
    assert first[0].architecture == SPACE.smallest()
    assert all(one.parent is None for one in first)
    assert np.median(sizes) < 0.3 * count.evaluate([SPACE.largest()])[0]


def test_children_are_one_step_from_a_parent_that_was_told() -> None:
    told: set[object] = set()
    for number, asked in enumerate(generations(5)):
        if number:
            assert len(asked) == 10
            assert all(one.parent in told for one in asked)
            assert all(one.architecture in SPACE.neighbors(one.parent) for one in asked)
        assert not told & {one.architecture for one in asked}
        told |= {one.architecture for one in asked}


def test_half_of_the_steps_keep_the_function() -> None:
    """Though there are far more of either kind, depending on the size of the parent."""
    children = [one for asked in generations(12)[1:] for one in asked]
    kept = np.mean([SPACE.keeps_function(one.parent, one.architecture) for one in children])
    assert 0.3 < kept < 0.7


def test_a_parent_that_failed_is_no_parent() -> None:
    objectives = toy_objectives(SPACE, 2)
    strategy = LEMONADE(SPACE, objectives, rng=np.random.default_rng(0))
    strategy.tell([Evaluation(one, failure="it failed") for one in strategy.ask()])
    asked = strategy.ask()
    assert asked
    assert all(one.parent is None for one in asked)


def test_children_are_drawn_where_the_front_is_thin() -> None:
    """Of a front with a gap in the cheap objective, those that fall into it are asked for more often than by chance."""
    points_PM = np.array([[0.0], [0.1], [0.2], [0.3], [3.0]])
    at_NM = np.array([[0.15], [3.0], [100.0]])
    crowded, lonely, far = density(points_PM, at_NM)
    assert crowded > 2 * lonely
    assert far == pytest.approx(0.02)  # no chance is above fifty times another's


def test_objectives_without_values_for_some_are_left_out() -> None:
    """As of a table where some architectures were not recorded."""
    space = ToySpace()
    known = macs(space)
    gappy = replace(
        known,
        operator_costs=None,
        score=lambda choices_NV: np.where(
            choices_NV[:, 0] == 1, np.nan, space.total_costs(choices_NV, [known.operator_costs])[0]
        ),
    )
    objectives = [toy_error(space), gappy]
    rounds = converse(LEMONADE(space, objectives, rng=np.random.default_rng(0)), objectives, rounds=3)
    assert all(one.architecture.choices[0] != 1 for asked in rounds for one in asked)


def test_bounds_that_nothing_meets_are_refused() -> None:
    objectives = [toy_error(SPACE), parameters(SPACE).bounded(10.0)]
    with pytest.raises(InfeasibleError, match="parameters"):
        LEMONADE(SPACE, objectives, rng=np.random.default_rng(0)).ask()


def test_all_that_is_asked_for_meets_the_bounds_of_cheap_objectives() -> None:
    bound = 3 * parameters(SPACE).evaluate([SPACE.smallest()])[0]
    objectives = [toy_error(SPACE), parameters(SPACE).bounded(bound)]
    rounds = converse(LEMONADE(SPACE, objectives, rng=np.random.default_rng(0)), objectives, rounds=5)
    asked = [one.architecture for asked in rounds for one in asked]
    assert len(asked) > 20
    assert max(parameters(SPACE).evaluate(asked)) <= bound


def test_its_state_is_json_and_goes_on() -> None:
    objectives = toy_objectives(SPACE, 3)
    strategy, other = (LEMONADE(SPACE, objectives, rng=np.random.default_rng(seed)) for seed in (0, 1))
    converse(strategy, objectives, rounds=3)
    other.load_state_dict(json.loads(json.dumps(strategy.state_dict())))
    assert converse(other, objectives, rounds=3) == converse(strategy, objectives, rounds=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"children": 0}, "children of lemonade must be a whole number from 1 to 100000, but 0 came"),
        ({"first_networks": 2.5}, "first_networks of lemonade must be a whole number from 1 to 100000, but 2.5 came"),
        (
            {"children": 20, "proposals": 10},
            "proposals of lemonade must be a whole number from 20 to 100000, but 10 came",
        ),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused(options: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        LEMONADE(SPACE, [macs(SPACE)], rng=np.random.default_rng(0), **options)


def test_it_finds_more_than_chance() -> None:
    """The published table of nas_bench_macro, see test_nash."""
    from .test_nash import volumes

    assert (volumes(LEMONADE) > volumes(None)).all()
