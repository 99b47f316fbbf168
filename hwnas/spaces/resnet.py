"""Once-for-All's ResNet50-D space (Cai et al., ICLR 2020; ResNet-D: He et al., CVPR 2019), as its ofa_resnet50 network.

Four stages of bottlenecks, of elastic depth {2, 2, 4, 2} + {0, 1, 2} and elastic width; in each block an elastic expand
ratio; a stem of three 3x3 convolutions, the second of which, added to what comes in, may be left out; about 10^12
encodings. Ratios and widths that round to the same channels are one choice.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import (
    Bottleneck,
    ConvBNAct,
    ElasticBottleneck,
    ElasticConvBNAct,
    ElasticLinearClassifier,
    ElasticResidualConv,
    LinearClassifier,
    MaxPool,
    ResidualConv,
    Resize,
)
from hwnas.spaces.architecture import Architecture, Operator
from hwnas.spaces.chain import Chain, ChainSpace, Slot
from hwnas.spaces.decisions import Decision, Decisions, ascending, elastic_layer, option_value
from hwnas.spaces.scaling import Place, checked_resolutions, image_sizes, kept_strides, resize, round_channels

__all__ = ["ResNet"]

WIDTH_MULTS: Final = (0.65, 0.8, 1.0)
EXPAND_RATIOS: Final = (0.2, 0.25, 0.35)
STEM_MID_CHANNELS: Final = 32
STEM_CHANNELS: Final = 64
STAGE_CHANNELS: Final = (256, 512, 1024, 2048)
MIN_DEPTHS: Final = (2, 2, 4, 2)
MORE_DEPTHS: Final = (0, 1, 2)
STRIDES: Final = (2, 2, 1, 2, 2, 2)
"""Of the stem, its pooling, and the stages."""

ELASTIC: Final = {
    "conv_bn_act": ElasticConvBNAct,
    "residual_conv": ElasticResidualConv,
    "bottleneck": ElasticBottleneck,
    "linear_classifier": ElasticLinearClassifier,
}


class ResNet(ChainSpace):
    """Once-for-All's ResNet50-D, for images of any size: four stages of 2 to 4, 2 to 4, 4 to 6 and 2 to 4 bottlenecks,
    each stage with a width and each block with an expand ratio; about 10^12 architectures. Options: width_mult (0.65, 0.8,
    1.0), expand_ratio (0.2, 0.25, 0.35) and resolution (the images' own), each a number or several, which are then searched.

    Small images keep their resolution: the earliest strides of 2 (and with its stride the pooling) are dropped until the
    last stage sees at least 3 pixels a side, so 224 pixels end at 7, 32 at 4 and 8 at 4. Of several resolutions the
    largest decides.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        width_mult: factors on the channels of the stem and of each stage (rounded to multiples of 8).
        expand_ratio: of a block's 3x3 convolution, its channels as a share of those out (rounded to multiples of 8).
        resolution: shorter side, in pixels, to which the network itself scales the images.

    Raises:
        SettingsError: an argument out of range, values that do not ascend, or expand ratios that are one after rounding.
    """

    name: ClassVar = "resnet"
    layers: ClassVar = {
        "resize": Resize,
        "conv_bn_act": ConvBNAct,
        "residual_conv": ResidualConv,
        "max_pool": MaxPool,
        "bottleneck": Bottleneck,
        "linear_classifier": LinearClassifier,
    }

    def __init__(
        self,
        input_shape: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 1000,
        *,
        width_mult: float | Sequence[float] = WIDTH_MULTS,
        expand_ratio: float | Sequence[float] = EXPAND_RATIOS,
        resolution: float | Sequence[float] | None = None,
    ) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes
        self._widths = tuple(map(float, ascending("width_mult of resnet", width_mult, low=0.02, high=16)))
        self._ratios = tuple(map(float, ascending("expand_ratio of resnet", expand_ratio, low=0.01, high=4)))
        self._resolutions = checked_resolutions("resolution of resnet", resolution, input_shape=input_shape)
        for channels in sorted({round_channels(one * width) for one in STAGE_CHANNELS for width in self._widths}):
            mids = [_mid_channels(channels, ratio) for ratio in self._ratios]
            if len(set(mids)) < len(mids):
                raise SettingsError(
                    "expand_ratio of resnet",
                    f"must give different multiples of 8 of {channels} channels, the stages' smallest",
                    came=f"{', '.join(f'{ratio:g}' for ratio in self._ratios)} give {', '.join(map(str, mids))}",
                    do="Set a larger width_mult, or ratios further apart",
                )

    @property
    def options(self) -> Mapping[str, float | Sequence[float]]:
        """width_mult, expand_ratio, and resolution where it is not the images' own; several values are a list."""
        options: dict[str, float | Sequence[float]] = {
            "width_mult": option_value(self._widths),
            "expand_ratio": option_value(self._ratios),
        }
        if self._resolutions != (min(self.input_shape[1:]),):
            options["resolution"] = option_value(self._resolutions)
        return options

    def describe(self, architecture: Architecture) -> str:
        """The resolution where it is searched; what is chosen of the stem; width and expand ratios, stage after stage."""
        values = {
            variable.name: variable.options[choice]
            for variable, choice in zip(self.variables, architecture.choices, strict=True)
        }
        parts = [f"r{values['resolution']}"] if "resolution" in values else []
        stem = [f"w{values[name]}" for name in ("stem.mid_width_mult", "stem.width_mult") if name in values]
        parts.append(" ".join([f"stem d{values['stem.depth']}", *stem]))
        for stage in range(1, len(STAGE_CHANNELS) + 1):
            width = [f"w{values[name]}" for name in (f"stage{stage}.width_mult",) if name in values]
            ratios = [
                f"e{values.get(f'stage{stage}.block{block}.expand_ratio', self._ratios[0])}"
                for block in range(1, int(values[f"stage{stage}.depth"]) + 1)
            ]
            parts.append(" ".join([*width, *ratios]))
        return " | ".join(parts)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """One elastic block a slot, channels sharing their first ones."""
        return elastic_layer(slot, self.build_operator, elastic=ELASTIC)

    @cached_property
    def chain(self) -> Chain:
        """The slots, in order."""
        decisions = Decisions()
        resolution = decisions.among("resolution", self._resolutions)
        resized = decisions.slot(partial(resize, self.input_shape), resolution)
        slots = [resized] if resized.present else []
        stem_stride, pool_stride, *strides = kept_strides(STRIDES, max(self._resolutions))

        depth = decisions.among("stem.depth", (2, 3))
        mid = self._width(decisions, "stem.mid_width_mult", STEM_MID_CHANNELS)
        width = self._width(decisions, "stem.width_mult", STEM_CHANNELS)
        place = Place(0, image_sizes(self.input_shape, self._resolutions))
        slots.append(decisions.slot(partial(_stem, self.input_shape[0], place, stem_stride), resolution, mid))
        place = place.after(STEM_MID_CHANNELS, stem_stride)
        slots.append(decisions.slot(partial(_residual_conv, place), resolution, mid, depth=depth, min_depth_choice=1))
        slots.append(decisions.slot(partial(_stem_end, place), resolution, mid, width))
        place = place.after(STEM_CHANNELS)
        if pool_stride > 1:
            slots.append(decisions.slot(partial(_max_pool, place), resolution, width))
            place = place.after(STEM_CHANNELS, pool_stride)

        for number, (channels, stride) in enumerate(zip(STAGE_CHANNELS, strides, strict=True), start=1):
            width_in, width = width, self._width(decisions, f"stage{number}.width_mult", channels)
            slots += self._stage(decisions, number, place, stride, (resolution, width_in, width))
            place = place.after(channels, stride)
        slots.append(decisions.slot(partial(_classifier, place, self.num_classes), resolution, width))
        return Chain(decisions.variables, slots)

    def _stage(
        self, decisions: Decisions, number: int, place: Place, stride: int, scale: tuple[Decision, Decision, Decision]
    ) -> list[Slot]:
        """The slots of a stage, `scale` being the resolution, the width that comes in and the stage's own."""
        resolution, width_in, width = scale
        channels = STAGE_CHANNELS[number - 1]
        depths = [MIN_DEPTHS[number - 1] + more for more in MORE_DEPTHS]
        depth = decisions.among(f"stage{number}.depth", depths)
        ratios = [
            decisions.among(f"stage{number}.block{block}.expand_ratio", self._ratios)
            for block in range(1, max(depths) + 1)
        ]
        slots = [decisions.slot(partial(_first_block, place, channels, stride), resolution, width_in, width, ratios[0])]
        make = partial(_block, place.after(channels, stride))
        for block, ratio in enumerate(ratios[1:], start=1):
            least = next(choice for choice, value in enumerate(depths) if value > block)
            slots.append(decisions.slot(make, resolution, width, ratio, depth=depth, min_depth_choice=least))
        return slots

    def _width(self, decisions: Decisions, name: str, channels: int) -> Decision:
        """The decision on the width of so many channels, without widths that round to the same."""
        distinct = {round_channels(channels * width): width for width in reversed(self._widths)}
        return decisions.among(name, sorted(distinct.values()))


def _mid_channels(out_channels: int, expand_ratio: float) -> int:
    return round_channels(round(out_channels * expand_ratio))


def _conv(shape: tuple[int, int, int], out_channels: int, stride: int) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": out_channels,
        "kernel_size": 3,
        "stride": stride,
        "activation": "relu",
    }
    return Operator("conv_bn_act", shape, attributes)


def _stem(in_channels: int, place: Place, stride: int, resolution: int, mid_width: float) -> Operator:
    return _conv((in_channels, *place.sizes[resolution]), round_channels(STEM_MID_CHANNELS * mid_width), stride)


def _residual_conv(place: Place, resolution: int, mid_width: float) -> Operator:
    return Operator("residual_conv", place.shape(mid_width, resolution), {"kernel_size": 3})


def _stem_end(place: Place, resolution: int, mid_width: float, width: float) -> Operator:
    return _conv(place.shape(mid_width, resolution), round_channels(STEM_CHANNELS * width), 1)


def _max_pool(place: Place, resolution: int, width: float) -> Operator:
    return Operator("max_pool", place.shape(width, resolution), {})


def _first_block(
    place: Place, channels: int, stride: int, resolution: int, width_in: float, width: float, expand_ratio: float
) -> Operator:
    shape, out_channels = place.shape(width_in, resolution), round_channels(channels * width)
    return _bottleneck(shape, out_channels, expand_ratio, stride, "projection")


def _block(place: Place, resolution: int, width: float, expand_ratio: float) -> Operator:
    shape = place.shape(width, resolution)
    return _bottleneck(shape, shape[0], expand_ratio, 1, "identity")


def _bottleneck(
    shape: tuple[int, int, int], out_channels: int, expand_ratio: float, stride: int, shortcut: str
) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": out_channels,
        "mid_channels": _mid_channels(out_channels, expand_ratio),
        "stride": stride,
        "shortcut": shortcut,
    }
    return Operator("bottleneck", shape, attributes)


def _classifier(place: Place, num_classes: int, resolution: int, width: float) -> Operator:
    return Operator("linear_classifier", place.shape(width, resolution), {"num_classes": num_classes})
