"""FBNet's block, against its definition written out by hand."""

import pytest
import torch
from torch import Tensor, nn

from hwnas.layers import ConvBNAct, GroupedMBConv


@torch.no_grad()
def randomized(layer: GroupedMBConv, generator: torch.Generator) -> GroupedMBConv:
    layer.double().eval()
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.is_floating_point():
            value.uniform_(0.5 if name.endswith("running_var") else -1.0, 1.5, generator=generator)
    return layer


def convolved(layer: ConvBNAct, x_BCHW: Tensor, *, stride: int = 1, groups: int = 1) -> Tensor:
    """One convolution a group, then batch norm, without torch's own groups."""
    weights = layer.conv.weight.chunk(groups)
    padding = layer.conv.weight.shape[-1] // 2
    parts = [
        nn.functional.conv2d(part, weight, stride=stride, padding=padding)
        for part, weight in zip(x_BCHW.chunk(groups, dim=1), weights, strict=True)
    ]
    y = torch.cat(parts, dim=1)
    bn = layer.bn
    assert bn.running_mean is not None
    assert bn.running_var is not None
    mean, var, weight, bias = (v[:, None, None] for v in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    return (y - mean) / (var + bn.eps).sqrt() * weight + bias


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "out_channels"), [(1, 4), (1, 6), (2, 4)])
@pytest.mark.parametrize(("kernel_size", "mid_channels"), [(3, 4), (5, 12)])
def test_it_is_three_convolutions_with_a_shuffle_after_the_first(
    groups: int, stride: int, out_channels: int, kernel_size: int, mid_channels: int, generator: torch.Generator
) -> None:
    layer = GroupedMBConv(
        4, out_channels, mid_channels=mid_channels, kernel_size=kernel_size, stride=stride, groups=groups
    )
    randomized(layer, generator)
    x_BCHW = torch.randn(2, 4, 7, 6, generator=generator, dtype=torch.float64)
    y = convolved(layer.expand, x_BCHW, groups=groups).relu()
    order = [
        group * mid_channels // groups + index for index in range(mid_channels // groups) for group in range(groups)
    ]
    y = convolved(layer.depthwise, y[:, order], stride=stride, groups=mid_channels).relu()
    y = convolved(layer.project, y, groups=groups)
    torch.testing.assert_close(layer(x_BCHW), x_BCHW + y if stride == 1 and out_channels == 4 else y)


def test_groups_halve_the_1x1_convolutions() -> None:
    one, two = (GroupedMBConv(8, 8, mid_channels=8, kernel_size=3, groups=groups) for groups in (1, 2))
    count = [sum(parameter.numel() for parameter in layer.parameters()) for layer in (one, two)]
    assert count[0] - count[1] == 8 * 8
    assert count[0] == 2 * 8 * 8 + 9 * 8 + 3 * 2 * 8


def test_a_block_with_a_skip_begins_as_the_identity(generator: torch.Generator) -> None:
    x_BCHW = torch.randn(2, 4, 5, 5, generator=generator)
    assert torch.equal(GroupedMBConv(4, 4, mid_channels=8, kernel_size=3, groups=2)(x_BCHW), x_BCHW)
    assert not torch.equal(GroupedMBConv(4, 4, mid_channels=8, kernel_size=3, stride=2)(x_BCHW), x_BCHW[..., ::2, ::2])
