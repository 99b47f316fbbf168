"""MobileNetV2's head, which has no hidden layer.

Shapes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn

from hwnas.layers.mbconv import ConvBNAct

__all__ = ["PooledClassifier"]


class PooledClassifier(nn.Module):
    """1x1 convolution with ReLU, global average, logits (MobileNetV2, Sandler et al., CVPR 2018).

    Args:
        in_channels: channels in.
        num_classes: number of logits.
        last_channels: channels of the 1x1 convolution.
    """

    def __init__(self, in_channels: int, *, num_classes: int, last_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNAct(in_channels, last_channels)
        self.logits = nn.Linear(last_channels, num_classes)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.logits(self.conv(x_BCHW).mean((2, 3)))
        return logits
