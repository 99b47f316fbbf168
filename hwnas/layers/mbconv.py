"""The fixed layers of the MobileNet family: convolution with batch norm, inverted residual block, classifier.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from hwnas.layers.norm import BatchNorm2d

__all__ = ["ACTIVATIONS", "Classifier", "ConvBNAct", "MBConv", "SqueezeExcite"]

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "identity": nn.Identity,
    "relu": lambda: nn.ReLU(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
}


class ConvBNAct(nn.Module):
    """Convolution (same padding, no bias), batch norm, activation.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: odd side of the square kernel.
        stride: stride of the convolution.
        groups: groups of the convolution.
        activation: a name in ACTIVATIONS.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        self.bn = BatchNorm2d(out_channels)
        self.act = ACTIVATIONS[activation]()
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.act(self.bn(self.conv(x_BCHW)))
        return out


class SqueezeExcite(nn.Module):
    """Channel attention with a hard sigmoid (Hu et al., CVPR 2018; as in MobileNetV3, Howard et al., ICCV 2019).

    Args:
        channels: channels in and out.
        se_channels: channels of the squeezed layer.
    """

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, se_channels, 1)
        self.expand = nn.Conv2d(se_channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Scales each channel of (B, channels, H, W)."""
        squeezed = x_BCHW.mean((2, 3), keepdim=True)
        gate = nn.functional.hardsigmoid(self.expand(nn.functional.relu(self.reduce(squeezed))))
        return x_BCHW * gate


class MBConv(nn.Module):
    """Inverted residual block: expand 1x1, depthwise kxk, squeeze-and-excite, project 1x1 (MobileNetV2/V3).

    The expansion is left out where `mid_channels` equals `in_channels`; the skip connection is there where stride is 1
    and the channels in and out are equal.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        mid_channels: channels of the depthwise convolution.
        kernel_size: odd side of the depthwise kernel.
        stride: stride of the depthwise convolution.
        se_channels: squeezed channels of the squeeze-and-excite; 0 leaves it out.
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
        self.expand = (
            ConvBNAct(in_channels, mid_channels, activation=activation) if mid_channels != in_channels else None
        )
        self.depthwise = ConvBNAct(
            mid_channels,
            mid_channels,
            kernel_size=kernel_size,
            stride=stride,
            groups=mid_channels,
            activation=activation,
        )
        self.squeeze_excite = SqueezeExcite(mid_channels, se_channels) if se_channels else None
        self.project = ConvBNAct(mid_channels, out_channels, activation="identity")
        self.has_skip = stride == 1 and in_channels == out_channels
        if self.has_skip:
            nn.init.zeros_(self.project.bn.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = x_BCHW if self.expand is None else self.expand(x_BCHW)
        y = self.depthwise(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project(y)
        out: Tensor = x_BCHW + y if self.has_skip else y
        return out


class Classifier(nn.Module):
    """MobileNetV3's head: 1x1 convolution, global average, a hidden layer, logits.

    Args:
        in_channels: channels in.
        num_classes: number of logits.
        last_channels: channels of the 1x1 convolution.
        hidden_features: width of the hidden layer.
    """

    def __init__(self, in_channels: int, *, num_classes: int, last_channels: int, hidden_features: int) -> None:
        super().__init__()
        self.conv = ConvBNAct(in_channels, last_channels, activation="hard_swish")
        self.hidden = nn.Linear(last_channels, hidden_features)
        self.act = nn.Hardswish(inplace=True)
        self.logits = nn.Linear(hidden_features, num_classes)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        pooled = self.conv(x_BCHW).mean((2, 3))
        logits: Tensor = self.logits(self.act(self.hidden(pooled)))
        return logits
