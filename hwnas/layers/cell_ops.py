"""The fixed layers of NAS-Bench-201's networks: what may stand on an edge of a cell, and what joins its cells.

Shapes: B batch, C channels, H height, W width.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from hwnas.layers.bottleneck import average_pool
from hwnas.layers.norm import BatchNorm2d

__all__ = ["AveragePool", "Cell", "NormClassifier", "ReLUConvBN", "ResidualReduction", "Skip", "Zero"]


class Zero(nn.Module):
    """Nothing of what comes in, in its shape.

    Zeros that depend on the input keep all that comes before them in the graph, as in the published networks: its weights
    are counted, exported, and get a gradient, of zeros.

    Args:
        channels: channels in and out; any will do.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002  as every layer of a space
        super().__init__()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> zeros (B, C, H, W)."""
        return x_BCHW * 0.0


class Skip(nn.Identity):
    """What comes in.

    Args:
        channels: channels in and out; any will do.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002  as every layer of a space
        super().__init__()


class AveragePool(nn.AvgPool2d):
    """The average over 3x3 pixels at stride 1; at the edges over those that are there.

    Args:
        channels: channels in and out; any will do.
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002  as every layer of a space
        super().__init__(3, 1, 1, count_include_pad=False)


class ReLUConvBN(nn.Module):
    """ReLU, convolution (same padding, no bias), batch norm.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: odd side of the square kernel.
        stride: stride of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = BatchNorm2d(out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.bn(self.conv(self.act(x_BCHW)))
        return out


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions beside a shortcut that averages stride x stride pixels before a 1x1 convolution.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: stride of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 2) -> None:
        super().__init__()
        self.first = ReLUConvBN(in_channels, out_channels, kernel_size=3, stride=stride)
        self.second = ReLUConvBN(out_channels, out_channels, kernel_size=3)
        self.pool = average_pool(stride)
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_out")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.project(self.pool(x_BCHW)) + self.second(self.first(x_BCHW))
        return out


class NormClassifier(nn.Module):
    """Batch norm, ReLU, global average, logits.

    Args:
        in_channels: channels in.
        num_classes: number of logits.
    """

    def __init__(self, in_channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.bn = BatchNorm2d(in_channels)
        self.act = nn.ReLU()
        self.logits = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.logits(self.act(self.bn(x_BCHW)).mean((2, 3)))
        return logits


class Cell(nn.Module):
    """A directed acyclic graph: the first node is what comes in, each further one the sum of edges from all before it, the
    last what goes out.

    Args:
        edges: layers that keep the shape, in the order in which they run: 0>1, 0>2, 1>2, 0>3, ….

    Raises:
        ValueError: their number is not that of the edges of such a graph.
    """

    def __init__(self, edges: Sequence[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self._nodes = 1
        while self._nodes * (self._nodes + 1) // 2 <= len(edges):
            self._nodes += 1
        if self._nodes == 1 or self._nodes * (self._nodes - 1) // 2 != len(edges):
            raise ValueError(f"a cell has 1, 3, 6, 10, … edges and not {len(edges)}")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        edges = iter(self.edges)
        nodes = [x_BCHW]
        for _ in range(1, self._nodes):
            total: Tensor = next(edges)(nodes[0])
            for node in nodes[1:]:
                total = total + next(edges)(node)
            nodes.append(total)
        return nodes[-1]
