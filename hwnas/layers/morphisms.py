"""Network morphisms: how a layer takes over what another one has learnt, where the two differ in size.

Larger layers keep the function: a new channel reads whatever it likes, but nothing that was there reads it (its outgoing
weights are 0), a larger kernel is padded with zeros, and an inserted layer is the identity (Chen et al., Net2Net, ICLR
2016; Wei et al., Network Morphism, ICML 2016). Smaller ones come near it: the channels that matter most are kept, a kernel
keeps its centre, and a dense convolution becomes the nearest depthwise-separable one (LEMONADE, Elsken et al., ICLR 2019).

Channels between layers are told apart by `carried_C`: for each channel of the new layers the channel of the old ones that
it stands for, -1 where it stands for none; None where channel i stands for channel i as far as both have it.

Shapes: B batch, C channels, H height, W width, O channels out, I channels in, k side of a kernel.
"""

from functools import singledispatch
from typing import TypeVar

import torch
from torch import Tensor, nn

from hwnas.layers.bottleneck import Bottleneck, LinearClassifier, ResidualConv
from hwnas.layers.conv_block import ConvBlock, SeparableConv
from hwnas.layers.mbconv import Classifier, ConvBNAct, MBConv, SqueezeExcite
from hwnas.layers.norm import BatchNorm2d
from hwnas.layers.pooled_classifier import PooledClassifier

__all__ = ["kept_channels", "make_identity", "morph", "separated", "settle_batch_norms"]

Carried = Tensor | None
Layer = TypeVar("Layer", bound=nn.Module)


def kept_channels(importance_C: Tensor, count: int) -> Carried:
    """The `count` channels of most importance in their order; None where all are kept, and where more are wanted."""
    if count >= len(importance_C):
        return None
    return importance_C.topk(count).indices.sort().values


@torch.no_grad()
def morph(layer: nn.Module, source: nn.Module, carried_C: Carried = None) -> Carried:
    """Gives `layer` the weights of `source`, as far as both have them.

    For ConvBNAct, ConvBlock, MBConv, Bottleneck, ResidualConv and the classifiers of convolutional networks a layer that
    is larger does in evaluation what `source` does, where it has the same skip connection. A layer of another kind stays
    as it is; of other layers of the same kind the parts of the weights that both have are copied.

    Args:
        layer: with weights of its own, which new channels keep.
        source: the layer whose weights are taken over; it stays as it is.
        carried_C: which channel of what comes into `source` each channel that comes into `layer` stands for.

    Returns:
        The same of the channels that come out.
    """
    if type(layer) is not type(source):
        return None
    return _morph(layer, source, carried_C)


@torch.no_grad()
def make_identity(layer: nn.Module) -> None:
    """Makes a ConvBlock of as many channels out as in, at stride 1, give in evaluation what comes in, if not negative.

    Blocks with a skip connection, whose last batch norm begins with a weight of 0, are the identity as they are made.
    """
    if not isinstance(layer, ConvBlock):
        return
    conv, bn = layer.conv, layer.bn
    if isinstance(conv, SeparableConv):
        nn.init.dirac_(conv.depthwise.weight, groups=conv.depthwise.groups)
        nn.init.dirac_(conv.pointwise.weight)
    elif isinstance(conv, nn.Conv2d):
        nn.init.dirac_(conv.weight)
    bn.reset_running_stats()
    nn.init.constant_(bn.weight, (1.0 + bn.eps) ** 0.5)
    nn.init.zeros_(bn.bias)


@torch.no_grad()
def settle_batch_norms(network: nn.Module, x_BCHW: Tensor) -> None:
    """Gives every batch norm the statistics of `x_BCHW`, and the weight and bias with which it does in evaluation as before.

    So a network does in training what it does in evaluation, inserted identities included, and goes on from there. It is
    left in evaluation mode.
    """

    def settle(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not isinstance(layer, BatchNorm2d) or layer.running_mean is None or layer.running_var is None:
            return
        var_C, mean_C = torch.var_mean(inputs[0], (0, 2, 3))
        scale_C = layer.weight * torch.rsqrt(layer.running_var + layer.eps)
        layer.bias.add_(scale_C * (mean_C - layer.running_mean))
        layer.weight.copy_(scale_C * torch.sqrt(var_C + layer.eps))
        layer.running_mean.copy_(mean_C)
        layer.running_var.copy_(var_C)

    hooks = [part.register_forward_pre_hook(settle) for part in network.modules() if isinstance(part, BatchNorm2d)]
    try:
        network.eval()(x_BCHW)
    finally:
        for hook in hooks:
            hook.remove()


def separated(weight_OIkk: Tensor) -> tuple[Tensor, Tensor]:
    """The depthwise (I, 1, k, k) and pointwise (O, I, 1, 1) kernels whose product is nearest to a dense kernel.

    In the sense of least squares: for each channel in, the first singular vectors of the matrix from pixels to channels
    out. Where a channel is not read the depthwise kernel is 1 at its centre.
    """
    out, channels, side, _ = weight_OIkk.shape
    left, values, right = torch.linalg.svd(weight_OIkk.permute(1, 0, 2, 3).flatten(2), full_matrices=False)
    depthwise = right[:, 0].reshape(channels, 1, side, side).clone()
    silent = values[:, 0] == 0
    depthwise[silent] = 0.0
    depthwise[silent, 0, side // 2, side // 2] = 1.0
    pointwise = (left[:, :, 0] * values[:, :1]).T.reshape(out, channels, 1, 1)
    return depthwise, pointwise


@singledispatch
def _morph(layer: nn.Module, source: nn.Module, carried_C: Carried) -> Carried:  # noqa: ARG001  no channels known
    weights = source.state_dict()
    for name, value in layer.state_dict().items():
        old = weights.get(name)
        if old is not None and old.ndim == value.ndim:
            shared = tuple(slice(min(sizes)) for sizes in zip(value.shape, old.shape, strict=True))
            value[shared] = old[shared]
    return None


@_morph.register
def _(layer: ConvBNAct, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    return _conv_bn_act(layer, old, carried_C, kept_channels(old.bn.weight.abs(), layer.bn.num_features))


@_morph.register
def _(layer: ConvBlock, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    out_C = kept_channels(old.bn.weight.abs(), layer.bn.num_features)
    if layer.shortcut_scale is not None and old.shortcut_scale is not None:
        out_C = carried_C
        _per_channel(layer.shortcut_scale, old.shortcut_scale, out_C)
    _convolution(layer.conv, old.conv, carried_C, out_C)
    _batch_norm(layer.bn, old.bn, out_C)
    return out_C


@_morph.register
def _(layer: MBConv, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    if layer.expand is None and old.expand is None:
        mid_C = carried_C
    else:
        mid_C = kept_channels(_readers(old.project.conv.weight), layer.depthwise.bn.num_features)
        if layer.expand is not None and old.expand is not None:
            _conv_bn_act(layer.expand, old.expand, carried_C, mid_C)
    _conv_bn_act(layer.depthwise, old.depthwise, None, mid_C)
    if layer.squeeze_excite is not None and old.squeeze_excite is not None:
        _squeeze_excite(layer.squeeze_excite, old.squeeze_excite, mid_C)
    out_C = kept_channels(old.project.bn.weight.abs(), layer.project.bn.num_features)
    out_C = carried_C if layer.has_skip and old.has_skip else out_C
    return _conv_bn_act(layer.project, old.project, mid_C, out_C)


@_morph.register
def _(layer: Bottleneck, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    reduced_C = kept_channels(_readers(old.conv.conv.weight), layer.reduce.bn.num_features)
    mid_C = kept_channels(_readers(old.expand.conv.weight), layer.conv.bn.num_features)
    out_C = kept_channels(old.expand.bn.weight.abs(), layer.expand.bn.num_features)
    if layer.project is None and old.project is None:
        out_C = carried_C
    elif layer.project is not None and old.project is not None:
        _conv_bn_act(layer.project, old.project, carried_C, out_C)
    _conv_bn_act(layer.reduce, old.reduce, carried_C, reduced_C)
    _conv_bn_act(layer.conv, old.conv, reduced_C, mid_C)
    return _conv_bn_act(layer.expand, old.expand, mid_C, out_C)


@_morph.register
def _(layer: ResidualConv, source: nn.Module, carried_C: Carried) -> Carried:
    return _conv_bn_act(layer.conv, _same(layer, source).conv, carried_C, carried_C)


@_morph.register
def _(layer: LinearClassifier, source: nn.Module, carried_C: Carried) -> Carried:
    _affine(layer.logits, _same(layer, source).logits, carried_C, None)
    return None


@_morph.register
def _(layer: PooledClassifier, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    last_C = kept_channels(_readers(old.logits.weight), layer.logits.in_features)
    _conv_bn_act(layer.conv, old.conv, carried_C, last_C)
    _affine(layer.logits, old.logits, last_C, None)
    return None


@_morph.register
def _(layer: Classifier, source: nn.Module, carried_C: Carried) -> Carried:
    old = _same(layer, source)
    last_C = kept_channels(_readers(old.hidden.weight), layer.hidden.in_features)
    hidden_C = kept_channels(_readers(old.logits.weight), layer.logits.in_features)
    _conv_bn_act(layer.conv, old.conv, carried_C, last_C)
    _affine(layer.hidden, old.hidden, last_C, hidden_C)
    _affine(layer.logits, old.logits, hidden_C, None)
    return None


def _same(layer: Layer, source: nn.Module) -> Layer:
    if not isinstance(source, type(layer)):
        raise TypeError(f"the weights of {source} cannot be those of {layer}")
    return source


def _readers(weight: Tensor) -> Tensor:
    """The sum of the weights that read each channel, (I,)."""
    return weight.abs().flatten(2).sum((0, 2)) if weight.ndim > 2 else weight.abs().sum(0)


def _conv_bn_act(layer: ConvBNAct, source: ConvBNAct, in_C: Carried, out_C: Carried) -> Carried:
    """Depthwise layers have only channels out."""
    _affine(layer.conv, source.conv, None if layer.conv.groups > 1 else in_C, out_C)
    _batch_norm(layer.bn, source.bn, out_C)
    return out_C


def _squeeze_excite(layer: SqueezeExcite, source: SqueezeExcite, carried_C: Carried) -> None:
    squeezed_C = kept_channels(_readers(source.expand.weight), layer.reduce.out_channels)
    _affine(layer.reduce, source.reduce, carried_C, squeezed_C)
    _affine(layer.expand, source.expand, squeezed_C, carried_C)


def _convolution(layer: nn.Module, source: nn.Module, in_C: Carried, out_C: Carried) -> None:
    """Between dense and separable convolutions."""
    if isinstance(layer, SeparableConv) and isinstance(source, SeparableConv):
        _affine(layer.depthwise, source.depthwise, None, in_C)
        _affine(layer.pointwise, source.pointwise, in_C, out_C)
    elif isinstance(layer, SeparableConv) and isinstance(source, nn.Conv2d):
        depthwise, pointwise = separated(source.weight)
        _per_channel(layer.depthwise.weight, depthwise, in_C)
        _matrix(layer.pointwise.weight, pointwise, in_C, out_C)
    elif isinstance(layer, nn.Conv2d):
        if isinstance(source, SeparableConv):
            kernel = source.pointwise.weight * source.depthwise.weight.transpose(0, 1)
            _matrix(layer.weight, kernel, in_C, out_C)
        elif isinstance(source, nn.Conv2d):
            _affine(layer, source, in_C, out_C)


def _affine(layer: nn.Conv2d | nn.Linear, source: nn.Conv2d | nn.Linear, in_C: Carried, out_C: Carried) -> None:
    _matrix(layer.weight, source.weight, in_C, out_C)
    if layer.bias is not None and source.bias is not None:
        _per_channel(layer.bias, source.bias, out_C)


def _batch_norm(layer: BatchNorm2d, source: BatchNorm2d, carried_C: Carried) -> None:
    old = source.state_dict()
    for name, value in layer.state_dict().items():
        if value.ndim:
            _per_channel(value, old[name], carried_C)
        else:
            value.copy_(old[name])


def _per_channel(value: Tensor, source: Tensor, carried_C: Carried) -> None:
    """Copies what belongs to channels; new ones keep what they have."""
    to_C, from_C = _pairs(carried_C, len(value), len(source))
    value[to_C] = source[from_C]


def _matrix(weight: Tensor, source: Tensor, in_C: Carried, out_C: Carried) -> None:
    """Copies what old channels out read of old channels in; of new ones they read nothing."""
    to_O, from_O = _pairs(out_C, len(weight), len(source))
    to_I, from_I = _pairs(in_C, weight.shape[1], source.shape[1])
    read = weight.new_zeros(len(to_O), *weight.shape[1:])
    read[:, to_I] = _resized(source[from_O][:, from_I], weight.shape[-1] if weight.ndim == 4 else 0)
    weight[to_O] = read


def _resized(kernel: Tensor, side: int) -> Tensor:
    """The kernel with zeros around it, or its centre; a matrix stays as it is."""
    if kernel.ndim < 4:
        return kernel
    edge = (side - kernel.shape[-1]) // 2
    return nn.functional.pad(kernel, [edge] * 4)


def _pairs(carried_C: Carried, count: int, old_count: int) -> tuple[Tensor, Tensor]:
    """Positions among `count` channels that stand for old ones, and the positions of those."""
    if carried_C is None:
        both = torch.arange(min(count, old_count))
        return both, both
    to_C = torch.arange(min(count, len(carried_C)))
    to_C = to_C[(carried_C[to_C] >= 0) & (carried_C[to_C] < old_count)]
    return to_C, carried_C[to_C]
