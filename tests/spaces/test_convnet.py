"""What is particular to convnet: its steps are network morphisms."""

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.checks.subject import bend, bend_statistics
from hwnas.errors import SettingsError
from hwnas.spaces import Architecture, ConvNet, MobileNetV3, ResNet, SearchSpace
from hwnas.testing import ToySpace
from hwnas.testing.space_contract import SpaceContract

CONVNET = ConvNet((1, 8, 8), 10)
MOBILENET = MobileNetV3((1, 8, 8), 10, width_mult=0.1)
RESNET = ResNet((1, 8, 8), 10, width_mult=[0.05, 0.1], expand_ratio=[0.5, 1.5])
IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def trained_like(space: SearchSpace, architecture: Architecture, seed: int) -> nn.Module:
    """A network in evaluation all of whose weights and statistics are random."""
    generator = torch.Generator().manual_seed(seed)
    network = space.build(architecture)
    bend(network, generator=generator)
    network.train()(torch.randn(32, *space.input_shape, generator=generator))
    bend_statistics(network, generator=generator)
    return network.eval()


@torch.no_grad()
def apart(space: SearchSpace, network: nn.Module, parent: Architecture, child: Architecture) -> float:
    """How far the logits of a child that was not trained are from its parent's, as a share of the largest."""
    expected = network(IMAGES)
    found = space.inherit(network, parent, child).eval()(IMAGES)
    return float((found - expected).abs().max() / expected.abs().max())


def changed(space: SearchSpace, one: Architecture, other: Architecture) -> str:
    pairs = zip(space.variables, one.choices, other.choices, strict=True)
    return next(variable.name.split(".")[-1] for variable, before, now in pairs if before != now)


@pytest.mark.parametrize("space", [CONVNET, MOBILENET], ids=lambda space: space.name)
def test_steps_that_keep_the_function_do_so(space: SearchSpace) -> None:
    """Every kind of growth, from random networks with random statistics."""
    kinds = set()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        parent = space.sample(rng)
        network = trained_like(space, parent, seed)
        larger = [one for one in space.neighbors(parent) if space.keeps_function(parent, one)]
        rng.shuffle(larger)
        larger = larger[:8]
        kinds |= {changed(space, parent, one) for one in larger}
        assert max(apart(space, network, parent, one) for one in larger) < 1e-5
    assert kinds == {variable.name.split(".")[-1] for variable in space.variables}


@pytest.mark.parametrize("space", [CONVNET, MOBILENET], ids=lambda space: space.name)
def test_many_steps_at_once_keep_it_too(space: SearchSpace) -> None:
    parent = space.smallest()
    network = trained_like(space, parent, 1)
    assert space.keeps_function(parent, space.largest())
    assert apart(space, network, parent, space.largest()) < 1e-5


def test_steps_to_smaller_networks_do_not_but_come_near() -> None:
    """Nearer than random weights: logits go with the parent's."""
    space, similar = CONVNET, []
    for seed in range(2):
        parent = space.sample(np.random.default_rng(seed))
        network = trained_like(space, parent, seed)
        smaller = [one for one in space.neighbors(parent) if not space.keeps_function(parent, one)]
        assert smaller
        for child in smaller:
            assert apart(space, network, parent, child) > 1e-4
            with torch.no_grad():
                inherited = space.inherit(network, parent, child).eval()(IMAGES)
                pairs = torch.stack([inherited.flatten(), network(IMAGES).flatten()])
            similar.append(float(torch.corrcoef(pairs)[0, 1]))
    assert np.median(similar) > 0.9


def test_a_network_inherits_itself() -> None:
    for space in (CONVNET, MOBILENET, ToySpace((1, 8, 8), 10), RESNET):
        parent = space.sample(np.random.default_rng(3))
        assert apart(space, trained_like(space, parent, 3), parent, parent) < 1e-6


def test_every_architecture_inherits_from_every_other() -> None:
    """Whatever is pruned, inserted and widened at once: it runs, and the parent stays as it is."""
    rng = np.random.default_rng(0)
    wide = MobileNetV3((1, 8, 8), 10, width_mult=[0.1, 0.3], resolution=[6, 8])
    for space in (CONVNET, wide, ToySpace((1, 8, 8), 10), RESNET):
        for _ in range(3):
            parent, child = space.sample(rng), space.sample(rng)
            network = trained_like(space, parent, 0)
            before = {name: value.clone() for name, value in network.state_dict().items()}
            logits = space.inherit(network, parent, child).eval()(IMAGES)
            assert logits.shape == (5, 10)
            assert logits.isfinite().all()
            assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_another_width_or_resolution_of_mobilenetv3_is_no_morphism() -> None:
    space = MobileNetV3((1, 8, 8), 10, width_mult=[0.1, 0.3], resolution=[6, 8])
    kept = [one for one in space.neighbors(space.smallest()) if space.keeps_function(space.smallest(), one)]
    assert kept
    assert {one.choices[:2] for one in kept} == {(0, 0)}


def test_it_describes_its_stages() -> None:
    assert CONVNET.describe(CONVNET.smallest()) == "w0.25 s | w0.25 s | w0.25 s"
    assert CONVNET.describe(CONVNET.largest()) == " | ".join(["w1.0 d d+ d+ d+"] * 3)


def test_widths_that_are_one_after_rounding_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"different multiples of 8 of 32 channels, but 0\.1, 0\.2 give 8, 8"):
        ConvNet((1, 8, 8), 10, width_mult=[0.1, 0.2])


def test_one_width_is_no_variable() -> None:
    space = ConvNet((1, 8, 8), 10, width_mult=0.5)
    assert space.options == {"width_mult": 0.5}
    assert not any(variable.name.endswith("width_mult") for variable in space.variables)
    assert space.describe(space.smallest()) == "w0.5 s | w0.5 s | w0.5 s"


@pytest.mark.slow
def test_every_operator_exports() -> None:
    SpaceContract().check_export(CONVNET, CONVNET.all_operators())
