"""The layers of NAS-Bench-201's networks, against their definitions written out by hand."""

import pytest
import torch
from torch import nn

from hwnas.layers import AveragePool, Cell, NormClassifier, ReLUConvBN, ResidualReduction, Skip, Zero


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_nothing_is_zeros_that_keep_what_is_before_them() -> None:
    x_BCHW = images(2, 3, 4, 5).requires_grad_()
    out_BCHW = Zero(3)(x_BCHW)
    assert torch.equal(out_BCHW, torch.zeros(2, 3, 4, 5))
    out_BCHW.sum().backward()
    assert x_BCHW.grad is not None
    assert not x_BCHW.grad.any()


def test_a_skip_gives_what_comes() -> None:
    x_BCHW = images(2, 3, 4, 5)
    assert torch.equal(Skip(3)(x_BCHW), x_BCHW)


def test_an_average_is_over_the_pixels_that_are_there() -> None:
    x_BCHW = images(1, 2, 4, 5)
    out_BCHW = AveragePool(2)(x_BCHW)
    assert out_BCHW.shape == x_BCHW.shape
    torch.testing.assert_close(out_BCHW[..., 0, 0], x_BCHW[..., :2, :2].mean((2, 3)))
    torch.testing.assert_close(out_BCHW[..., 2, 3], x_BCHW[..., 1:4, 2:5].mean((2, 3)))


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_is_behind_its_activation(kernel_size: int, stride: int) -> None:
    layer = ReLUConvBN(3, 4, kernel_size=kernel_size, stride=stride).eval()
    x_BCHW = images(2, 3, 7, 5)
    kept = x_BCHW.clone()
    out_BCHW = layer(x_BCHW)
    assert torch.equal(x_BCHW, kept)
    weight = layer.conv.weight
    expected = nn.functional.conv2d(x_BCHW.clamp(min=0), weight, stride=stride, padding=kernel_size // 2)
    torch.testing.assert_close(out_BCHW, expected / (1 + layer.bn.eps) ** 0.5)
    assert sum(one.numel() for one in layer.parameters()) == 3 * 4 * kernel_size**2 + 2 * 4


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_reduction_is_two_convolutions_beside_an_averaged_shortcut(stride: int, size: tuple[int, int]) -> None:
    layer = ResidualReduction(3, 6, stride=stride).eval()
    x_BCHW = images(2, 3, *size)
    out_BCHW = layer(x_BCHW)
    assert out_BCHW.shape == (2, 6, *(-(-side // stride) for side in size))
    shortcut = out_BCHW - layer.second(layer.first(x_BCHW))
    corner = layer.project(x_BCHW[..., :stride, :stride].mean((2, 3), keepdim=True))
    torch.testing.assert_close(shortcut[..., :1, :1], corner)
    assert sum(one.numel() for one in layer.parameters()) == 3 * 6 * 9 + 6 * 6 * 9 + 3 * 6 + 4 * 6


def test_the_head_averages_behind_its_activation() -> None:
    layer = NormClassifier(4, num_classes=3).eval()
    x_BCHW = images(2, 4, 3, 2)
    pooled = (x_BCHW / (1 + layer.bn.eps) ** 0.5).clamp(min=0).mean((2, 3))
    torch.testing.assert_close(layer(x_BCHW), pooled @ layer.logits.weight.T + layer.logits.bias)


class Times(nn.Module):
    """Multiplies, and notes that it ran."""

    def __init__(self, factor: float, ran: list[float]) -> None:
        super().__init__()
        self.factor, self.ran = factor, ran

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        self.ran.append(self.factor)
        return self.factor * x_BCHW


def test_a_cell_sums_over_its_paths() -> None:
    """0>3, 0>1>3, 0>2>3 and 0>1>2>3."""
    ran: list[float] = []
    factors = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0]
    cell = Cell([Times(factor, ran) for factor in factors])
    assert cell(torch.ones(1)).item() == 7 + 2 * 11 + 3 * 13 + 2 * 5 * 13
    assert ran == factors


@pytest.mark.parametrize(("edges", "gives"), [(1, 1), (3, 2), (6, 4), (10, 8)])
def test_a_cell_has_the_nodes_of_its_edges(edges: int, gives: int) -> None:
    """With skips everywhere each node doubles what all before it sum to."""
    assert Cell([Skip(1) for _ in range(edges)])(torch.ones(1)).item() == gives


@pytest.mark.parametrize("edges", [0, 2, 4, 5, 7])
def test_other_numbers_of_edges_are_no_cell(edges: int) -> None:
    with pytest.raises(ValueError, match=f"1, 3, 6, 10, … edges and not {edges}"):
        Cell([Skip(1) for _ in range(edges)])
