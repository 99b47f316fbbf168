"""The layers of ResNet-D in shared weights: expand ratio and channels are elastic (Once-for-All, Cai et al., ICLR 2020).

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from hwnas.layers.bottleneck import Bottleneck, LinearClassifier, ResidualConv
from hwnas.layers.elastic import SharedLayer, narrow_conv_bn_act, narrow_linear, reorder_inputs, reorder_outputs

__all__ = ["ElasticBottleneck", "ElasticLinearClassifier", "ElasticResidualConv"]


class ElasticBottleneck(SharedLayer):
    """Bottleneck with elastic channels in, in the middle and out.

    Args:
        in_channels: the most channels in.
        out_channels: the most channels out.
        mid_channels: the most channels of the 3x3 convolution.
        stride: stride of the 3x3 convolution.
        shortcut: "projection", or "identity" where the active channels in and out are always equal.
    """

    widest: Bottleneck

    def __init__(
        self, in_channels: int, out_channels: int, *, mid_channels: int, stride: int = 1, shortcut: str = "projection"
    ) -> None:
        layer = Bottleneck(in_channels, out_channels, mid_channels=mid_channels, stride=stride, shortcut=shortcut)
        super().__init__(in_channels, layer)
        self.active_out = out_channels
        self.active_mid = mid_channels

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `out_channels` and `mid_channels` for `forward`."""
        self.active_out = int(attributes["out_channels"])
        self.active_mid = int(attributes["mid_channels"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for the first C of the channels in."""
        widest = self.widest
        y = narrow_conv_bn_act(widest.reduce, x_BCHW, self.active_mid)
        y = narrow_conv_bn_act(widest.conv, y, self.active_mid)
        y = narrow_conv_bn_act(widest.expand, y, self.active_out)
        if widest.pool is not None and widest.project is not None:
            x_BCHW = narrow_conv_bn_act(widest.project, widest.pool(x_BCHW), self.active_out)
        out: Tensor = widest.act(x_BCHW + y)
        return out

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Orders the channels before and after the 3x3 convolution by the sums of the weights that read them.

        In evaluation, and for the widest layer, the function stays the same.
        """
        widest = self.widest
        reorder_outputs(widest.conv, reorder_inputs(widest.expand.conv))
        reorder_outputs(widest.reduce, reorder_inputs(widest.conv.conv))


class ElasticResidualConv(SharedLayer):
    """ResidualConv with elastic channels.

    Args:
        channels: the most channels in and out.
        kernel_size: odd side of the square kernel.
    """

    widest: ResidualConv

    def __init__(self, channels: int, *, kernel_size: int = 3) -> None:
        super().__init__(channels, ResidualConv(channels, kernel_size=kernel_size))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) for the first C of the channels."""
        return x_BCHW + narrow_conv_bn_act(self.widest.conv, x_BCHW, x_BCHW.shape[1])


class ElasticLinearClassifier(SharedLayer):
    """LinearClassifier with elastic channels in.

    Args:
        in_channels: the most channels in.
        num_classes: number of logits.
    """

    widest: LinearClassifier

    def __init__(self, in_channels: int, *, num_classes: int) -> None:
        super().__init__(in_channels, LinearClassifier(in_channels, num_classes=num_classes))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes) for the first C of the channels in."""
        return narrow_linear(self.widest.logits, x_BCHW.mean((2, 3)), self.widest.logits.out_features)
