"""What a step offers to a method, and what a method that keeps nothing offers by itself."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.training.methods.method import Step, TrainingMethod, cross_entropy


class Forgetful(TrainingMethod):
    name = "forgetful"

    def step(self, network, step):
        raise NotImplementedError


def step(*, autocast=contextlib.nullcontext, scale=1.0):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    target = nn.functional.one_hot(torch.tensor([0, 1, 1]), 2).float()
    return Step(
        x, target, None, np.random.default_rng(0), 0.5, autocast, lambda loss: scale * loss, lambda parameters: None
    )


def test_a_forward_pass_runs_in_the_steps_precision_and_gives_floats():
    network = nn.Linear(4, 2)
    plain = step().forward(network)
    assert torch.equal(plain, network(step().x_BCHW))
    half = step(autocast=lambda: torch.autocast("cpu", torch.bfloat16)).forward(network)
    assert half.dtype == torch.float32
    assert not torch.equal(half, plain)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_gradients_are_of_the_scaled_loss_and_add_up(scale):
    network = nn.Linear(4, 2)
    given = step(scale=scale)
    for _ in range(2):
        given.backward(cross_entropy(given.forward(network), given.target_BK))
    expected = torch.autograd.grad(
        2 * scale * nn.functional.cross_entropy(network(given.x_BCHW), torch.tensor([0, 1, 1])), network.weight
    )[0]
    torch.testing.assert_close(network.weight.grad, expected)


def test_a_method_writes_its_step():
    with pytest.raises(TypeError, match="abstract"):
        TrainingMethod()


def test_one_that_keeps_nothing_writes_nothing_else():
    method = Forgetful()
    assert method.held_out_share == 0.0
    assert method.state_dict() == method.notes() == {}
    assert method.preferred() is None
    assert not method.prepare(nn.Linear(1, 1), 0.5)
    method.load_state_dict({})
    method.to(torch.device("cpu"))
    method.finish(nn.Linear(1, 1), step())
    method.check(nn.Linear(1, 1), step().x_BCHW)
