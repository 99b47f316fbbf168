"""The layers of ResNet-D, against their definitions written out by hand."""

import pytest
import torch
from torch import nn

from hwnas.layers import Bottleneck, ConvBNAct, LinearClassifier, MaxPool, ResidualConv
from hwnas.layers.bottleneck import average_pool


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_block_is_three_convolutions_beside_a_shortcut() -> None:
    torch.manual_seed(0)
    block = Bottleneck(6, 8, mid_channels=4, stride=2).eval()
    x_BCHW = images(2, 6, 8, 8)
    assert block.project is not None
    shortcut = block.project(nn.functional.avg_pool2d(x_BCHW, 2))
    expected = (shortcut + block.expand(block.conv(block.reduce(x_BCHW)))).clamp(min=0)
    torch.testing.assert_close(block(x_BCHW), expected)
    kinds = [layer.conv.kernel_size[0] for layer in (block.reduce, block.conv, block.expand, block.project)]
    assert kinds == [1, 3, 1, 1]
    assert block.conv.conv.stride == (2, 2)
    assert isinstance(block.expand.act, nn.Identity)


def test_an_identity_block_starts_as_a_relu() -> None:
    """The batch norm before the sum starts at zero, so that a new block hinders nothing."""
    block = Bottleneck(8, 8, mid_channels=4, shortcut="identity").eval()
    x_BCHW = images(2, 8, 5, 5)
    torch.testing.assert_close(block(x_BCHW), x_BCHW.clamp(min=0))
    assert block.project is None
    projecting = Bottleneck(8, 8, mid_channels=4).eval()
    assert projecting.project is not None
    assert (projecting.expand.bn.weight == 1).all()


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 3), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_both_ways_shrink_alike(stride: int, size: tuple[int, int]) -> None:
    """And at the far edges of odd sides the average is over the pixels that are there."""
    block = Bottleneck(3, 8, mid_channels=4, stride=stride).eval()
    expected = (2, 8, -(-size[0] // stride), -(-size[1] // stride))
    assert block(images(2, 3, *size)).shape == expected
    ones = torch.ones(1, 3, *size)
    pooled = average_pool(stride)(ones)
    torch.testing.assert_close(pooled, torch.ones_like(pooled))


@pytest.mark.parametrize(
    ("channels", "stride", "shortcut"), [((4, 8), 1, "identity"), ((8, 8), 2, "identity"), ((8, 8), 1, "none")]
)
def test_a_shortcut_that_does_not_fit_is_refused(channels: tuple[int, int], stride: int, shortcut: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Bottleneck(*channels, mid_channels=4, stride=stride, shortcut=shortcut)


def test_the_residual_convolution_is_added_to_what_comes_in() -> None:
    layer = ResidualConv(4).eval()
    x_BCHW = images(2, 4, 5, 6)
    assert isinstance(layer.conv, ConvBNAct)
    torch.testing.assert_close(layer(x_BCHW) - x_BCHW, layer.conv(x_BCHW))


def test_the_pooling_takes_the_maximum_of_three_by_three() -> None:
    x_BCHW = torch.arange(25.0).reshape(1, 1, 5, 5)
    assert MaxPool(1)(x_BCHW).flatten().tolist() == [6, 8, 9, 16, 18, 19, 21, 23, 24]


def test_the_head_averages_then_multiplies() -> None:
    torch.manual_seed(1)
    head = LinearClassifier(4, num_classes=3)
    x_BCHW = images(2, 4, 5, 5)
    torch.testing.assert_close(head(x_BCHW), x_BCHW.mean((2, 3)) @ head.logits.weight.T)
