"""The fixed layers of ResNet-D (He et al., Bag of Tricks for Image Classification, CVPR 2019) beside its convolutions.

Shapes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn

from hwnas.layers.mbconv import ConvBNAct

__all__ = ["Bottleneck", "LinearClassifier", "MaxPool", "ResidualConv"]

SHORTCUTS = ("identity", "projection")


class Bottleneck(nn.Module):
    """Residual block of ResNet-D: 1x1, 3x3 and 1x1 convolutions beside a shortcut, then ReLU (He et al., CVPR 2016).

    A projection is an average over stride x stride pixels, then a 1x1 convolution, so that no pixel is left out.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        mid_channels: channels of the 3x3 convolution.
        stride: stride of the 3x3 convolution.
        shortcut: "projection", or "identity" where stride is 1 and the channels in and out are equal.

    Raises:
        ValueError: no such shortcut, or one that does not fit.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, mid_channels: int, stride: int = 1, shortcut: str = "projection"
    ) -> None:
        super().__init__()
        if shortcut not in SHORTCUTS or (shortcut == "identity" and (stride, in_channels) != (1, out_channels)):
            raise ValueError(f"shortcut {shortcut!r} does not fit {in_channels} -> {out_channels}, stride {stride}")
        self.reduce = ConvBNAct(in_channels, mid_channels)
        self.conv = ConvBNAct(mid_channels, mid_channels, kernel_size=3, stride=stride)
        self.expand = ConvBNAct(mid_channels, out_channels, activation="identity")
        self.pool = average_pool(stride) if shortcut == "projection" else None
        self.project = ConvBNAct(in_channels, out_channels, activation="identity") if self.pool is not None else None
        self.act = nn.ReLU(inplace=True)
        if shortcut == "identity":
            nn.init.zeros_(self.expand.bn.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = self.expand(self.conv(self.reduce(x_BCHW)))
        if self.pool is not None and self.project is not None:
            x_BCHW = self.project(self.pool(x_BCHW))
        out: Tensor = self.act(x_BCHW + y)
        return out


class ResidualConv(nn.Module):
    """Convolution with batch norm and ReLU, added to what comes in: what Once-for-All's stem of ResNet-D can leave out.

    Args:
        channels: channels in and out.
        kernel_size: odd side of the square kernel.
    """

    def __init__(self, channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = ConvBNAct(channels, channels, kernel_size=kernel_size)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        out: Tensor = x_BCHW + self.conv(x_BCHW)
        return out


class MaxPool(nn.MaxPool2d):
    """The maximum over 3x3 pixels at stride 2.

    Args:
        channels: channels in and out; any will do.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002  as every layer of a space
        super().__init__(3, 2, 1)


class LinearClassifier(nn.Module):
    """ResNet's head: global average, logits.

    Args:
        in_channels: channels in.
        num_classes: number of logits.
    """

    def __init__(self, in_channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.logits = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.logits(x_BCHW.mean((2, 3)))
        return logits


def average_pool(stride: int) -> nn.Module:
    """The average over stride x stride pixels; at the far edges over those that are there."""
    return nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
