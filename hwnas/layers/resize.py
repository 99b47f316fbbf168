"""A layer that scales images, so that the resolution of a network is one of its operators.

Shapes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn

__all__ = ["Resize"]


class Resize(nn.Module):
    """Bilinear interpolation between the centres of pixels, without antialiasing: what every runtime has.

    Args:
        channels: channels in and out; any will do.
        height: height out, in pixels.
        width: width out, in pixels.
    """

    def __init__(self, channels: int, *, height: int, width: int) -> None:  # noqa: ARG002  as every layer of a space
        super().__init__()
        self.size = (height, width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, height, width)."""
        return nn.functional.interpolate(x_BCHW, self.size, mode="bilinear", align_corners=False, antialias=False)

    def extra_repr(self) -> str:
        """What tells it from others."""
        return f"height={self.size[0]}, width={self.size[1]}"
