"""The contract holds for ToySpace (tests/spaces/test_contract.py); here each of its checks fails where a space breaks it."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.checks import SpaceUnderTest
from hwnas.layers import ConvBNAct
from hwnas.spaces import Architecture, Operator
from hwnas.testing import SpaceContract, ToySpace
from hwnas.testing.toy_space import ToySuperNet

BROKEN: dict[str, tuple[str, type[ToySpace]]] = {}


def breaks(check: str) -> Callable[[type[ToySpace]], type[ToySpace]]:
    """Notes that `check` must fail for the space."""

    def note(space: type[ToySpace]) -> type[ToySpace]:
        BROKEN[space.__name__] = (check, space)
        return space

    return note


class Plain(ToySpace):
    """What the others are measured against: it passes."""


@breaks("test_canonical_is_idempotent")
class CanonicalShifts(ToySpace):
    def canonicalize(self, choices_NV):
        return np.roll(super().canonicalize(choices_NV), 1, axis=1) % self.num_options_V


@breaks("test_canonical_is_idempotent")
class CanonicalWritesIntoItsArgument(ToySpace):
    def canonicalize(self, choices_NV):
        choices_NV[:] = super().canonicalize(choices_NV)
        return choices_NV


@breaks("test_canonicalizing_keeps_the_network")
class CanonicalForgets(ToySpace):
    def canonicalize(self, choices_NV):
        canonical_NV = super().canonicalize(choices_NV)
        canonical_NV[:, 2] = 0
        return canonical_NV


@breaks("test_encodings_of_one_network_are_one_architecture")
class CanonicalDoesNothing(ToySpace):
    def canonicalize(self, choices_NV):
        return np.array(choices_NV)


@breaks("test_a_choice_that_does_not_exist_is_an_error")
class TakesAnything(ToySpace):
    def architecture(self, choices):
        return Architecture(self.name, tuple(choices))


@breaks("test_it_describes_architectures_in_words")
class SpeaksOfDepthAlone(ToySpace):
    def describe(self, architecture):
        return f"depth {architecture.choices[0]}"


@breaks("test_samples_depend_on_the_generator_alone")
class SamplesFromTorch(ToySpace):
    def sample(self, rng):
        return self.architectures(torch.randint(0, 2, (1, 7)).numpy())[0]


@breaks("test_samples_reach_every_option")
class SamplesShallow(ToySpace):
    def sample_choices(self, count, *, rng):
        return np.minimum(super().sample_choices(count, rng=rng), 1)


@breaks("test_mutation_changes_the_network")
class MutatesNothing(ToySpace):
    def mutate(self, architecture, *, rng, rate=None):
        return architecture


@breaks("test_a_child_takes_after_its_parents")
class OnlyFathers(ToySpace):
    def crossover(self, first, second, *, rng):
        return first


@breaks("test_a_child_of_one_parent_is_that_parent")
class Strangers(ToySpace):
    def crossover(self, first, second, *, rng):
        return self.sample(rng)


@breaks("test_neighbors_are_all_that_are_one_change_away")
class FewNeighbors(ToySpace):
    def neighbors(self, architecture):
        return super().neighbors(architecture)[1:]


@breaks("test_the_largest_and_the_smallest_are_so")
class Backwards(ToySpace):
    def operators(self, architecture):
        depth, *rest = architecture.choices
        return super().operators(Architecture(self.name, (2 - depth, *rest)))


@breaks("test_operators_are_those_that_run_in_the_network")
class BuildsAnother(ToySpace):
    def build(self, architecture):
        return super().build(self.largest())


@breaks("test_operators_are_those_that_run_in_the_network")
class ListsInAnotherOrder(ToySpace):
    def build(self, architecture):
        return super().build(architecture)

    def operators(self, architecture):
        stem, first, *rest = super().operators(architecture)
        return (first, stem, *rest)

    def assemble(self, modules):  # type: ignore[override]
        first, stem, *rest = modules
        return ToySpace.assemble([stem, first, *rest])


@breaks("test_all_operators_are_those_of_some_architecture")
class ListsTooMany(ToySpace):
    def all_operators(self):
        return (*super().all_operators(), Operator("conv_bn_act", (1, 6, 6), {"out_channels": 5}))


@breaks("test_indices_of_a_population_are_the_same_walk")
class IndexesTheLargest(ToySpace):
    def operator_indices(self, choices_NV):
        return super().operator_indices(np.array([self.largest().choices] * len(choices_NV)))


@breaks("test_total_costs_are_the_sums_by_hand")
class CountsTwice(ToySpace):
    def total_costs(self, choices_NV, costs):
        return [2 * total for total in super().total_costs(choices_NV, costs)]


@breaks("test_macs_sum_to_what_fvcore_counts")
class HidesWork(ToySpace):
    def build(self, architecture):
        network = super().build(architecture)
        return nn.Sequential(nn.Conv2d(1, 1, 1), network)


class Deaf(ToySuperNet):
    """A supernet that always runs its widest path."""

    def activate(self, architecture):
        pass


@breaks("test_subnet_is_the_active_path_is_the_network_with_its_weights")
class RunsTheWidest(ToySpace):
    def supernet(self):
        return Deaf(self)


@breaks("test_every_choice_shows_in_the_supernet")
class IgnoresChoices(ToySpace):
    def supernet(self):
        return Deaf(self)


class Lends(ToySuperNet):
    """A supernet that hands out its own layers."""

    def subnet(self, architecture):
        self.activate(architecture)
        return self


@breaks("test_a_network_has_no_trace_of_the_supernet")
class LendsItself(ToySpace):
    def supernet(self):
        return Lends(self)


@breaks("test_a_subnet_lives_on_its_own")
class LendsItsWeights(ToySpace):
    def supernet(self):
        return Lends(self)


@breaks("test_a_network_gives_logits")
class AnotherNumberOfClasses(ToySpace):
    def build(self, architecture):
        return nn.Sequential(super().build(architecture), nn.Linear(3, 5))


@breaks("test_shapes_fit")
class GrowsWithoutTellingTheNext(ToySpace):
    def _block(self, block, kernel_size, expand_ratio):
        operator = super()._block(block, kernel_size, expand_ratio)
        return replace(operator, attributes={**operator.attributes, "out_channels": 4 + 2 * expand_ratio})


@breaks("test_gradients_reach_every_weight")
class LeavesItsStemAsItIs(ToySpace):
    def supernet(self):
        supernet = super().supernet()
        supernet.stem.requires_grad_(False)
        return supernet


class Stubborn(nn.BatchNorm2d):
    """A batch norm that is never trained."""

    def train(self, mode=True):
        return super().train(False)


class StubbornConv(ConvBNAct):
    """A convolution with such a batch norm."""

    def __init__(self, in_channels, out_channels, **options):
        super().__init__(in_channels, out_channels, **options)
        self.bn = Stubborn(out_channels)


@breaks("test_batch_norms_are_recalibrated")
class KeepsItsStatistics(ToySpace):
    layers: ClassVar = {**ToySpace.layers, "conv_bn_act": StubbornConv}


class Undecided(ConvBNAct):
    """A convolution that cannot be exported: what it does depends on the values that come."""

    def forward(self, x_BCHW):
        return super().forward(x_BCHW) if float(x_BCHW.sum()) > 0 else super().forward(-x_BCHW)


@breaks("test_operators_export")
class CannotBeExported(ToySpace):
    layers: ClassVar = {**ToySpace.layers, "conv_bn_act": Undecided}


def run_check(check: str, space: ToySpace) -> None:
    """Runs one check of the contract as pytest would, with every value of its parameters."""
    torch.set_num_threads(1)
    subject = SpaceUnderTest(space, on_paper=12, networks=2, operators=2, seed=1)
    values: dict[str, Any] = {"space": space, "subject": subject, "runnable": subject}
    function = getattr(SpaceContract(), check)
    parameters = inspect.signature(function).parameters
    if "architectures" in parameters:
        values["architectures"] = subject.architectures
    if "supernet" in parameters:
        values |= {"supernet": subject.supernet, "networks": subject.networks}
    if "rate" in parameters:
        values["rate"] = None
    if "wrong" in parameters:
        values |= {"wrong": True, "position": "first"}
    function(**{name: values[name] for name in parameters})


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_space_is_found_out(name: str) -> None:
    check, kind = BROKEN[name]
    run_check(check, Plain())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_check(check, kind())
