"""A step whose passes are counted, on a real supernet."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from hwnas.spaces import MobileNetV3
from hwnas.training.methods import Step


class Passes:
    """Which architectures were passed forward, and the losses that were passed back."""

    def __init__(self, network, *, progress=0.0, held_out=False, seed=0):
        self.network = network
        self.architectures = []
        self.losses = []

        def noted(architecture):
            self.architectures.append(architecture)
            type(network).activate(network, architecture)

        network.activate = noted
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(6, *network.input_shape, generator=generator)
        target = nn.functional.one_hot(torch.arange(6) % 10, 10).float()
        self.averaged = []
        self.step = Step(
            x,
            target,
            (lambda: (x, target)) if held_out else None,
            np.random.default_rng(seed),
            progress,
            contextlib.nullcontext,
            self._scaled,
            lambda parameters: self.averaged.extend(parameters),
        )

    def _scaled(self, loss):
        self.losses.append(loss.item())
        return loss


@pytest.fixture(scope="session")
def space():
    return MobileNetV3((1, 8, 8), 10, width_mult=0.1)


@pytest.fixture
def network(space):
    torch.manual_seed(0)
    network = space.supernet().train()
    network.input_shape = space.input_shape
    return network


@pytest.fixture
def passes(network):
    def make(of=network, **arguments):
        return Passes(of, **arguments)

    return make


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
