"""A chain's one description, against a walk written by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hwnas.layers import Fixed
from hwnas.spaces import Architecture, Chain, ChainSuperNet, Operator, Slot, Variable
from hwnas.spaces.chain import option_product


def operator(name: str) -> Operator:
    return Operator(name, (1, 1, 1), {})


A, B, C, D = (operator(name) for name in "abcd")
# a depth that switches the third slot on at its second choice and the fourth at its third; one variable is read by the
# third and the fourth slot, one by the second and the fourth, one by none
VARIABLES = (
    Variable("depth", (1, 2, 3)),
    Variable("early", ("b", "c")),
    Variable("late", ("a", "b", "d")),
    Variable("unread", (0, 1)),
)
SLOTS = (
    Slot((A,)),
    Slot((B, C), (1,)),
    Slot((A, B, D), (2,), 0, 1),
    Slot(tuple(operator(f"{first}{last}") for first in "bc" for last in "abd"), (1, 2), 0, 2),
    Slot((D,), (), 0, 0),
)
CHAIN = Chain(VARIABLES, SLOTS)
ENCODINGS = np.array(list(itertools.product(*(range(len(variable.options)) for variable in VARIABLES))))


def by_hand(choices: tuple[int, ...]) -> list[str]:
    depth, early, late, _ = choices
    walk = ["a", "bc"[early]]
    if depth >= 1:
        walk.append("abd"[late])
    if depth >= 2:
        walk.append("bc"[early] + "abd"[late])
    return [*walk, "d"]


def test_operators_are_the_walk_by_hand() -> None:
    for choices in map(tuple, ENCODINGS.tolist()):
        assert [one.kind for one in CHAIN.operators(Architecture("s", choices))] == by_hand(choices)


def test_operators_are_listed_once_in_the_order_of_the_slots() -> None:
    assert [one.kind for one in CHAIN.all_operators] == ["a", "b", "c", "d", "ba", "bb", "bd", "ca", "cb", "cd"]


def test_indices_keep_a_column_for_each_slot() -> None:
    every = [one.kind for one in CHAIN.all_operators] + [None]
    indices_NL = CHAIN.operator_indices(ENCODINGS)
    assert indices_NL.shape == (len(ENCODINGS), len(SLOTS))
    for row_L, choices in zip(indices_NL, map(tuple, ENCODINGS.tolist()), strict=True):
        depth = choices[0]
        found = [every[index] for index in row_L]
        assert [kind for kind in found if kind is not None] == by_hand(choices)
        assert (found[2] is None, found[3] is None) == (depth < 1, depth < 2)


@pytest.mark.parametrize("chunk", [1, 7, 8192])
def test_costs_are_summed_alike_in_any_chunk(chunk: int) -> None:
    costs = [np.random.default_rng(seed).random(len(CHAIN.all_operators)) for seed in (1, 2)]
    position = {one.kind: index for index, one in enumerate(CHAIN.all_operators)}
    totals = CHAIN.total_costs(ENCODINGS, costs, chunk=chunk)
    for total_N, cost in zip(totals, costs, strict=True):
        expected = [sum(cost[position[kind]] for kind in by_hand(tuple(row))) for row in ENCODINGS.tolist()]
        np.testing.assert_allclose(total_N, expected, rtol=1e-14)


def test_no_architectures_cost_nothing() -> None:
    assert [total.shape for total in CHAIN.total_costs(ENCODINGS[:0], [np.ones(10)])] == [(0,)]


def test_variables_that_nothing_reads_become_zero() -> None:
    """A depth stays; a variable is kept while any running slot reads it."""
    canonical = {tuple(row): tuple(CHAIN.canonicalize(np.array([row]))[0].tolist()) for row in ENCODINGS.tolist()}
    for (depth, early, late, _), found in canonical.items():
        assert found == (depth, early, late if depth >= 1 else 0, 0)


def test_canonical_encodings_are_one_a_network() -> None:
    canonical_NV = CHAIN.canonicalize(ENCODINGS)
    networks = {tuple(by_hand(choices)) for choices in map(tuple, ENCODINGS.tolist())}
    assert len({tuple(row) for row in canonical_NV.tolist()}) == len(networks) == 2 + 6 + 6


@pytest.mark.parametrize("options", [254, 255, 256, 300])
def test_many_options_do_not_overflow(options: int) -> None:
    """Combinations are counted in a narrow type where they fit."""
    many = tuple(operator(str(index)) for index in range(options))
    chain = Chain((Variable("depth", (0, 1)), Variable("v", tuple(range(options)))), (Slot(many, (1,), 0, 1),))
    choices_NV = np.array([[1, index] for index in range(options)] + [[0, 0]])
    assert chain.operator_indices(choices_NV)[:, 0].tolist() == [*range(options), options]


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_last_variable_is_the_fastest(sizes: list[int]) -> None:
    """The order of `option_product` is the order in which `combinations` counts."""
    variables = [Variable(str(index), tuple(range(size))) for index, size in enumerate(sizes)]
    products = option_product(variables)
    slot = Slot(tuple(operator(str(product)) for product in products), tuple(range(len(sizes))))
    chain = Chain(variables, (slot,))
    for product in products:
        assert chain.operators(Architecture("s", tuple(int(value) for value in product)))[0].kind == str(product)


class Add(nn.Module):
    """Adds a number, so that a path shows in its output."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 + self.number


def test_the_supernet_runs_the_slots_that_run() -> None:
    numbers = {slot: float(index) for index, slot in enumerate(SLOTS)}
    supernet = ChainSuperNet(CHAIN, lambda slot: Fixed(Add(numbers[slot])), lambda modules: nn.Sequential(*modules))
    x = torch.ones(1)
    for depth, numbered in ((0, [0, 1, 4]), (2, [0, 1, 2, 3, 4]), (1, [0, 1, 2, 4])):
        architecture = Architecture("s", (depth, 0, 0, 0))
        expected = x
        for number in numbered:
            expected = expected * 2 + number
        supernet.activate(architecture)
        assert torch.equal(supernet(x), expected)
        assert torch.equal(supernet.subnet(architecture)(x), expected)


def test_a_layer_that_is_not_elastic_is_refused() -> None:
    supernet = ChainSuperNet(CHAIN, lambda slot: nn.Identity(), lambda modules: nn.Sequential(*modules))
    with pytest.raises(TypeError, match="slot 0 must have activate and extract"):
        supernet.activate(Architecture("s", (0, 0, 0, 0)))
