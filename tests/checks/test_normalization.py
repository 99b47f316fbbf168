"""Statistics that are not recalibrated are found, whoever is to blame."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from hwnas.checks import Skipped, SpaceUnderTest
from hwnas.checks.normalization import check_recalibration
from hwnas.errors import SpaceError
from hwnas.layers import ConvBNAct
from hwnas.testing import ToySpace
from hwnas.training import evaluate


def test_recalibration_happens(toy) -> None:
    assert check_recalibration(toy) == "20 batch norms of 2 networks"


def test_a_space_without_batch_norm_is_skipped(tokens) -> None:
    assert check_recalibration(tokens) == Skipped("it has no batch norm")


def test_an_evaluation_that_forgets_it_is_found(toy, monkeypatch) -> None:
    monkeypatch.setattr(evaluate, "recalibrate_batch_norm", lambda network, batches: network.eval())
    with pytest.raises(SpaceError, match=r"those of operator0\.bn are .* deviations from the true ones"):
        check_recalibration(toy)


def test_an_evaluation_by_other_images_is_found(toy, monkeypatch) -> None:
    true = evaluate.recalibrate_batch_norm
    monkeypatch.setattr(
        evaluate, "recalibrate_batch_norm", lambda network, batches: true(network, [one + 0.5 for one in batches])
    )
    with pytest.raises(SpaceError, match="deviations from the true ones"):
        check_recalibration(toy)


class Stubborn(nn.BatchNorm2d):
    """Never in training."""

    def train(self, mode=True):
        return super().train(False)


class OwnNorm(nn.Module):
    """A batch norm that nobody knows as one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x_BCHW):
        return x_BCHW - self.running_mean[:, None, None]


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (Stubborn, r"those of operator0\.bn are .* deviations from the true ones"),
        (OwnNorm, r"OwnNorm operator0\.bn keeps statistics and is no torch\.nn\.BatchNorm2d"),
    ],
)
def test_a_norm_that_cannot_be_recalibrated_is_named(norm, said) -> None:
    class Conv(ConvBNAct):
        def __init__(self, in_channels, out_channels, **options):
            super().__init__(in_channels, out_channels, **options)
            self.bn = norm(out_channels)

    class Space(ToySpace):
        layers: ClassVar = {**ToySpace.layers, "conv_bn_act": Conv}

    with pytest.raises(SpaceError, match=said):
        check_recalibration(SpaceUnderTest(Space()))
