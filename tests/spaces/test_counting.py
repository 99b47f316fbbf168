import pytest
import torch
from torch import nn

from hwnas.layers import Classifier, ConvBNAct, MBConv
from hwnas.spaces.counting import OperatorCounts, count


def on_meta(make: type, *args: object, **keywords: object) -> nn.Module:
    with torch.device("meta"):
        module: nn.Module = make(*args, **keywords)
    return module


def test_a_convolution() -> None:
    layer = on_meta(ConvBNAct, 3, 8, kernel_size=5, stride=2)
    assert count(layer, (3, 9, 7)) == OperatorCounts(5 * 4 * 8 * 3 * 25, 8 * 3 * 25 + 2 * 8, (8, 5, 4))


@pytest.mark.parametrize("squeezed", [0, 4])
def test_an_inverted_residual_block(squeezed: int) -> None:
    layer = on_meta(MBConv, 6, 10, mid_channels=18, kernel_size=3, stride=2, se_channels=squeezed)
    macs = 64 * 6 * 18 + 16 * 18 * 9 + 16 * 18 * 10 + 2 * 18 * squeezed
    squeeze_parameters = 2 * 18 * squeezed + squeezed + 18 if squeezed else 0
    parameters = 6 * 18 + 2 * 18 + 18 * 9 + 2 * 18 + 18 * 10 + 2 * 10 + squeeze_parameters
    assert count(layer, (6, 8, 8)) == OperatorCounts(macs, parameters, (10, 4, 4))


def test_a_classifier() -> None:
    layer = on_meta(Classifier, 6, num_classes=5, last_channels=20, hidden_features=30)
    macs = 12 * 6 * 20 + 20 * 30 + 30 * 5
    parameters = 6 * 20 + 2 * 20 + 20 * 30 + 30 + 30 * 5 + 5
    assert count(layer, (6, 3, 4)) == OperatorCounts(macs, parameters, (5,))


def test_activations_and_batch_norm_cost_nothing() -> None:
    assert count(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()).to("meta"), (4, 8, 8)) == OperatorCounts(0, 8, (4, 8, 8))
