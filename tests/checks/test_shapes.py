"""Operators that do not fit together are found on paper, with the variable and the option."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.checks import SpaceUnderTest, require_fitting_shapes
from hwnas.checks.shapes import check_shapes
from hwnas.errors import SpaceError
from hwnas.layers import ConvBNAct
from hwnas.spaces import Architecture, Variable
from hwnas.testing import ToySpace


def fault_of(space) -> str:
    with pytest.raises(SpaceError) as caught:
        check_shapes(SpaceUnderTest(space))
    return str(caught.value)


def changed(operator, **attributes):
    return replace(operator, attributes={**operator.attributes, **attributes})


def test_sound_spaces_fit(toy, tokens) -> None:
    assert check_shapes(toy).endswith("architectures, one choice apart and random")
    assert check_shapes(tokens)


class Widens(ToySpace):
    """The second expand ratio of the first block gives channels that the second block does not take."""

    def _block(self, block, kernel_size, expand_ratio):
        operator = super()._block(block, kernel_size, expand_ratio)
        return changed(operator, out_channels=8) if (block, expand_ratio) == (0, 2) else operator


def test_channels_that_do_not_fit_name_variable_option_and_operators() -> None:
    said = fault_of(Widens())
    assert said.startswith(
        "The space toy with block1.expand_ratio=2 in k3m4 must have operators whose shapes fit, but "
    )
    assert "operator 2, classifier(6x3x3; " in said
    assert "is given 8x3x3, which operator 1, mbconv(4x6x6; " in said


class Shrinks(ToySpace):
    """The larger kernel of the third block strides."""

    def _block(self, block, kernel_size, expand_ratio):
        operator = super()._block(block, kernel_size, expand_ratio)
        return changed(operator, stride=2) if (block, kernel_size) == (2, 5) else operator


def test_a_resolution_that_does_not_fit_is_found_where_the_largest_is_wrong() -> None:
    said = fault_of(Shrinks())
    assert "with block3.kernel_size=5" in said or "with depth=3" in said
    assert "is given 6x2x2" in said


def test_several_options_are_all_named() -> None:
    class Two(ToySpace):
        def _block(self, block, kernel_size, expand_ratio):
            operator = super()._block(block, kernel_size, expand_ratio)
            return (
                changed(operator, out_channels=8) if block == 0 and (kernel_size, expand_ratio) != (3, 1) else operator
            )

    assert "with block1.kernel_size=5 (and block1.expand_ratio=2) in k3m4" in fault_of(Two())


def test_a_combination_that_does_not_fit_is_found() -> None:
    class Rarely(ToySpace):
        def operators(self, architecture):
            listed = super().operators(architecture)
            rare = architecture.choices[0] == 2 and architecture.choices[2::2] == (0, 1, 0)
            return (*listed[:-2], changed(listed[-2], out_channels=8), listed[-1]) if rare else listed

    said = fault_of(Rarely())
    assert "expand_ratio=" in said or "depth=3" in said
    assert "is given 8x3x3" in said


def test_where_nothing_fits_it_says_so() -> None:
    class Never(ToySpace):
        def operators(self, architecture):
            *listed, classifier = super().operators(architecture)
            return (*listed, replace(classifier, input_shape=(7, 3, 3)))

    said = fault_of(Never())
    assert said.startswith("The space toy, in each of ")
    assert "classifier(7x3x3; " in said


def test_an_operator_that_cannot_run_is_named() -> None:
    class Odd(ConvBNAct):
        def forward(self, x):
            return super().forward(x.reshape(1, 7))

    class Breaks(ToySpace):
        layers: ClassVar = {**ToySpace.layers, "conv_bn_act": Odd}

    assert "operator 0, conv_bn_act(1x6x6; kernel_size=3, out_channels=4), cannot run: " in fault_of(Breaks())


def test_a_wrong_number_of_logits_is_found() -> None:
    space = ToySpace(num_classes=3)
    assert space.operators(space.largest())  # made with three classes
    space.num_classes = 7
    assert "give 2x3 in place of 2x7 logits" in fault_of(space)


def test_a_space_with_a_build_of_its_own_is_built() -> None:
    class Doubles(ToySpace):
        """An assembly of its own that spoils one option."""

        def build(self, architecture):
            network = super().build(architecture)
            spoilt = architecture.choices[1] == 1
            return nn.Sequential(network, nn.Linear(3, 5)) if spoilt else network

    assert "with block1.kernel_size=5" in fault_of(Doubles())
    assert "give 2x5 in place of 2x3 logits" in fault_of(Doubles())


class ManyOptions(ToySpace):
    """30 variables of three options and a `build` of its own: one option of the last does not fit."""

    misfit = 2

    @property
    def variables(self):
        return tuple(Variable(f"variable{index}", (1, 2, 3)) for index in range(30))

    def operators(self, architecture):
        return super().operators(Architecture(self.name, (0,) * 7))

    def canonicalize(self, choices_NV):
        return np.array(choices_NV)

    def build(self, architecture):
        network = super().build(architecture)
        return nn.Sequential(network, nn.Linear(3, 5)) if architecture.choices[-1] == self.misfit else network


def test_of_many_changes_those_that_are_built_are_spread_over_all() -> None:
    """From the smallest the last change of all, so an option of the last variable, is among them."""
    subject = SpaceUnderTest(ManyOptions(), on_paper=0, networks=0)
    with pytest.raises(SpaceError, match=r"^The space toy with variable29=3 in .* give 2x5 in place of 2x3 logits"):
        check_shapes(subject)

    class Sound(ManyOptions):
        misfit = None

    said = check_shapes(SpaceUnderTest(Sound(), on_paper=0, networks=0))
    assert said.endswith(", 40 of 60 changes of one choice and random")
    assert int(said.split()[0]) <= 2 + 2 * 40


def test_an_assembly_of_its_own_is_followed() -> None:
    class Doubled(nn.Module):
        def __init__(self, network) -> None:
            super().__init__()
            self.network = network

        def forward(self, x_BCHW):
            return self.network(torch.cat([x_BCHW, x_BCHW], 2)[:, :, : x_BCHW.shape[2]])

    class Assembles(ToySpace):
        @staticmethod
        def assemble(modules):
            return Doubled(ToySpace.assemble(modules))

    assert check_shapes(SpaceUnderTest(Assembles()))


class Nothing(ToySpace):
    @property
    def variables(self):
        return ()


class BreaksWhileCanonical(ToySpace):
    def canonicalize(self, choices_NV):
        return {}["canonical"]


class Listless(ToySpace):
    @property
    def variables(self):
        return None


class Nameless(ToySpace):
    name = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Nothing, "The space toy must have a variable with two options or more, but there is nothing to choose"),
        (BreaksWhileCanonical, r"toy must list its .*, but .*test_shapes\.py, line \d+, raises KeyError: 'canonical'"),
        (Listless, r"toy must list its variables and operators, but .* raises TypeError: 'NoneType'"),
        (Nameless, "The space Nameless must have letters, digits, _ and - alone as `name`, but it is None"),
        (Widens, r"with block1\.expand_ratio=2 in k3m4 must have operators whose shapes fit"),
    ],
)
def test_what_is_required_is_said_in_a_sentence(kind, said) -> None:
    with pytest.raises(SpaceError, match=said):
        require_fitting_shapes(kind())


def test_large_images_cost_nothing() -> None:
    require_fitting_shapes(ToySpace((3, 4096, 4096), 1000))
