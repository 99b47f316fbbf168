"""FBNet's block: an inverted residual block whose 1x1 convolutions may be in groups.

Shapes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn

from hwnas.layers.mbconv import ConvBNAct

__all__ = ["GroupedMBConv"]


class GroupedMBConv(nn.Module):
    """Inverted residual block of ReLUs: 1x1, channel shuffle, depthwise kxk, 1x1 (FBNet, Wu et al., CVPR 2019).

    Unlike MBConv it keeps the first 1x1 convolution where that does not expand. Both 1x1 convolutions are in `groups`,
    whose channels are shuffled (ShuffleNet, Zhang et al., CVPR 2018) where there is more than one. The skip connection
    is there where stride is 1 and the channels in and out are equal; the block then begins as the identity.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        mid_channels: channels of the depthwise convolution.
        kernel_size: odd side of the depthwise kernel.
        stride: stride of the depthwise convolution.
        groups: groups of the 1x1 convolutions; they divide all channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.expand = ConvBNAct(in_channels, mid_channels, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else None
        self.depthwise = ConvBNAct(
            mid_channels, mid_channels, kernel_size=kernel_size, stride=stride, groups=mid_channels
        )
        self.project = ConvBNAct(mid_channels, out_channels, groups=groups, activation="identity")
        self.has_skip = stride == 1 and in_channels == out_channels
        if self.has_skip:
            nn.init.zeros_(self.project.bn.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        y = self.expand(x_BCHW)
        if self.shuffle is not None:
            y = self.shuffle(y)
        y = self.project(self.depthwise(y))
        out: Tensor = x_BCHW + y if self.has_skip else y
        return out
