"""Layers that hold many fixed layers in one set of shared weights.

An elastic layer is told which fixed layer to be (`activate`) and can hand that one out with its own copy of the weights
(`extract`). What is shared: the first k channels of the widest layer, and the centre of the largest kernel (BigNAS,
Yu et al., ECCV 2020).

Shapes: B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hwnas.layers.mbconv import ConvBNAct, MBConv, SqueezeExcite

__all__ = ["Elastic", "ElasticMBConv", "Fixed", "Sortable"]


@runtime_checkable
class Elastic(Protocol):
    """What a layer with shared weights can do beside `forward`."""

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Makes `forward` act as the fixed layer that has these keyword arguments."""

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer that has these keyword arguments, with its own copy of the shared weights."""


@runtime_checkable
class Sortable(Protocol):
    """What an elastic layer can do whose first channels are those that a narrower layer keeps."""

    def sort_channels(self) -> None:
        """Puts its inner channels in the order of their importance; what the layer does stays the same."""


class Fixed(nn.Module):
    """A layer without choices, in the company of elastic ones.

    Args:
        module: the layer.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Nothing to choose."""

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:  # noqa: ARG002  as Elastic has it
        """A copy of the layer."""
        return copy.deepcopy(self.module)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """What the layer does."""
        out: Tensor = self.module(x_BCHW)
        return out


class ElasticMBConv(nn.Module):
    """MBConv with elastic kernel size, expansion and squeeze-and-excite width in shared weights.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        mid_channels: the largest number of channels of the depthwise convolution.
        kernel_size: the largest kernel.
        stride: stride of the depthwise convolution.
        se_channels: the largest squeezed width; 0 leaves squeeze-and-excite out.
        activation: a name in ACTIVATIONS.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int,
        kernel_size: int,
        stride: int = 1,
        se_channels: int = 0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.activation = activation
        self.widest = MBConv(
            in_channels,
            out_channels,
            mid_channels=mid_channels,
            kernel_size=kernel_size,
            stride=stride,
            se_channels=se_channels,
            activation=activation,
        )
        self.active_mid = mid_channels
        self.active_kernel = kernel_size
        self.active_se = se_channels

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `mid_channels`, `kernel_size` and `se_channels` for `forward`."""
        self.active_mid = int(attributes["mid_channels"])
        self.active_kernel = int(attributes["kernel_size"])
        self.active_se = int(attributes["se_channels"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        mid, kernel = self.active_mid, self.active_kernel
        widest = self.widest
        y = x_BCHW
        if widest.expand is not None and mid != self.in_channels:  # as MBConv, which then leaves it out
            y = _conv_bn_act(widest.expand, y, widest.expand.conv.weight[:mid], mid)
        depthwise = widest.depthwise
        y = _conv_bn_act(depthwise, y, _centre(depthwise.conv.weight[:mid], kernel), mid, groups=mid)
        if widest.squeeze_excite is not None:
            y = _squeeze_excite(widest.squeeze_excite, y, mid, self.active_se)
        y = _conv_bn_act(widest.project, y, widest.project.conv.weight[:, :mid], self.out_channels)
        return x_BCHW + y if widest.has_skip else y

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Orders the channels of the depthwise convolution by the sum of the weights that read them, largest first.

        So the channels that narrower layers keep are the important ones (Once-for-All, Cai et al., ICLR 2020). In
        evaluation, and for the widest layer, the function stays the same.
        """
        widest = self.widest
        if widest.expand is None:
            return  # the channels are those that come in
        order = widest.project.conv.weight.abs().sum((0, 2, 3)).argsort(descending=True)
        for part in (widest.expand, widest.depthwise):
            for value in (part.conv.weight, *part.bn.state_dict().values()):
                if value.ndim:
                    value.copy_(value[order].clone())
        widest.project.conv.weight.copy_(widest.project.conv.weight[:, order].clone())
        if widest.squeeze_excite is not None:
            reduce, expand = widest.squeeze_excite.reduce, widest.squeeze_excite.expand
            reduce.weight.copy_(reduce.weight[:, order].clone())
            expand.weight.copy_(expand.weight[order].clone())
            if expand.bias is not None:
                expand.bias.copy_(expand.bias[order].clone())

    def extract(self, attributes: Mapping[str, int | str]) -> MBConv:
        """The MBConv with these attributes and its own copy of the shared weights and statistics."""
        mid, kernel, squeezed = (int(attributes[key]) for key in ("mid_channels", "kernel_size", "se_channels"))
        widest = self.widest
        block = MBConv(
            self.in_channels,
            self.out_channels,
            mid_channels=mid,
            kernel_size=kernel,
            stride=self.stride,
            se_channels=squeezed,
            activation=self.activation,
        ).to(widest.project.conv.weight)  # its device and precision
        with torch.no_grad():
            if block.expand is not None and widest.expand is not None:
                _copy_conv_bn(block.expand, widest.expand, widest.expand.conv.weight[:mid], mid)
            weight = _centre(widest.depthwise.conv.weight[:mid], kernel)
            _copy_conv_bn(block.depthwise, widest.depthwise, weight, mid)
            if block.squeeze_excite is not None and widest.squeeze_excite is not None:
                _copy_squeeze_excite(block.squeeze_excite, widest.squeeze_excite, mid, squeezed)
            _copy_conv_bn(block.project, widest.project, widest.project.conv.weight[:, :mid], self.out_channels)
        return block.train(self.training)


def _centre(weight: Tensor, kernel_size: int) -> Tensor:
    """The central kernel_size x kernel_size part of a (C_out, C_in, k, k) weight."""
    margin = (weight.shape[-1] - kernel_size) // 2
    return weight[..., margin : margin + kernel_size, margin : margin + kernel_size]


def _conv_bn_act(layer: ConvBNAct, x_BCHW: Tensor, weight: Tensor, channels: int, groups: int = 1) -> Tensor:
    """`layer` with `weight` in place of its own and only its first `channels` of batch norm."""
    y = nn.functional.conv2d(x_BCHW, weight, None, layer.conv.stride, weight.shape[-1] // 2, groups=groups)
    out: Tensor = layer.act(layer.bn.narrowed(y, channels))
    return out


def _squeeze_excite(layer: SqueezeExcite, x_BCHW: Tensor, mid: int, squeezed: int) -> Tensor:
    reduce, expand = layer.reduce, layer.expand
    y = x_BCHW.mean((2, 3), keepdim=True)
    y = nn.functional.relu(nn.functional.conv2d(y, reduce.weight[:squeezed, :mid], _first(reduce.bias, squeezed)))
    y = nn.functional.conv2d(y, expand.weight[:mid, :squeezed], _first(expand.bias, mid))
    return x_BCHW * nn.functional.hardsigmoid(y)


def _first(bias: Tensor | None, count: int) -> Tensor | None:
    return None if bias is None else bias[:count]


def _copy_conv_bn(into: ConvBNAct, source: ConvBNAct, weight: Tensor, channels: int) -> None:
    into.conv.weight.copy_(weight)
    for name, value in source.bn.state_dict().items():
        target = into.bn.state_dict()[name]
        target.copy_(value[:channels] if value.ndim else value)


def _copy_squeeze_excite(into: SqueezeExcite, source: SqueezeExcite, mid: int, squeezed: int) -> None:
    into.reduce.weight.copy_(source.reduce.weight[:squeezed, :mid])
    into.expand.weight.copy_(source.expand.weight[:mid, :squeezed])
    for new, old, count in ((into.reduce, source.reduce, squeezed), (into.expand, source.expand, mid)):
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias[:count])
