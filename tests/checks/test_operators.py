"""Operators that are not those that run, or not what they cost, are found and named."""

from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.checks import SpaceUnderTest
from hwnas.checks.operators import (
    check_all_operators,
    check_counts,
    check_expected_cost,
    check_operators_run,
    check_population_walk,
    check_stored_operators,
    check_total_costs,
    count_macs,
    one_hot,
    run_operators,
)
from hwnas.errors import SpaceError
from hwnas.spaces import Operator
from hwnas.spaces.counting import OperatorCounts
from hwnas.testing import ToySpace

CHECKS = [
    check_all_operators,
    check_stored_operators,
    check_population_walk,
    check_total_costs,
    check_expected_cost,
    check_operators_run,
    check_counts,
]


@pytest.mark.parametrize("space", ["toy", "tokens"])
@pytest.mark.parametrize("check", CHECKS)
def test_sound_spaces_pass(check, space, request) -> None:
    assert check(request.getfixturevalue(space))


def test_networks_may_run_on_paper(toy) -> None:
    assert check_operators_run(toy, toy.architectures[:3], device="meta") == "3 networks by forward hooks"


class OtherOrder(ToySpace):
    """Lists the second block before the first."""

    def operators(self, architecture):
        listed = super().operators(architecture)
        return (listed[0], listed[2], listed[1], *listed[3:]) if len(listed) > 3 else listed

    def assemble(self, modules):  # type: ignore[override]
        modules = list(modules)
        return ToySpace.assemble([modules[0], modules[2], modules[1], *modules[3:]] if len(modules) > 3 else modules)


class BuildsLarger(ToySpace):
    """The first block's kernel is always 5."""

    def build(self, architecture):
        return super().build(self.architecture([architecture.choices[0], 1, *architecture.choices[2:]]))


class Misses(ToySpace):
    def all_operators(self):
        return super().all_operators()[:-1]


class Repeats(ToySpace):
    def all_operators(self):
        return (*super().all_operators(), super().all_operators()[0])


class Extra(ToySpace):
    def all_operators(self):
        return (*super().all_operators(), Operator("conv_bn_act", (1, 6, 6), {"out_channels": 5}))


class IndexesTheLargest(ToySpace):
    def operator_indices(self, choices_NV):
        return super().operator_indices(np.array([self.largest().choices] * len(choices_NV)))


class Doubles(ToySpace):
    def total_costs(self, choices_NV, costs):
        return [2 * total for total in super().total_costs(choices_NV, costs)]


class ExpectsNothing(ToySpace):
    def expected_cost(self, weights, cost):
        return cost.sum() * 0


class Miscounts(ToySpace):
    """Forgets what the squeezing of blocks with a kernel of 5 costs."""

    @cached_property
    def counts(self):
        found = dict(ToySpace().counts)
        for operator, counts in found.items():
            if operator.attributes.get("kernel_size") == 5 and operator.attributes["se_channels"]:
                found[operator] = OperatorCounts(counts.macs - 36, counts.parameters, counts.output_shape)
        return found


class HidesWork(ToySpace):
    def build(self, architecture):
        return nn.Sequential(nn.Conv2d(1, 1, 1), super().build(architecture))


class HidesProducts(ToySpace):
    def build(self, architecture):
        class Multiplies(nn.Module):
            def forward(self, logits_BK):
                return logits_BK + (logits_BK[:, :, None] @ logits_BK[:, None, :]).sum(1)

        return nn.Sequential(super().build(architecture), Multiplies())


@pytest.mark.parametrize(
    ("check", "space", "said"),
    [
        (check_operators_run, OtherOrder, r"operator 1 is listed as mbconv\(6x3x3; .* but there MBConv runs on 4x6x6"),
        (
            check_operators_run,
            BuildsLarger,
            r"the space toy with block1\.kernel_size=3 must list .* operator 1 is listed as mbconv.* but there runs",
        ),
        (check_all_operators, Misses, r"must list every operator, but classifier\(6x3x3; .*\) of k\dm\d+.* is missing"),
        (check_all_operators, Repeats, r"must list each operator once, but conv_bn_act\(1x6x6; .* comes again"),
        (check_all_operators, Extra, r"but none uses conv_bn_act\(1x6x6; out_channels=5\)"),
        (check_population_walk, IndexesTheLargest, r"for k3m4 must find .* at 1 it finds mbconv\(.*kernel_size=5"),
        (check_total_costs, Doubles, r"`total_costs` of the space toy for k3m4 must sum the costs"),
        (check_expected_cost, ExpectsNothing, r"for k3m4 alone must be its cost, but it gives 0 in place of"),
        (
            check_counts,
            Miscounts,
            r"The operator mbconv\(6x3x3; .*kernel_size=5, .*\) of the space toy must have the MACs",
        ),
        (check_counts, HidesWork, r"its operators have \d+ parameters and its network \d+: 0\.weight belongs to no"),
        (check_counts, HidesProducts, r"its operators have \d+ MACs and its network \d+"),
    ],
)
def test_what_is_wrong_is_named(check, space, said) -> None:
    with pytest.raises(SpaceError, match=f"(?i){said}"):
        check(SpaceUnderTest(space(), on_paper=30, networks=6))


def test_operators_are_seen_as_they_run() -> None:
    space = ToySpace()
    network = space.build(space.largest())
    seen = run_operators(space, network)
    assert [type(module).__name__ for module, _, _ in seen] == ["ConvBNAct", "MBConv", "MBConv", "MBConv", "Classifier"]
    assert [given for _, given, _ in seen] == [(1, 6, 6), (4, 6, 6), (6, 3, 3), (6, 3, 3), (6, 3, 3)]
    assert [returned for _, _, returned in seen][-1] == (3,)
    assert len(run_operators(space, network)) == 5  # no hook was left behind


class Attends(nn.Module):
    heads: ClassVar = 2

    def forward(self, x_BTD):
        x_BHTD = x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(x_BHTD, x_BHTD, x_BHTD)


def test_fused_attention_counts_as_its_two_products() -> None:
    assert count_macs(Attends(), (7, 6)) == 2 * 7 * 7 * 6
    assert count_macs(nn.Linear(6, 5, bias=False), (7, 6)) == 7 * 6 * 5


def test_one_hot_weights_choose_one(toy) -> None:
    weights = one_hot(toy.space, toy.space.architecture([2, 0, 1, 1, 0, 1, 0]))
    assert [weight.tolist() for weight in weights[:3]] == [[0, 0, 1], [1, 0], [0, 1]]
    assert all(weight.dtype == torch.float64 for weight in weights)


@pytest.mark.parametrize(
    "change",
    [
        {"attributes": {"out_channels": 4.5}},
        {"attributes": {"sizes": (3, 5)}},
        {"attributes": {"out_channels": np.int64(4)}},
        {"input_shape": (1, 0, 6)},
        {"input_shape": (1, np.int64(6), 6)},
        {"kind": 3},
    ],
)
def test_an_operator_that_a_table_cannot_hold_is_named(change) -> None:
    class Odd(ToySpace):
        def all_operators(self):
            stem, *others = super().all_operators()
            return (*others, replace(stem, **change))

    said = r"^The operator .* of the space toy must have a kind of text, .* but it is \{'kind': "
    with pytest.raises(SpaceError, match=said):
        check_stored_operators(SpaceUnderTest(Odd()))
