"""What all methods offer, and how they are found."""

import pytest

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.training.methods import METHODS, TrainingMethod, find_method, make_method, weighs_latency


def costs(space, name):
    return [0.1] * len(space.all_operators()) if weighs_latency(name) else None


@pytest.mark.parametrize("name", METHODS)
def test_a_step_gives_gradients_and_tells_of_the_loss(space, network, passes, name):
    method = make_method(name, space, cost_ms=costs(space, name))
    assert isinstance(method, TrainingMethod)
    assert method.name == name
    given = passes(held_out=True)
    method.prepare(network, 0.0)
    trained = method.step(network, given.step)
    assert trained.logits_BK.shape == (6, 10)
    assert trained.loss.item() > 0
    assert not trained.logits_BK.requires_grad
    assert given.losses
    assert sum(parameter.grad is not None for parameter in network.parameters()) > 20
    method.finish(network, given.step)
    method.load_state_dict(method.state_dict())
    assert all(isinstance(value, float) for value in method.notes().values())


@pytest.mark.parametrize("name", [name for name in METHODS if name != "differentiable"])
def test_sub_networks_follow_from_the_steps_generator(space, network, passes, name):
    drawn = []
    for seed in (1, 1, 2):
        given = passes(progress=0.9, seed=seed)
        make_method(name, space).step(network, given.step)
        drawn.append(given.architectures)
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_an_unknown_method_names_the_nearest(space):
    with pytest.raises(UnknownNameError, match="sandwich"):
        find_method("sandwhich")


def test_an_unknown_option_names_the_nearest(space):
    with pytest.raises(UnknownNameError, match="random_subnets"):
        make_method("sandwich", space, options={"random_subnet": 3})
    with pytest.raises(UnknownNameError, match="option"):
        make_method("differentiable", space, options={"cost_ms": 3})


def test_options_are_numbers(space):
    with pytest.raises(SettingsError, match="must be a number"):
        make_method("sandwich", space, options={"random_subnets": "two"})


def test_only_the_differentiable_one_weighs_latency():
    assert [name for name in METHODS if weighs_latency(name)] == ["differentiable"]
