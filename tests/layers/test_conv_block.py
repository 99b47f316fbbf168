"""ConvBlock, and its elastic form that equals plain ones with the sliced weights."""

import itertools

import pytest
import torch
from torch import nn

from hwnas.layers import ConvBlock, ElasticConvBlock, ElasticInput, SeparableConv

Attributes = dict[str, int | str]


@torch.no_grad()
def randomized(layer: nn.Module) -> nn.Module:
    """Every weight and statistic random, in double precision and evaluation."""
    generator = torch.Generator().manual_seed(1)
    layer.double().eval()
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.is_floating_point():
            value.uniform_(0.5 if name.endswith("running_var") else -1.0, 1.5, generator=generator)
    return layer


@pytest.mark.parametrize("convolution", ["dense", "separable"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_a_convolution_with_batch_norm_and_relu(convolution: str, stride: int) -> None:
    block = randomized(ConvBlock(4, 6, convolution=convolution, stride=stride))
    x_BCHW = torch.randn(2, 4, 5, 7, dtype=torch.double)
    out_BCHW = block(x_BCHW)
    torch.testing.assert_close(out_BCHW, block.bn(block.conv(x_BCHW)).relu())
    assert out_BCHW.shape == (2, 6, (5 + stride - 1) // stride, (7 + stride - 1) // stride)


def test_a_separable_convolution_is_a_dense_one_of_rank_1() -> None:
    conv = randomized(SeparableConv(3, 5, 2))
    kernel = conv.pointwise.weight * conv.depthwise.weight.transpose(0, 1)
    x_BCHW = torch.randn(2, 3, 6, 6, dtype=torch.double)
    torch.testing.assert_close(conv(x_BCHW), nn.functional.conv2d(x_BCHW, kernel, stride=2, padding=1))


def test_a_new_shortcut_does_nothing_and_a_learnt_one_adds_the_input() -> None:
    block, without = ConvBlock(4, 4, convolution="dense", shortcut=1), ConvBlock(4, 4, convolution="dense")
    without.load_state_dict({name: value for name, value in block.state_dict().items() if name != "shortcut_scale"})
    x_BCHW = torch.randn(2, 4, 5, 5)
    assert torch.equal(block.eval()(x_BCHW), without.eval()(x_BCHW))
    nn.init.constant_(block.shortcut_scale, 2.0)
    torch.testing.assert_close(block(x_BCHW), (block.bn(block.conv(x_BCHW)) + 2 * x_BCHW).relu())
    block(x_BCHW).sum().backward()
    assert block.shortcut_scale.grad.abs().min() > 0


@pytest.mark.parametrize("given", [{"stride": 2}, {"out_channels": 5}])
def test_a_shortcut_that_does_not_fit_is_refused(given: Attributes) -> None:
    with pytest.raises(ValueError, match="a shortcut does not fit"):
        ConvBlock(4, **{"out_channels": 4, "convolution": "dense", "shortcut": 1, **given})


@pytest.mark.parametrize(
    ("convolution", "channels", "shortcut"), list(itertools.product(["dense", "separable"], [6, 4, 1], [0, 1]))
)
def test_elastic_equals_plain(convolution: str, channels: int, shortcut: int) -> None:
    layer = randomized(ElasticConvBlock(6, 6, convolution="dense", shortcut=1))
    assert isinstance(layer, ElasticInput)
    attributes: Attributes = {"out_channels": channels, "convolution": convolution, "stride": 1, "shortcut": shortcut}
    layer.activate(attributes)
    plain = layer.extract_from(channels, attributes)
    assert type(plain) is ConvBlock
    assert plain.state_dict().keys() == ConvBlock(channels, **attributes).state_dict().keys()
    x_BCHW = torch.randn(2, channels, 5, 5, dtype=torch.double)
    torch.testing.assert_close(layer(x_BCHW), plain(x_BCHW))
    assert layer(x_BCHW).abs().max() > 0


def test_another_number_of_channels_comes_in_than_goes_out() -> None:
    layer = randomized(ElasticConvBlock(4, 8, convolution="dense", stride=2))
    for kind, channels in (("dense", 4), ("separable", 3)):
        attributes: Attributes = {"out_channels": 6, "convolution": kind, "stride": 2, "shortcut": 0}
        layer.activate(attributes)
        x_BCHW = torch.randn(2, channels, 5, 5, dtype=torch.double)
        torch.testing.assert_close(layer(x_BCHW), layer.extract_from(channels, attributes)(x_BCHW))


def test_only_the_convolutions_that_are_chosen_from_are_held() -> None:
    def kinds(convolution: str) -> list[str]:
        return list(ElasticConvBlock(2, 2, convolution=convolution).kinds)

    assert kinds("separable") == ["separable"]
    assert kinds("dense") == ["separable", "dense"]


def test_what_is_extracted_has_weights_of_its_own() -> None:
    layer = ElasticConvBlock(4, 4, convolution="dense")
    attributes: Attributes = {"out_channels": 4, "convolution": "dense", "stride": 1, "shortcut": 0}
    plain = layer.extract(attributes)
    nn.init.zeros_(plain.conv.weight)
    assert layer.kinds["dense"].widest.conv.weight.abs().min() > 0
