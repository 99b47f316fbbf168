"""NASH, and what is particular to it."""

import json

import numpy as np
import numpy.typing as npt
import pytest

from hwnas.benchmarks import load_nas_bench_macro
from hwnas.errors import SettingsError
from hwnas.front import hypervolume
from hwnas.objectives import error, macs, parameters
from hwnas.spaces import ConvNet
from hwnas.strategies import NASH
from hwnas.strategies.nash import scalarized
from hwnas.testing import StrategyContract
from hwnas.testing.strategy_contract import MakeStrategy, converse, toy_error, toy_objectives

SPACE = ConvNet((1, 8, 8), 10)
EVALUATIONS = 100


class TestNASH(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: NASH(space, objectives, rng=rng, children=4)


def test_it_climbs_from_one_network() -> None:
    """With one objective each parent is the best of all that were told before."""
    objectives = [toy_error(SPACE)]
    first, *steps = converse(
        NASH(SPACE, objectives, rng=np.random.default_rng(0), children=4, morphisms=1), objectives, rounds=8
    )
    assert [one.architecture for one in first] == [SPACE.smallest()]
    told = [first[0].architecture]
    for asked in steps:
        best = min(objectives[0].evaluate(told))
        assert len(asked) == 4
        assert {objectives[0].evaluate([one.parent])[0] for one in asked} == {best}
        assert all(one.architecture in SPACE.neighbors(one.parent) for one in asked)
        assert not set(told) & {one.architecture for one in asked}
        told += [one.architecture for one in asked]
    assert best < objectives[0].evaluate([SPACE.smallest()])[0]


def test_with_several_objectives_it_climbs_from_several_networks() -> None:
    objectives = [toy_error(SPACE), parameters(SPACE)]
    _, *steps = converse(NASH(SPACE, objectives, rng=np.random.default_rng(0)), objectives, rounds=20)
    assert len({asked[0].parent for asked in steps}) > 5


def test_weights_choose_the_end_of_the_front() -> None:
    values_NM = np.array([[0.0, 9.0], [4.0, 4.0], [9.0, 0.0], [9.0, 9.0], [np.nan, np.nan]])
    for weights, best in (([1.0, 0.0], 0), ([0.5, 0.5], 1), ([0.0, 1.0], 2)):
        scalars_N = scalarized(values_NM, np.array(weights))
        assert scalars_N.argmin() == best
        assert scalars_N[4] == np.inf
        assert scalars_N[3] > scalars_N.min()


def test_all_that_is_asked_for_meets_the_bounds_of_cheap_objectives() -> None:
    bound = 3 * parameters(SPACE).evaluate([SPACE.smallest()])[0]
    objectives = [toy_error(SPACE), parameters(SPACE).bounded(bound)]
    rounds = converse(NASH(SPACE, objectives, rng=np.random.default_rng(0)), objectives, rounds=8)
    assert max(parameters(SPACE).evaluate([one.architecture for asked in rounds for one in asked])) <= bound


def test_its_state_is_json_and_goes_on() -> None:
    objectives = toy_objectives(SPACE, 3)
    strategy, other = (NASH(SPACE, objectives, rng=np.random.default_rng(seed)) for seed in (0, 1))
    converse(strategy, objectives, rounds=3)
    other.load_state_dict(json.loads(json.dumps(strategy.state_dict())))
    assert converse(other, objectives, rounds=3) == converse(strategy, objectives, rounds=3)


def test_children_grow_by_up_to_so_many_morphisms() -> None:
    """Long steps come as well as short ones, and each keeps the function of the parent."""
    objectives = [toy_error(SPACE)]
    rounds = converse(
        NASH(SPACE, objectives, rng=np.random.default_rng(0), children=4, morphisms=4), objectives, rounds=10
    )
    children = [one for asked in rounds[1:] for one in asked]
    apart = {int(np.not_equal(one.architecture.choices, one.parent.choices).sum()) for one in children}
    assert apart == {1, 2, 3, 4}
    assert all(SPACE.keeps_function(one.parent, one.architecture) for one in children)
    assert len({one.architecture for one in children}) == len(children)


def test_it_climbs_from_the_smallest_to_large_networks() -> None:
    """In a hundred evaluations of error against size, though each step only looks at a few children."""
    objectives = [toy_error(SPACE), parameters(SPACE)]
    rounds = converse(NASH(SPACE, objectives, rng=np.random.default_rng(0)), objectives, rounds=50)
    sizes = parameters(SPACE).evaluate([one.architecture for asked in rounds for one in asked])
    assert max(sizes) > 0.5 * parameters(SPACE).evaluate([SPACE.largest()])[0]


def test_a_hyperparameter_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match="children of nash must be a whole number from 1 to 100000, but 0 came"):
        NASH(SPACE, [macs(SPACE)], rng=np.random.default_rng(0), children=0)


def volumes(strategy: type | None) -> npt.NDArray[np.float64]:
    """Hypervolumes of five seeds on nas_bench_macro, each objective scaled to [0, 1]; None: random architectures."""
    table = load_nas_bench_macro()
    space = table.space
    objectives = [error(lambda found: table.values("error", found).tolist()), macs(space), parameters(space)]
    values_NM = np.column_stack([table.records[one.name] for one in objectives])
    scaled_NM = (values_NM - values_NM.min(axis=0)) / np.ptp(values_NM, axis=0)
    positions = {tuple(choices): position for position, choices in enumerate(table.choices_NV.tolist())}
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        if strategy is None:
            rows = rng.permutation(len(values_NM))[:EVALUATIONS]
        else:
            rounds = converse(strategy(space, objectives, rng=rng), objectives, rounds=EVALUATIONS // 4)
            asked = dict.fromkeys(one.architecture.choices for asked in rounds for one in asked)
            rows = np.array([positions[choices] for choices in asked])[:EVALUATIONS]
        found.append(hypervolume(scaled_NM[rows], [1.0] * len(objectives)))
    return np.array(found)


def test_it_finds_more_than_chance() -> None:
    """The published table of nas_bench_macro."""
    assert (volumes(NASH) > volumes(None)).all()
