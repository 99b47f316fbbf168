"""Layers that hold many fixed layers in one set of shared weights.

An elastic layer is told which fixed layer to be (`activate`) and can hand that one out with its own copy of the weights
(`extract`). What is shared: the first k channels of the widest layer, and the centre of the largest kernel (BigNAS,
Yu et al., ECCV 2020).

Shapes: B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hwnas.layers.mbconv import Classifier, ConvBNAct, MBConv, SqueezeExcite

__all__ = [
    "Elastic",
    "ElasticClassifier",
    "ElasticConvBNAct",
    "ElasticInput",
    "ElasticMBConv",
    "Fixed",
    "SharedLayer",
    "Sortable",
    "narrow_conv_bn_act",
    "narrow_linear",
    "reorder_inputs",
    "reorder_outputs",
]


@runtime_checkable
class Elastic(Protocol):
    """What a layer with shared weights can do beside `forward`."""

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Makes `forward` act as the fixed layer that has these keyword arguments."""

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer that has these keyword arguments, with its own copy of the shared weights."""


@runtime_checkable
class ElasticInput(Elastic, Protocol):
    """What an elastic layer can do besides where fewer channels may come in than into its widest.

    `forward` sees how many come.
    """

    def extract_from(self, in_channels: int, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer that has these channels in and these keyword arguments, with its own copy of the weights."""


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


class SharedLayer(nn.Module):
    """A layer that holds narrower layers of its kind: their weights are its first channels and its kernels' centres.

    Args:
        in_channels: the most channels in.
        widest: the layer, made as `type(widest)(in_channels, **attributes)`.
    """

    def __init__(self, in_channels: int, widest: nn.Module) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.widest = widest

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Nothing to choose but the channels that come in."""

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer with these attributes, of the most channels in, and its own copy of the shared weights."""
        return self.extract_from(self.in_channels, attributes)

    @torch.no_grad()
    def extract_from(self, in_channels: int, attributes: Mapping[str, int | str]) -> nn.Module:
        """The fixed layer with these channels in and attributes, and its own copy of the shared weights."""
        make: Callable[..., nn.Module] = type(self.widest)
        shared = self.widest.state_dict()
        layer = make(in_channels, **attributes).to(next(self.widest.parameters()))  # its device and precision
        for name, value in layer.state_dict().items():
            value.copy_(_part(shared[name], value.shape))
        return layer.train(self.training)


class ElasticConvBNAct(SharedLayer):
    """ConvBNAct with elastic channels in and out.

    Args:
        in_channels: the most channels in.
        out_channels: the most channels out.
        kernel_size: odd side of the square kernel.
        stride: stride of the convolution.
        activation: a name in ACTIVATIONS.
    """

    widest: ConvBNAct

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        activation: str = "relu",
    ) -> None:
        layer = ConvBNAct(in_channels, out_channels, kernel_size=kernel_size, stride=stride, activation=activation)
        super().__init__(in_channels, layer)
        self.active_out = out_channels

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `out_channels` for `forward`."""
        self.active_out = int(attributes["out_channels"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for the first C of the channels in."""
        return narrow_conv_bn_act(self.widest, x_BCHW, self.active_out)


class ElasticMBConv(SharedLayer):
    """MBConv with elastic kernel size, expansion, squeeze-and-excite width, and channels in and out in shared weights.

    Args:
        in_channels: the most channels in.
        out_channels: the most channels out.
        mid_channels: the largest number of channels of the depthwise convolution.
        kernel_size: the largest kernel.
        stride: stride of the depthwise convolution.
        se_channels: the largest squeezed width; 0 leaves squeeze-and-excite out.
        activation: a name in ACTIVATIONS.
    """

    widest: MBConv

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
        layer = MBConv(
            in_channels,
            out_channels,
            mid_channels=mid_channels,
            kernel_size=kernel_size,
            stride=stride,
            se_channels=se_channels,
            activation=activation,
        )
        super().__init__(in_channels, layer)
        self.stride = stride
        self.active_out = out_channels
        self.active_mid = mid_channels
        self.active_kernel = kernel_size
        self.active_se = se_channels

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `out_channels`, `mid_channels`, `kernel_size` and `se_channels` for `forward`."""
        self.active_out = int(attributes["out_channels"])
        self.active_mid = int(attributes["mid_channels"])
        self.active_kernel = int(attributes["kernel_size"])
        self.active_se = int(attributes["se_channels"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)) for the first C of the channels in."""
        in_channels, mid = x_BCHW.shape[1], self.active_mid
        widest = self.widest
        y = x_BCHW
        if widest.expand is not None and mid != in_channels:  # as MBConv, which then leaves it out
            y = narrow_conv_bn_act(widest.expand, y, mid)
        y = narrow_conv_bn_act(widest.depthwise, y, mid, kernel_size=self.active_kernel)
        if widest.squeeze_excite is not None:
            y = _squeeze_excite(widest.squeeze_excite, y, self.active_se)
        y = narrow_conv_bn_act(widest.project, y, self.active_out)
        return x_BCHW + y if self.stride == 1 and in_channels == self.active_out else y

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Orders the channels of the depthwise convolution by the sum of the weights that read them, largest first.

        So the channels that narrower layers keep are the important ones (Once-for-All, Cai et al., ICLR 2020). In
        evaluation, and for the widest layer, the function stays the same.
        """
        widest = self.widest
        if widest.expand is None:
            return  # the channels are those that come in
        order = reorder_inputs(widest.project.conv)
        reorder_outputs(widest.expand, order)
        reorder_outputs(widest.depthwise, order)
        if widest.squeeze_excite is not None:
            reduce, expand = widest.squeeze_excite.reduce, widest.squeeze_excite.expand
            reduce.weight.copy_(reduce.weight[:, order].clone())
            expand.weight.copy_(expand.weight[order].clone())
            if expand.bias is not None:
                expand.bias.copy_(expand.bias[order].clone())


class ElasticClassifier(SharedLayer):
    """Classifier with elastic channels in, channels of its convolution and width of its hidden layer.

    Args:
        in_channels: the most channels in.
        num_classes: number of logits.
        last_channels: the most channels of the 1x1 convolution.
        hidden_features: the largest width of the hidden layer.
    """

    widest: Classifier

    def __init__(self, in_channels: int, *, num_classes: int, last_channels: int, hidden_features: int) -> None:
        layer = Classifier(
            in_channels, num_classes=num_classes, last_channels=last_channels, hidden_features=hidden_features
        )
        super().__init__(in_channels, layer)
        self.active_last = last_channels
        self.active_hidden = hidden_features

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `last_channels` and `hidden_features` for `forward`."""
        self.active_last = int(attributes["last_channels"])
        self.active_hidden = int(attributes["hidden_features"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes) for the first C of the channels in."""
        widest = self.widest
        pooled = narrow_conv_bn_act(widest.conv, x_BCHW, self.active_last).mean((2, 3))
        hidden = narrow_linear(widest.hidden, pooled, self.active_hidden)
        return narrow_linear(widest.logits, widest.act(hidden), widest.logits.out_features)


def narrow_conv_bn_act(
    layer: ConvBNAct, x_BCHW: Tensor, out_channels: int, *, kernel_size: int | None = None
) -> Tensor:
    """What `layer` would do if it had the channels of `x_BCHW` in, `out_channels` out and the centre of its kernel.

    Args:
        layer: of one group, or depthwise.
        x_BCHW: (B, C, H, W).
        out_channels: channels out; C where `layer` is depthwise.
        kernel_size: side of the kernel; None: the layer's.
    """
    weight, groups = layer.conv.weight, 1 if layer.conv.groups == 1 else out_channels
    side = weight.shape[-1] if kernel_size is None else kernel_size
    weight = _part(weight, (out_channels, x_BCHW.shape[1] // groups, side, side))
    y = nn.functional.conv2d(x_BCHW, weight, None, layer.conv.stride, side // 2, groups=groups)
    out: Tensor = layer.act(layer.bn.narrowed(y, out_channels))
    return out


def narrow_linear(layer: nn.Linear, x_BC: Tensor, out_features: int) -> Tensor:
    """What `layer` would do if it had the features of `x_BC` in and `out_features` out."""
    weight = layer.weight[:out_features, : x_BC.shape[1]]
    return nn.functional.linear(x_BC, weight, _first(layer.bias, out_features))


def reorder_inputs(conv: nn.Conv2d) -> Tensor:
    """Puts the channels that `conv` reads in the order of the sum of its weights for them, and returns the order."""
    order = conv.weight.abs().sum((0, 2, 3)).argsort(descending=True)
    conv.weight.copy_(conv.weight[:, order].clone())
    return order


def reorder_outputs(layer: ConvBNAct, order: Tensor) -> None:
    """Puts the channels that `layer` gives in `order`."""
    for value in (layer.conv.weight, *layer.bn.state_dict().values()):
        if value.ndim:
            value.copy_(value[order].clone())


def _part(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The first channels of `weight` and the centre of its kernel, of `shape`."""
    starts = [0, 0, *((has - wanted) // 2 for has, wanted in zip(weight.shape[2:], shape[2:], strict=True))]
    return weight[tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=False))]


def _squeeze_excite(layer: SqueezeExcite, x_BCHW: Tensor, squeezed: int) -> Tensor:
    reduce, expand, channels = layer.reduce, layer.expand, x_BCHW.shape[1]
    y = x_BCHW.mean((2, 3), keepdim=True)
    y = nn.functional.relu(nn.functional.conv2d(y, reduce.weight[:squeezed, :channels], _first(reduce.bias, squeezed)))
    y = nn.functional.conv2d(y, expand.weight[:channels, :squeezed], _first(expand.bias, channels))
    return x_BCHW * nn.functional.hardsigmoid(y)


def _first(bias: Tensor | None, count: int) -> Tensor | None:
    return None if bias is None else bias[:count]
