"""A chain's one description, against a walk written by hand."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hwnas.errors import SpaceError
from hwnas.layers import ElasticConvBNAct, Fixed
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


# a choice between a skip and two operators, a choice of two, and a depth
MIXED_VARIABLES = (Variable("which", ("skip", "b", "c")), Variable("other", ("a", "d")), Variable("depth", (0, 1)))
MIXED = Chain(MIXED_VARIABLES, (Slot((None, B, C), (0,)), Slot((A, D), (1,), 2, 1), Slot((A,))))


class Scale(nn.Module):
    """Elastic: multiplies by the number of the active kind."""

    numbers: ClassVar = {"a": 2.0, "b": 3.0, "c": 5.0, "d": 7.0}

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.kinds = [one.kind for one in slot.operators if one is not None]

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        self.kind = str(attributes["kind"])

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.kind in self.kinds
        return x * self.numbers[self.kind]


@pytest.fixture
def mixable() -> ChainSuperNet:
    kinds = [
        dataclasses.replace(
            slot,
            operators=tuple(
                None if one is None else Operator(one.kind, one.input_shape, {"kind": one.kind})
                for one in slot.operators
            ),
        )
        for slot in MIXED.slots
    ]
    return ChainSuperNet(Chain(MIXED_VARIABLES, kinds), Scale, lambda modules: nn.Sequential(*modules))


def test_nothing_runs_where_the_operator_is_none() -> None:
    assert MIXED.all_operators == (B, C, A, D)
    assert MIXED.operators(Architecture("s", (0, 1, 0))) == (A,)
    assert MIXED.operators(Architecture("s", (1, 1, 1))) == (B, D, A)
    assert MIXED.operator_indices(np.array([[0, 1, 0], [2, 0, 1]])).tolist() == [[4, 4, 2], [1, 2, 2]]
    assert MIXED.total_costs(np.array([[0, 1, 0], [2, 0, 1]]), [np.array([1.0, 10, 100, 1000])])[0].tolist() == [
        100,
        210,
    ]


@pytest.mark.parametrize("choices", list(itertools.product(range(3), range(2), range(2))))
def test_mixing_with_all_weight_on_one_option_is_to_activate_it(
    mixable: ChainSuperNet, choices: tuple[int, ...]
) -> None:
    weights = [
        nn.functional.one_hot(torch.tensor(choice), len(variable.options)).float()
        for variable, choice in zip(MIXED_VARIABLES, choices, strict=True)
    ]
    x = torch.ones(2, 3)
    mixable.activate(Architecture("s", choices))
    active = mixable(x)
    mixable.mix(weights)
    assert torch.equal(mixable(x), active)
    mixable.mix([weight.requires_grad_() for weight in weights])  # runs every option, those of weight 0 too
    assert torch.equal(mixable(x), active)
    mixable.activate(Architecture("s", choices))
    assert torch.equal(mixable(x), active)


def test_outputs_are_mixed_by_weight_and_gradients_flow_back(mixable: ChainSuperNet) -> None:
    which, other, depth = (torch.tensor(one, requires_grad=True) for one in ([0.2, 0.3, 0.5], [0.25, 0.75], [0.4, 0.6]))
    mixable.mix([which, other, depth])
    out = mixable(torch.ones(()))
    first, second = 0.2 * 1 + 0.3 * 3 + 0.5 * 5, 0.25 * 2 + 0.75 * 7
    assert out.item() == pytest.approx(first * (0.4 + 0.6 * second) * 2)
    out.backward()
    assert which.grad is not None
    assert which.grad.tolist() == pytest.approx([factor * (0.4 + 0.6 * second) * 2 for factor in (1, 3, 5)])


def test_the_expected_cost_is_the_mean_over_architectures() -> None:
    rng = np.random.default_rng(5)
    for chain in (CHAIN, MIXED):
        weights = [torch.from_numpy(rng.dirichlet(np.ones(len(variable.options)))) for variable in chain.variables]
        cost = rng.random(len(chain.all_operators))
        every = np.array(list(itertools.product(*(range(len(variable.options)) for variable in chain.variables))))
        chances = np.prod([weight.numpy()[column] for weight, column in zip(weights, every.T, strict=True)], axis=0)
        expected = float(chances @ chain.total_costs(every, [cost])[0])
        assert chain.expected_cost(weights, torch.from_numpy(cost)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [((3, 2), "depth must be of shape"), ((3, 3, 2), r"other must be of shape \(2,\)"), ((3, 2, 2, 2), "too many")],
)
def test_weights_that_do_not_fit_the_variables_are_an_error(
    mixable: ChainSuperNet, shapes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        mixable.mix([torch.ones(shape) / shape for shape in shapes])


def test_outputs_of_different_shapes_cannot_be_mixed() -> None:
    class Narrowing(Scale):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, : 1 if self.kind == "b" else 2]

    slot = Slot((Operator("b", (2,), {"kind": "b"}), Operator("c", (2,), {"kind": "c"})), (0,))
    chain = Chain((Variable("width", (1, 2)),), (slot,))
    supernet = ChainSuperNet(chain, Narrowing, lambda modules: nn.Sequential(*modules))
    supernet.mix([torch.tensor([0.5, 0.5])])
    with pytest.raises(SpaceError, match="which width decide must give outputs of one shape"):
        supernet(torch.ones(2, 3))


def test_the_first_operators_are_those_of_all_architectures() -> None:
    """Past a slot that may be empty, by a choice or by depth, to the first that always runs."""
    chains = (
        CHAIN,
        MIXED,
        Chain(CHAIN.variables, CHAIN.slots[1:]),
        Chain(
            MIXED_VARIABLES,
            (Slot((A,), (), 2, 1), Slot((None, B, C), (0,)), Slot((None, D), (2,)), Slot((C,)), Slot((D,))),
        ),
    )
    for chain in chains:
        every = itertools.product(*(range(len(variable.options)) for variable in chain.variables))
        assert chain.first_operators == {chain.operators(Architecture("s", choices))[0] for choices in every}


def test_what_comes_into_a_layer_reaches_it_when_it_is_extracted() -> None:
    """Where fewer channels may come in than into the widest."""

    def conv(in_channels: int, out_channels: int) -> Operator:
        return Operator("conv", (in_channels, 1, 1), {"out_channels": out_channels})

    slots = (Slot((conv(1, 2), conv(1, 3)), (0,)), Slot((conv(2, 2), conv(3, 2)), (0,)))
    chain = Chain((Variable("width", (2, 3)),), slots)
    layers = iter([ElasticConvBNAct(1, 3), ElasticConvBNAct(3, 2)])
    supernet = ChainSuperNet(chain, lambda slot: next(layers), lambda modules: nn.Sequential(*modules)).eval()
    x = torch.ones(1, 1, 1, 1)
    for choice in (0, 1, 0):
        supernet.activate(Architecture("s", (choice,)))
        torch.testing.assert_close(supernet.subnet(Architecture("s", (choice,)))(x), supernet(x))
