"""Supernets that are not what their networks are, and choices that do nothing, are found and named."""

import pytest
import torch
from torch import nn

from hwnas.checks import Skipped, SpaceUnderTest
from hwnas.checks.networks import check_choices, check_logits, check_mixing, check_plain_networks, check_subnets
from hwnas.errors import SpaceError
from hwnas.spaces import ChainSuperNet
from hwnas.testing import ToySpace
from hwnas.testing.toy_space import ToySuperNet


@pytest.mark.parametrize("space", ["toy", "tokens"])
@pytest.mark.parametrize("check", [check_logits, check_choices, check_subnets, check_plain_networks])
def test_sound_spaces_pass(check, space, request) -> None:
    assert isinstance(check(request.getfixturevalue(space)), str)


def space_of(kind: type[ToySuperNet]) -> ToySpace:
    class Space(ToySpace):
        def supernet(self):
            return kind(self)

    return Space()


class Deaf(ToySuperNet):
    """Always runs its widest path."""

    def activate(self, architecture):
        pass


class ForgetsKernels(ToySuperNet):
    """Activates all but the kernel of the second block."""

    def activate(self, architecture):
        super().activate(architecture)
        self.blocks[1].active_kernel = 5


class CopiesTheWrongBias(ToySuperNet):
    """Where the third block runs, the classifier that is taken out has no bias."""

    def subnet(self, architecture):
        network = super().subnet(architecture)
        if architecture.choices[0] == 2:
            nn.init.zeros_(network[-1].logits.bias)
        return network


class SwapsAnActivation(ToySpace):
    """Builds the stem with another activation than the supernet's."""

    def build(self, architecture):
        network = super().build(architecture)
        network[0].act = nn.Hardswish()
        return network


class Lends(ToySuperNet):
    """Hands out its own layers."""

    def subnet(self, architecture):
        self.activate(architecture)
        return self


class Unused(ToySpace):
    def build(self, architecture):
        network = super().build(architecture)
        network[0].register_parameter("scale", nn.Parameter(torch.ones(1)))
        return network


@pytest.mark.parametrize(
    ("check", "space", "said"),
    [
        (
            check_choices,
            space_of(Deaf),
            r"^depth of the space toy must change .* but 1 and 2 give the same logits in k5m8",
        ),
        (
            check_choices,
            space_of(ForgetsKernels),
            r"^block2\.kernel_size of the space toy .* but 3 and 5 give the same",
        ),
        (check_subnets, space_of(Deaf), "the logits of `subnet` are .* apart from those of the active path"),
        (check_subnets, space_of(ForgetsKernels), r"^The space toy with depth=\d and block2\.kernel_size=3 must"),
        (check_subnets, space_of(CopiesTheWrongBias), "^The space toy with depth=3 must give one function"),
        (
            check_subnets,
            SwapsAnActivation(),
            r"^The space toy, in each of \d+ architectures, must give one function by",
        ),
        (check_subnets, Unused(), "of operator0.scale `build` has 1 and `subnet` has none"),
        (check_plain_networks, space_of(Lends), "`subnet` gives the Lends"),
        (check_logits, Unused(), r"operator0\.scale gets no gradient"),
    ],
)
def test_what_is_wrong_is_named(check, space, said) -> None:
    with pytest.raises(SpaceError, match=said):
        check(SpaceUnderTest(space, networks=6))


def test_a_wrong_function_is_placed_behind_its_operator() -> None:
    with pytest.raises(SpaceError, match=r"the logits of `build` .* of the largest apart, first behind operator 0"):
        check_subnets(SpaceUnderTest(SwapsAnActivation()))


def test_a_supernet_that_mixes_is_checked(tokens) -> None:
    assert check_mixing(tokens) == f"{len(tokens.networks)} architectures"


def test_a_supernet_that_cannot_mix_is_skipped(toy) -> None:
    assert check_mixing(toy) == Skipped("its supernet cannot mix")


class MixesTheDepthAway(ChainSuperNet):
    """Mixes with the largest depth whatever its weights are."""

    def mix(self, weights):
        super().mix([torch.tensor([0.0, 1.0], dtype=torch.float64), *weights[1:]])


class RefusesToMix(ChainSuperNet):
    def mix(self, weights):
        raise SpaceError("The tokens", "must be of one width to be mixed")


def with_supernet(space, kind: type[ChainSuperNet]) -> SpaceUnderTest:
    space.supernet = lambda: kind(space.chain, space._layer, space.assemble)
    return SpaceUnderTest(space)


def test_a_mixture_that_is_another_is_named(tokens) -> None:
    with pytest.raises(SpaceError, match=r"^The space tokens with depth=1 must give by `mix`"):
        check_mixing(with_supernet(tokens.space, MixesTheDepthAway))


def test_a_supernet_that_refuses_to_mix_says_why(tokens) -> None:
    found = check_mixing(with_supernet(tokens.space, RefusesToMix))
    assert found == Skipped("The tokens must be of one width to be mixed")
