"""Networks that people use without a search: torchvision's, of any width, for images of any size.

A front is worth something where it beats what its user would have taken otherwise. These networks are made for 224 pixels;
for smaller images each is treated as the space `mobilenetv3` treats its own: the earliest strides are dropped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.spaces.counting import OperatorCounts, count
from hwnas.spaces.scaling import Shape, kept_strides, round_channels

__all__ = ["FAMILIES", "WIDTHS", "Baseline", "comparable_baselines", "find_baselines"]

WIDTHS: Final = (0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0)
MIN_LAST_SIDE: Final = 4
PROBE_SIDE: Final = 64
RGB: Final = 3
LARGEST_KERNEL: Final = 5
BATCH_NORM_MOMENTUM: Final = 0.1
"""torch's. Some of torchvision's are a hundredth or less, whose statistics a short training would leave as they began."""


def _by_option(name: str) -> Callable[[int, float], nn.Module]:
    """The network `name`, whose width is an option of torchvision's."""

    def make(num_classes: int, width_mult: float) -> nn.Module:
        from torchvision.models import get_model

        network: nn.Module = get_model(name, num_classes=num_classes, width_mult=width_mult)
        return network

    return make


def _by_thinning(name: str) -> Callable[[int, float], nn.Module]:
    """The network `name`, which torchvision has in one width."""

    def make(num_classes: int, width_mult: float) -> nn.Module:
        from torchvision.models import get_model

        network: nn.Module = get_model(name, num_classes=num_classes)
        if width_mult != 1:
            _thin(network, width_mult)
        return network

    return make


def _mnasnet(num_classes: int, width_mult: float) -> nn.Module:
    from torchvision.models import MNASNet

    network: nn.Module = MNASNet(width_mult, num_classes)
    return network


def _shufflenet_v2(num_classes: int, width_mult: float) -> nn.Module:
    """Its blocks halve their channels, so that these are multiples of 16; the last layer's are the same at all widths."""
    from torchvision.models import ShuffleNetV2

    stages = [24, *(max(16, round_channels(channels * width_mult, 16)) for channels in (116, 232, 464)), 1024]
    if width_mult == 1:
        stages[1:4] = 116, 232, 464
    network: nn.Module = ShuffleNetV2([4, 8, 4], stages, num_classes)
    return network


FAMILIES: Final[dict[str, Callable[[int, float], nn.Module]]] = {
    "mobilenet_v2": _by_option("mobilenet_v2"),
    "mobilenet_v3_small": _by_option("mobilenet_v3_small"),
    "mobilenet_v3_large": _by_option("mobilenet_v3_large"),
    "resnet18": _by_thinning("resnet18"),
    "efficientnet_b0": _by_thinning("efficientnet_b0"),
    "mnasnet": _mnasnet,
    "shufflenet_v2": _shufflenet_v2,
}
"""Each family by torchvision's name: it takes (num_classes, width_mult)."""


@dataclass(frozen=True)
class Baseline:
    """One network of torchvision's.

    Attributes:
        family: a key of FAMILIES.
        width_mult: factor on its channels; 1 is the published network.

    Raises:
        UnknownNameError: no such family.
        SettingsError: a width that is not above 0, or above 4.
    """

    family: str
    width_mult: float = 1.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UnknownNameError("baseline", self.family, FAMILIES)
        if not 0 < self.width_mult <= 4:
            raise SettingsError(
                f"The width of baseline {self.family}", "must be above 0 and at most 4", came=f"{self.width_mult} came"
            )

    @property
    def name(self) -> str:
        """ "mobilenet_v2 (width 0.5)"."""
        return f"{self.family} (width {self.width_mult:g})"

    @property
    def slug(self) -> str:
        """The name of its files: "mobilenet_v2-0.5"."""
        return f"{self.family}-{self.width_mult:g}"

    def build(self, input_shape: Shape, num_classes: int) -> nn.Module:
        """The network for images (C, H, W), weights at random as torchvision draws them.

        It takes C channels. Its earliest strides of 2 are dropped until at least 4 pixels a side are left at its end;
        where a block's stride is, it gets the skip connection that its kind has without one, where pooling's is, there is
        no pooling, and a first kernel of 7 becomes one of 3. Nothing is dropped out at random, since the winners of a search
        are trained without that too, and batch norms average as torch's do.
        """
        network = FAMILIES[self.family](num_classes, self.width_mult)
        steps = _halvings(network)
        strides = kept_strides([2] * len(steps), min(input_shape[1:]), least=MIN_LAST_SIDE)
        for stride, names in zip(strides, steps, strict=True):
            if stride == 1:
                for name in names:
                    network.set_submodule(name, _without_stride(network.get_submodule(name)))
        _connect(network)
        first = next(name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
        if network.get_submodule(first).in_channels != input_shape[0]:
            network.set_submodule(first, _convolution(network.get_submodule(first), in_channels=input_shape[0]))
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
            elif isinstance(layer, nn.BatchNorm2d):
                layer.momentum = BATCH_NORM_MOMENTUM
        return network

    def counts(self, input_shape: Shape, num_classes: int) -> OperatorCounts:
        """Its multiply-accumulates and parameters for an image (C, H, W)."""
        with torch.random.fork_rng(devices=[]):
            network = self.build(input_shape, num_classes)
        return count(network.to("meta"), input_shape)


def find_baselines(text: str, *, input_shape: Shape, num_classes: int, macs: Sequence[float]) -> list[Baseline]:
    """What a name means: "resnet18:0.5" that width, "resnet18" the widths that `comparable_baselines` chooses.

    Raises:
        UnknownNameError: no such family.
        SettingsError: a width that is no number, or out of range.
    """
    family, colon, width = text.partition(":")
    if not colon:
        return comparable_baselines(input_shape, num_classes, macs, families=[Baseline(family).family])
    try:
        return [Baseline(family, float(width))]
    except ValueError as error:
        raise SettingsError(
            f"Baseline {text}", "must be a family or family:width, such as resnet18:0.5", came=f"the width is {width!r}"
        ) from error


def comparable_baselines(
    input_shape: Shape, num_classes: int, macs: Sequence[float], *, families: Sequence[str] = tuple(FAMILIES)
) -> list[Baseline]:
    """Of each family the widths, among WIDTHS, whose MACs come nearest to the least and to the most of `macs`.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        macs: of the networks that they are to be compared with.
        families: keys of FAMILIES.
    """
    found: list[Baseline] = []
    for family in families:
        costs: dict[Baseline, int] = {}
        for baseline in (Baseline(family, width) for width in WIDTHS):
            costs[baseline] = baseline.counts(input_shape, num_classes).macs
            if costs[baseline] >= max(macs):  # wider ones are farther off
                break
        nearest = [min(costs, key=lambda one: abs(math.log(costs[one] / end))) for end in (min(macs), max(macs))]
        found.extend(dict.fromkeys(nearest))
    return found


@torch.no_grad()
def _halvings(network: nn.Module) -> list[list[str]]:
    """The layers that halve the sides of what they take, those that take the same size together, from first to last."""
    found: dict[int, list[str]] = {}

    def note(name: str) -> Callable[..., None]:
        def on_forward(_: nn.Module, taken: tuple[Tensor], __: Tensor) -> None:
            found.setdefault(taken[0].shape[-1], []).append(name)

        return on_forward

    hooks = [
        layer.register_forward_hook(note(name))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and layer.stride in (2, (2, 2))
    ]
    network.eval()(torch.zeros(1, RGB, PROBE_SIDE, PROBE_SIDE))
    network.train()
    for hook in hooks:
        hook.remove()
    return [found[side] for side in sorted(found, reverse=True)]


def _without_stride(layer: nn.Module) -> nn.Module:
    if not isinstance(layer, nn.Conv2d):
        return nn.Identity()
    if max(layer.kernel_size) > LARGEST_KERNEL:
        return _convolution(layer, kernel_size=3, padding=1, stride=1)
    layer.stride = (1, 1)
    return layer


def _connect(network: nn.Module) -> None:
    """Gives each block that keeps its input's shape, now that its stride is dropped, the sum that its kind has then."""
    for module in network.modules():
        block: Any = module
        if getattr(block, "use_res_connect", True):
            continue
        layers = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
        same = layers[0].in_channels == layers[-1].out_channels
        block.use_res_connect = same and all(layer.stride == (1, 1) for layer in layers)


def _thin(network: nn.Module, width_mult: float) -> None:
    """Multiplies all channels of a network in place, rounded as MobileNet's; those of images and logits stay."""

    def scaled(channels: int) -> int:
        return channels if channels == RGB else round_channels(channels * width_mult)

    for name, layer in list(network.named_modules()):
        thin: nn.Module | None = None
        if isinstance(layer, nn.Conv2d):
            groups = 1 if layer.groups == 1 else scaled(layer.groups)
            channels = {"in_channels": scaled(layer.in_channels), "out_channels": scaled(layer.out_channels)}
            thin = _convolution(layer, **channels, groups=groups)
        elif isinstance(layer, nn.BatchNorm2d):
            thin = nn.BatchNorm2d(scaled(layer.num_features), eps=layer.eps)
        elif isinstance(layer, nn.Linear):
            thin = nn.Linear(scaled(layer.in_features), layer.out_features)
        if thin is not None:
            network.set_submodule(name, thin)


def _convolution(layer: Any, **changed: Any) -> nn.Conv2d:
    """A convolution as `layer` but for what is `changed`, weights drawn as torchvision draws them."""
    kept = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    made = nn.Conv2d(**{**{key: getattr(layer, key) for key in kept}, **changed}, bias=layer.bias is not None)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made
