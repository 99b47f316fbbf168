"""A plain convolutional block all of whose changes are network morphisms (Wei et al., Network Morphism, ICML 2016).

Its convolution may be dense or depthwise-separable, and its shortcut is scaled: with a scale of 0 it does nothing.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from hwnas.layers.elastic import SharedLayer
from hwnas.layers.norm import BatchNorm2d

__all__ = ["CONVOLUTIONS", "ConvBlock", "ElasticConvBlock", "SeparableConv"]


class SeparableConv(nn.Module):
    """Depthwise 3x3, then pointwise convolution, with nothing between them (Chollet, Xception, CVPR 2017).

    So it is a dense convolution whose kernel has rank 1 for each channel in.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: of the depthwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.kaiming_normal_(self.depthwise.weight)
        nn.init.kaiming_normal_(self.pointwise.weight, mode="fan_out")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.pointwise(self.depthwise(x_BCHW))
        return out


def _dense(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return conv


CONVOLUTIONS: Final[dict[str, Callable[[int, int, int], nn.Module]]] = {"separable": SeparableConv, "dense": _dense}


class ConvBlock(nn.Module):
    """3x3 convolution with batch norm, to which the input may be added by a learnt factor a channel, then ReLU.

    The factors start at 0: then the shortcut does nothing, and what it is added to stays the same function.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        convolution: "dense" or "separable".
        stride: of the convolution.
        shortcut: 1 with the shortcut, where stride is 1 and the channels in and out are equal, or 0 without.

    Raises:
        ValueError: a shortcut that does not fit.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, convolution: str, stride: int = 1, shortcut: int = 0
    ) -> None:
        super().__init__()
        if shortcut and (stride, in_channels) != (1, out_channels):
            raise ValueError(f"a shortcut does not fit {in_channels} -> {out_channels} channels, stride {stride}")
        self.conv = CONVOLUTIONS[convolution](in_channels, out_channels, stride)
        self.bn = BatchNorm2d(out_channels)
        self.shortcut_scale = nn.Parameter(torch.zeros(out_channels)) if shortcut else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)), never negative."""
        y = self.bn(self.conv(x_BCHW))
        if self.shortcut_scale is not None:
            y = y + self.shortcut_scale[:, None, None] * x_BCHW
        out: Tensor = self.act(y)
        return out


class ElasticConvBlock(nn.Module):
    """ConvBlock with elastic channels in and out and shortcut, of either convolution, each with weights of its own.

    Args:
        in_channels: the most channels in.
        out_channels: the most channels out.
        convolution: the largest, "dense", or "separable" where there is no other.
        stride: of the convolution.
        shortcut: 1 where some of the blocks have a shortcut.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, convolution: str, stride: int = 1, shortcut: int = 0
    ) -> None:
        super().__init__()
        kinds = list(CONVOLUTIONS)[: list(CONVOLUTIONS).index(convolution) + 1]
        self.kinds = nn.ModuleDict(
            {
                kind: _SharedConvBlock(
                    in_channels,
                    ConvBlock(in_channels, out_channels, convolution=kind, stride=stride, shortcut=shortcut),
                )
                for kind in kinds
            }
        )
        self.in_channels = in_channels
        self.active_kind = convolution

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `out_channels`, `convolution` and `shortcut` for `forward`."""
        self.active_kind = str(attributes["convolution"])
        self._kind(self.active_kind).activate(attributes)

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer with these attributes, of the most channels in, and its own copy of the shared weights."""
        return self.extract_from(self.in_channels, attributes)

    def extract_from(self, in_channels: int, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer with these channels in and attributes, and its own copy of the shared weights."""
        return self._kind(str(attributes["convolution"])).extract_from(in_channels, attributes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for the first C of the channels in."""
        out: Tensor = self._kind(self.active_kind)(x_BCHW)
        return out

    def _kind(self, convolution: str) -> "_SharedConvBlock":
        kind: nn.Module = self.kinds[convolution]
        if not isinstance(kind, _SharedConvBlock):
            raise TypeError(f"{convolution} must be shared, but it is {kind}")
        return kind


class _SharedConvBlock(SharedLayer):
    """The blocks of one convolution."""

    widest: ConvBlock

    def __init__(self, in_channels: int, widest: ConvBlock) -> None:
        super().__init__(in_channels, widest)
        self.active_out = widest.bn.num_features
        self.active_shortcut = widest.shortcut_scale is not None

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        self.active_out = int(attributes["out_channels"])
        self.active_shortcut = bool(attributes["shortcut"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        widest, out = self.widest, self.active_out
        y = widest.bn.narrowed(_narrow_conv(widest.conv, x_BCHW, out), out)
        if self.active_shortcut and widest.shortcut_scale is not None:
            y = y + widest.shortcut_scale[:out, None, None] * x_BCHW
        activated: Tensor = widest.act(y)
        return activated


def _narrow_conv(conv: nn.Module, x_BCHW: Tensor, out_channels: int) -> Tensor:
    """What `conv` would do if it had the channels of `x_BCHW` in and `out_channels` out."""
    channels = x_BCHW.shape[1]
    if isinstance(conv, SeparableConv):
        depthwise = conv.depthwise
        y = nn.functional.conv2d(x_BCHW, depthwise.weight[:channels], None, depthwise.stride, 1, groups=channels)
        return nn.functional.conv2d(y, conv.pointwise.weight[:out_channels, :channels])
    if not isinstance(conv, nn.Conv2d):
        raise TypeError(f"a convolution is wanted, but it is {conv}")
    return nn.functional.conv2d(x_BCHW, conv.weight[:out_channels, :channels], None, conv.stride, 1)
