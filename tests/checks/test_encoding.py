"""Encodings that are not sound are found; tests/testing/test_space_contract.py has more of them."""

from dataclasses import replace

import numpy as np
import pytest

from hwnas.checks import SpaceUnderTest
from hwnas.checks.encoding import (
    check_canonical_form,
    check_canonical_network,
    check_descriptions,
    check_ends,
    check_identity,
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


class Overflows(ToySpace):
    """Its canonical form goes by way of a number that 8 bits do not hold."""

    def canonicalize(self, choices_NV):
        return super().canonicalize(choices_NV * 100 // 100)


class SpeaksOfDepthAlone(ToySpace):
    def describe(self, architecture):
        return f"depth {architecture.choices[0]}"


class FallsSilent(ToySpace):
    def describe(self, architecture):
        return {0: "shallow"}[architecture.choices[0]]


class SpeaksInLines(ToySpace):
    def describe(self, architecture):
        return "\n".join(map(str, architecture.choices))


class Renamed(ToySpace):
    def identity(self):
        return {**super().identity(), "space": "another"}


class Forgetful(ToySpace):
    """All architectures are of the same operators."""

    def operators(self, architecture):
        return super().operators(Architecture(self.name, (0,) * 7))


def with_options(**options: object) -> type[ToySpace]:
    class Optional(ToySpace):
        @property
        def options(self):
            return options

    return Optional


@pytest.mark.parametrize("space", ["toy", "tokens"])
@pytest.mark.parametrize(
    "check",
    [
        check_variables,
        check_identity,
        check_descriptions,
        check_canonical_form,
        check_canonical_network,
        check_one_encoding,
        check_ends,
    ],
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
        (check_ends, Forgetful, "must have other operators than the largest, but they have the same"),
        (check_canonical_form, Overflows, r"must give 8-bit integers the same choices, but .*depth.* get others"),
        (check_descriptions, SpeaksOfDepthAlone, r"must tell architectures apart, but two .* are 'depth \d'"),
        (check_descriptions, FallsSilent, r"toy for \(\d, .* must give one line of text, but it raises KeyError: "),
        (check_descriptions, SpeaksInLines, r"must give one line of text, but '0\\n0.*' came"),
        (check_identity, Renamed, "`identity` of the space toy must be JSON with its name"),
        (check_identity, with_options(width=(1, 2)), r"be numbers, or lists of numbers, but width is \(1, 2\)"),
        (check_identity, with_options(kind="a"), "`options` of the space toy must be .* but kind is 'a'"),
        (check_identity, with_options(width=[0.5, float("nan")]), r"but width is \[0\.5, nan\]"),
        (check_identity, with_options(wide=True), "but wide is True"),
    ],
)
def test_what_is_wrong_is_named(check, space, said) -> None:
    with pytest.raises(SpaceError, match=said):
        check(SpaceUnderTest(space(), on_paper=30))


def test_options_may_be_numbers_and_lists_of_them() -> None:
    assert check_identity(SpaceUnderTest(with_options(depth=3, width=[0.5, 1])())) == "2 options"


@pytest.mark.parametrize("option", ["resolution", "activation"])
def test_options_that_change_no_weights_are_sound(option) -> None:
    class Alike(ToySpace):
        """One depth, and blocks of one size."""

        @property
        def variables(self):
            return (Variable(option, (1, 2)),)

        def operators(self, architecture):
            stem, *_, classifier = super().operators(Architecture(self.name, (0,) * 7))
            changed = {"activation": ("relu", "hard_swish")[architecture.choices[0]]}
            if option == "resolution":
                changed = {"stride": (2, 1)[architecture.choices[0]]}
            return (replace(stem, attributes={**stem.attributes, **changed}), classifier)

        def all_operators(self):
            return tuple(dict.fromkeys(one for choice in (0, 1) for one in self.operators(self.architecture([choice]))))

        def canonicalize(self, choices_NV):
            return np.array(choices_NV)

    assert check_ends(SpaceUnderTest(Alike(), on_paper=5))
