"""Options that are one value or several, and the slots made of them."""

from typing import Any

import pytest
from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import Choice, ConvBNAct, ElasticConvBNAct, Fixed, Resize
from hwnas.spaces import Architecture, Chain, Operator, Slot
from hwnas.spaces.decisions import Decisions, ascending, elastic_layer, option_value


def operator(*values: Any) -> Operator | None:
    return Operator("-".join(map(str, values)), (1,), {}) if 0 not in values else None


def test_only_what_has_several_options_becomes_a_variable() -> None:
    decisions = Decisions()
    fixed, width, depth = (
        decisions.among("fixed", (7,)),
        decisions.among("width", (0.5, 1.0)),
        decisions.among("depth", (1, 2)),
    )
    assert [(one.name, one.options) for one in decisions.variables] == [("width", (0.5, 1.0)), ("depth", (1, 2))]
    assert [one.variables for one in (fixed, width, depth)] == [(), (0,), (1,)]
    assert fixed.options == (7,)


def test_a_slot_has_an_operator_for_each_combination_in_the_order_of_its_decisions() -> None:
    """A chain finds each by the choices, whatever the order in which the variables came."""
    decisions = Decisions()
    first, second, fixed = (
        decisions.among(name, values) for name, values in (("a", (1, 2)), ("b", (3, 4)), ("c", (5,)))
    )
    slot = decisions.slot(operator, second, fixed, first)
    chain = Chain(decisions.variables, [slot])
    for a in range(2):
        for b in range(2):
            (found,) = chain.operators(Architecture("s", (a, b)))
            assert found.kind == f"{(3, 4)[b]}-5-{(1, 2)[a]}"


def test_nothing_runs_where_there_is_no_operator_or_the_depth_is_small() -> None:
    decisions = Decisions()
    size, depth = decisions.among("size", (0, 1)), decisions.among("depth", (1, 2))
    slots = [
        decisions.slot(operator, size),
        decisions.slot(operator, decisions.among("one", (9,)), depth=depth, min_depth_choice=1),
        decisions.slot(operator, decisions.among("two", (8,)), depth=depth, min_depth_choice=0),
    ]
    chain = Chain(decisions.variables, slots)
    found = {
        (s, d): [one.kind for one in chain.operators(Architecture("s", (s, d)))] for s in range(2) for d in range(2)
    }
    assert found == {(0, 0): ["8"], (0, 1): ["9", "8"], (1, 0): ["1", "8"], (1, 1): ["1", "9", "8"]}


@pytest.mark.parametrize(("values", "read"), [(1, (1,)), (0.5, (0.5,)), ([0.5, 1], (0.5, 1)), ((2.0,), (2.0,))])
def test_values_are_one_or_several(values: Any, read: tuple[float, ...]) -> None:
    assert ascending("x", values, low=0, high=2) == read
    assert option_value(read) == (list(read) if len(read) > 1 else read[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "x must be from 0 to 2, but none came"),
        (3, "x must be from 0 to 2, but 3 came"),
        ([1, float("nan")], "but nan came"),
        ([1, 0.5], "x must go up from value to value, but 1, 0.5 came"),
        ([1, 1], "must go up"),
    ],
)
def test_values_out_of_range_or_order_are_refused(values: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ascending("x", values, low=0, high=2)


def conv(in_channels: int, out_channels: int) -> Operator:
    return Operator("conv", (in_channels, 4, 4), {"out_channels": out_channels})


def resize(side: int) -> Operator:
    return Operator("resize", (3, 8, 8), {"height": side, "width": side})


def build(operator: Operator) -> nn.Module:
    make: Any = {"conv": ConvBNAct, "resize": Resize}[operator.kind]
    layer: nn.Module = make(operator.input_shape[0], **operator.attributes)
    return layer


@pytest.mark.parametrize(
    ("operators", "kind"),
    [
        ((conv(3, 8),), Fixed),
        ((conv(3, 8), Operator("conv", (3, 8, 8), {"out_channels": 8})), Fixed),
        ((conv(3, 4), conv(3, 8)), ElasticConvBNAct),
        ((conv(2, 8), conv(3, 8)), ElasticConvBNAct),
        ((resize(4), resize(6), None), Choice),
        ((resize(6), None), Fixed),
        ((resize(6), Operator("resize", (4, 8, 8), {"height": 6, "width": 6})), Fixed),
    ],
)
def test_a_layer_is_elastic_where_its_weights_are_shared(operators: tuple[Operator | None, ...], kind: type) -> None:
    layer = elastic_layer(Slot(operators), build, elastic={"conv": ElasticConvBNAct})
    assert type(layer) is kind
