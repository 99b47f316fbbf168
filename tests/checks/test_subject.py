"""What the checks look at, and who is to blame."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.checks.subject import SpaceUnderTest, bend, bend_statistics, randomize, said
from hwnas.errors import SpaceError
from hwnas.testing import ToySpace
from hwnas.testing.generators import global_states


def test_it_is_made_of_its_seed_alone(toy) -> None:
    states = global_states()
    first = (toy.architectures, toy.images(2), toy.supernet.state_dict(), toy.network(toy.networks[2]).state_dict())
    assert toy.precise.state_dict().keys() == first[2].keys()
    assert global_states() == states
    random.seed(1)
    torch.manual_seed(99)
    again = SpaceUnderTest(ToySpace(), on_paper=30, networks=3)
    assert again.architectures == first[0]
    assert torch.equal(again.images(2), first[1])
    for name, value in again.supernet.state_dict().items():
        assert torch.equal(value, first[2][name])
    for name, value in again.network(toy.networks[2]).state_dict().items():
        assert torch.equal(value, first[3][name])
    assert SpaceUnderTest(ToySpace(), seed=1).architectures != first[0]


def test_both_ends_come_first(toy) -> None:
    space = toy.space
    assert toy.networks[:2] == [space.smallest(), space.largest()]
    assert len(toy.networks) <= 5
    assert len(toy.architectures) == 32


def test_the_precise_supernet_is_the_same(toy) -> None:
    toy.supernet.activate(toy.networks[1])
    toy.precise.activate(toy.networks[1])
    with torch.no_grad():
        logits, precise = toy.supernet(toy.images(2)), toy.precise(toy.images(2).double())
    assert precise.dtype == torch.float64
    torch.testing.assert_close(logits.double(), precise, rtol=1e-4, atol=1e-4)


def test_a_family_differs_in_one_variable(toy) -> None:
    for index, variable in enumerate(toy.space.variables):
        family = toy.family(index)
        assert len(set(family)) == len(variable.options)
        assert [one.choices[index] for one in family] == list(range(len(variable.options)))
        if variable.name != "depth":  # which decides what else is read
            assert len({one.choices[:index] + one.choices[index + 1 :] for one in family}) == 1


def test_a_variable_without_a_family_is_named() -> None:
    class Forgets(ToySpace):
        def canonicalize(self, choices_NV):
            canonical_NV = super().canonicalize(choices_NV)
            canonical_NV[:, 3] = 0
            return canonical_NV

    with pytest.raises(SpaceError, match=r"block2\.kernel_size of the space toy must .* where all of 3, 5 count"):
        SpaceUnderTest(Forgets()).family(3)


def test_the_choice_that_breaks_a_sound_architecture_is_named(toy) -> None:
    def fault(architecture):
        return "it breaks" if architecture.choices[0] == 2 and architecture.choices[4] == 1 else None

    with pytest.raises(SpaceError) as caught:
        toy.require(toy.architectures, "must hold", fault, do="Mend it")
    expected = "The space toy with depth=3 and block2.expand_ratio=2 must hold, but it breaks. Mend it."
    assert str(caught.value) == expected


def test_one_of_several_choices_that_each_break_it_is_named(toy) -> None:
    def fault(architecture):
        return "it breaks" if 1 in architecture.choices[3:5] else None

    with pytest.raises(SpaceError, match=r"^The space toy with (block2\.\w+=\d|depth=\d) must hold, but it breaks\.$"):
        toy.require([toy.space.largest()], "must hold", fault)


def test_where_all_are_faulty_no_choice_is_blamed(toy) -> None:
    with pytest.raises(SpaceError, match=r"^The space toy, in each of \d architectures, must hold, but no\.$"):
        toy.require(toy.architectures, "must hold", lambda architecture: "no")


def test_an_exception_is_a_fault(toy) -> None:
    def fault(architecture):
        raise KeyError("mid_channels")

    assert said(fault, toy.networks[0]) == "it raises KeyError: 'mid_channels'"


def test_randomized_norms_hide_nothing() -> None:
    space = ToySpace()
    supernet = space.supernet()
    randomize(supernet, space, seed=0)
    norms = [module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not supernet.training
    for norm in norms:
        assert norm.momentum == 0.1
        for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert value is not None
            assert value.isfinite().all()
            assert value.unique().numel() > 1
        assert (norm.weight > 0).all()


def test_only_what_is_all_alike_is_bent() -> None:
    layers = nn.ModuleDict({"norm": nn.LayerNorm(8), "linear": nn.Linear(8, 8), "zero": nn.Linear(8, 8, bias=False)})
    nn.init.zeros_(layers["zero"].weight)
    before = layers["linear"].weight.clone()
    bend(layers, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layers["linear"].weight, before)
    assert 0.4 < layers["norm"].weight.min() < layers["norm"].weight.max() < 1.6
    assert layers["norm"].bias.unique().numel() == 8
    assert 0 < layers["zero"].weight.abs().max() < 0.3


def test_statistics_are_bent_in_proportion() -> None:
    norm = nn.BatchNorm2d(50)
    norm.running_var.fill_(100.0)
    bend_statistics(norm, generator=torch.Generator().manual_seed(0))
    assert 2 < norm.running_mean.abs().max() <= 3
    assert 50 <= norm.running_var.min() < norm.running_var.max() <= 150


def test_raw_choices_are_valid(toy) -> None:
    raw_NV = toy.raw_choices_NV
    assert raw_NV.shape == (30, 7)
    assert ((raw_NV >= 0) & (raw_NV < toy.space.num_options_V)).all()
    assert np.any(raw_NV != toy.space.canonicalize(raw_NV))
