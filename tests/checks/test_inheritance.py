"""Spaces whose networks do not inherit what they say are found and named."""

import pytest

from hwnas.checks import SpaceUnderTest
from hwnas.checks.inheritance import check_inheritance
from hwnas.errors import SpaceError
from hwnas.spaces import ConvNet, SearchSpace
from hwnas.testing import ToySpace


def subject_of(space: SearchSpace) -> SpaceUnderTest:
    return SpaceUnderTest(space, on_paper=10, networks=2)


@pytest.mark.parametrize("space", ["toy", "tokens"])
def test_sound_spaces_pass(space, request) -> None:
    assert check_inheritance(request.getfixturevalue(space)).endswith("and 0 steps that keep the function")


def test_steps_that_keep_the_function_are_looked_at() -> None:
    found = check_inheritance(subject_of(ConvNet((1, 8, 8), 4, width_mult=[0.25, 0.5])))
    assert int(found.split(" and ")[1].split()[0]) > 5


class Forgets(ToySpace):
    def inherit(self, network, parent, child):
        return self.build(child)


class Boasts(ToySpace):
    def keeps_function(self, parent, child):
        return True


class Robs(ToySpace):
    def inherit(self, network, parent, child):
        inherited = super().inherit(network, parent, child)
        if child == self.smallest() != parent:
            next(network.parameters()).zero_()
        return inherited


class Fails(ToySpace):
    def inherit(self, network, parent, child):
        return super().inherit(network, parent, child) if child == parent else 1 / 0


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (Forgets(), "of the largest apart from its parent's"),
        (Boasts(), "of the largest apart from its parent's"),
        (Robs(), "of the parent is changed"),
        (Fails(), "it raises ZeroDivisionError"),
    ],
)
def test_what_is_not_inherited_is_found(space: SearchSpace, said: str) -> None:
    with pytest.raises(SpaceError, match=said) as caught:
        check_inheritance(subject_of(space))
    assert "must let a network inherit what another one has learnt" in str(caught.value)
