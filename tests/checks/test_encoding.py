"""Encodings that are not sound are found; tests/testing/test_space_contract.py has more of them."""

import numpy as np
import pytest

from hwnas.checks import SpaceUnderTest
from hwnas.checks.encoding import (
    check_canonical_form,
    check_canonical_network,
    check_ends,
    check_one_encoding,
    check_variables,
)
from hwnas.errors import SpaceError
from hwnas.spaces import Architecture, Variable
from hwnas.testing import ToySpace


class Forgets(ToySpace):
    def canonicalize(self, choices_NV):
        canonical_NV = super().canonicalize(choices_NV)
        canonical_NV[:, 2] = 0
        return canonical_NV


class DoesNothing(ToySpace):
    def canonicalize(self, choices_NV):
        return np.array(choices_NV)


class Flips(ToySpace):
    def canonicalize(self, choices_NV):
        canonical_NV = super().canonicalize(choices_NV)
        canonical_NV[:, 1] = 1 - canonical_NV[:, 1]
        return canonical_NV


class Exceeds(ToySpace):
    def canonicalize(self, choices_NV):
        return super().canonicalize(choices_NV) + np.array([0, 0, 0, 0, 0, 0, 2])


class Backwards(ToySpace):
    def operators(self, architecture):
        depth, *rest = architecture.choices
        return super().operators(Architecture(self.name, (2 - depth, *rest)))


class SameName(ToySpace):
    @property
    def variables(self):
        return (*super().variables[:-1], Variable("depth", (1, 2)))


class SameOption(ToySpace):
    @property
    def variables(self):
        return (Variable("depth", (1, 2, 2)), *super().variables[1:])


@pytest.mark.parametrize("space", ["toy", "tokens"])
@pytest.mark.parametrize(
    "check", [check_variables, check_canonical_form, check_canonical_network, check_one_encoding, check_ends]
)
def test_sound_spaces_pass(check, space, request) -> None:
    assert check(request.getfixturevalue(space))


@pytest.mark.parametrize(
    ("check", "space", "said"),
    [
        (check_variables, SameName, "must give each variable a name of its own, but depth names several"),
        (check_variables, SameOption, r"at depth must have distinct options, but \(1, 2, 2\) came"),
        (check_canonical_form, Flips, r"must leave canonical choices alone, but it changes block1\.kernel_size"),
        (check_canonical_form, Exceeds, r"must give options that exist, but block3\.expand_ratio gets others"),
        (check_canonical_network, Forgets, r"must keep the operators .* where it sets .*block1\.expand_ratio.* to 0"),
        (check_one_encoding, DoesNothing, r"block2\.kernel_size differ between two encodings of k3m4"),
        (check_ends, Backwards, "must have no more parameters than the largest"),
    ],
)
def test_what_is_wrong_is_named(check, space, said) -> None:
    with pytest.raises(SpaceError, match=said):
        check(SpaceUnderTest(space(), on_paper=30))
