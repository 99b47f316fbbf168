"""The fixed layers, against their definitions written out by hand."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from hwnas.layers import ACTIVATIONS, Classifier, ConvBNAct, MBConv, SqueezeExcite


@torch.no_grad()
def randomize(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Every weight and statistic random, so that nothing hides; double precision, evaluation mode."""
    module.double().eval()
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -1.0
            value.uniform_(low, 1.5, generator=generator)
    return module


def images(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def normalized(x_BCHW: Tensor, bn: nn.BatchNorm2d) -> Tensor:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    mean, var, weight, bias = (v[:, None, None] for v in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    return (x_BCHW - mean) / (var + bn.eps).sqrt() * weight + bias


def hard_sigmoid(x: Tensor) -> Tensor:
    return ((x + 3) / 6).clamp(0, 1)


BY_HAND = {"identity": lambda x: x, "relu": lambda x: x.clamp(min=0), "hard_swish": lambda x: x * hard_sigmoid(x)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_what_they_are_called(activation: str) -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[activation]()(x.clone()), BY_HAND[activation](x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("groups", [1, 4])
def test_conv_bn_act_is_a_convolution_a_batch_norm_and_an_activation(
    activation: str, groups: int, generator: torch.Generator
) -> None:
    layer = ConvBNAct(4, 8, kernel_size=3, stride=2, groups=groups, activation=activation)
    randomize(layer, generator)
    x_BCHW = images(generator, 2, 4, 7, 6)
    convolved = nn.functional.conv2d(x_BCHW, layer.conv.weight, stride=2, padding=1, groups=groups)
    torch.testing.assert_close(layer(x_BCHW), BY_HAND[activation](normalized(convolved, layer.bn)))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 5), (8, 3)])
def test_sizes_shrink_by_the_stride_rounded_up(kernel_size: int, stride: int, size: tuple[int, int]) -> None:
    """Whatever the kernel: `operators` and the elastic layers rely on it."""
    expected = (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    with torch.device("meta"):
        plain = ConvBNAct(3, 5, kernel_size=kernel_size, stride=stride).eval()
        block = MBConv(3, 5, mid_channels=6, kernel_size=kernel_size, stride=stride, se_channels=2).eval()
        x_BCHW = torch.empty(2, 3, *size)
        assert plain(x_BCHW).shape == (2, 5, *expected)
        assert block(x_BCHW).shape == (2, 5, *expected)


def test_squeeze_excite_scales_each_channel_by_its_gate(generator: torch.Generator) -> None:
    layer = SqueezeExcite(6, 2)
    randomize(layer, generator)
    x_BCHW = images(generator, 2, 6, 3, 4)
    mean_BC = x_BCHW.mean((2, 3))
    assert layer.reduce.bias is not None
    assert layer.expand.bias is not None
    squeezed_BS = (mean_BC @ layer.reduce.weight[:, :, 0, 0].T + layer.reduce.bias).clamp(min=0)
    gate_BC = hard_sigmoid(squeezed_BS @ layer.expand.weight[:, :, 0, 0].T + layer.expand.bias)
    assert gate_BC.unique().numel() > 2
    torch.testing.assert_close(layer(x_BCHW), x_BCHW * gate_BC[:, :, None, None])


@pytest.mark.parametrize("se_channels", [0, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("in_channels", "out_channels"), [(4, 4), (4, 6)])
@pytest.mark.parametrize("mid_channels", [4, 12])
def test_mbconv_is_its_parts_one_after_the_other(
    in_channels: int, out_channels: int, mid_channels: int, stride: int, se_channels: int, generator: torch.Generator
) -> None:
    block = MBConv(
        in_channels, out_channels, mid_channels=mid_channels, kernel_size=5, stride=stride, se_channels=se_channels
    )
    randomize(block, generator)
    x_BCHW = images(generator, 2, in_channels, 7, 6)
    given = x_BCHW.clone()
    y_BCHW = x_BCHW
    if mid_channels == in_channels:
        assert block.expand is None
    else:
        assert block.expand is not None
        y_BCHW = block.expand(y_BCHW)
    y_BCHW = block.depthwise(y_BCHW)
    if se_channels:
        assert block.squeeze_excite is not None
        y_BCHW = block.squeeze_excite(y_BCHW)
    y_BCHW = normalized(nn.functional.conv2d(y_BCHW, block.project.conv.weight), block.project.bn)
    skips = stride == 1 and in_channels == out_channels
    torch.testing.assert_close(block(x_BCHW), x_BCHW + y_BCHW if skips else y_BCHW)
    assert torch.equal(x_BCHW, given)  # activations in place must not reach the input, which the skip adds
    assert block.depthwise.conv.groups == mid_channels


def test_a_new_block_with_a_skip_is_the_identity(generator: torch.Generator) -> None:
    """Goyal et al., 2017: the last batch norm of a residual branch starts at zero."""
    x_BCHW = torch.randn(4, 6, 5, 5, generator=generator)
    torch.testing.assert_close(MBConv(6, 6, mid_channels=12, kernel_size=3)(x_BCHW), x_BCHW)
    assert not torch.allclose(MBConv(6, 6, mid_channels=12, kernel_size=3, stride=2)(x_BCHW), x_BCHW[..., ::2, ::2])


def test_classifier_is_convolution_average_hidden_layer_logits(generator: torch.Generator) -> None:
    layer = Classifier(4, num_classes=3, last_channels=10, hidden_features=7)
    randomize(layer, generator)
    x_BCHW = images(generator, 2, 4, 3, 5)
    pooled_BC = layer.conv(x_BCHW).flatten(2).sum(2) / 15
    hidden_BF = BY_HAND["hard_swish"](pooled_BC @ layer.hidden.weight.T + layer.hidden.bias)
    torch.testing.assert_close(layer(x_BCHW), hidden_BF @ layer.logits.weight.T + layer.logits.bias)
    assert layer(x_BCHW).shape == (2, 3)


def test_layers_train_every_weight(generator: torch.Generator) -> None:
    """No weight is left out of the graph."""
    torch.manual_seed(0)
    network = nn.Sequential(
        ConvBNAct(2, 4, kernel_size=3),
        MBConv(4, 4, mid_channels=8, kernel_size=3, se_channels=4),
        Classifier(4, num_classes=3, last_channels=6, hidden_features=5),
    ).double()
    before = copy.deepcopy(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):  # the zero batch norm of the skip holds back the weights before it for a step
        optimizer.zero_grad()
        network(images(generator, 8, 2, 6, 6)).square().sum().backward()
        optimizer.step()
    for (name, new), old in zip(network.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(new, old), name
