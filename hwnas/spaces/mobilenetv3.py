"""Once-for-All's MobileNetV3 space (Cai et al., ICLR 2020; MobileNetV3: Howard et al., ICCV 2019).

Five stages of elastic depth {2, 3, 4}; in each block an elastic kernel {3, 5, 7} and expand ratio {3, 4, 6}; about 10^19
encodings. Squeeze-and-excitation and hard-swish stand where MobileNetV3 has them. Where they are given several values,
the width of the network and the resolution of its images are elastic too.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import (
    Classifier,
    ConvBNAct,
    ElasticClassifier,
    ElasticConvBNAct,
    ElasticMBConv,
    MBConv,
    Resize,
)
from hwnas.spaces.architecture import Architecture, Operator
from hwnas.spaces.chain import Chain, ChainSpace, Slot
from hwnas.spaces.decisions import Decisions, ascending, elastic_layer, option_value
from hwnas.spaces.scaling import Place, checked_resolutions, image_sizes, kept_strides, resize, round_channels

__all__ = ["MobileNetV3"]

DEPTHS: Final = (2, 3, 4)
KERNEL_SIZES: Final = (3, 5, 7)
EXPAND_RATIOS: Final = (3, 4, 6)
STEM_CHANNELS: Final = 16
LAST_CHANNELS: Final = 960
HIDDEN_FEATURES: Final = 1280
MIN_LAST_SIDE: Final = max(KERNEL_SIZES) // 2 + 1


@dataclass(frozen=True)
class Stage:
    """One stage of MobileNetV3: channels out, stride of its first block, squeeze-and-excite, activation."""

    channels: int
    stride: int
    squeeze_excite: bool
    activation: str


STAGES: Final = (
    Stage(24, 2, False, "relu"),
    Stage(40, 2, True, "relu"),
    Stage(80, 2, False, "hard_swish"),
    Stage(112, 1, True, "hard_swish"),
    Stage(160, 2, True, "hard_swish"),
)
FIRST_BLOCK: Final = Stage(STEM_CHANNELS, 1, False, "relu")
ALL_CHANNELS: Final = (STEM_CHANNELS, *(stage.channels for stage in STAGES), LAST_CHANNELS, HIDDEN_FEATURES)
SCALES: Final = {"width_mult": "w", "resolution": "r"}
ELASTIC: Final = {"conv_bn_act": ElasticConvBNAct, "mbconv": ElasticMBConv, "classifier": ElasticClassifier}


class MobileNetV3(ChainSpace):
    """Once-for-All's MobileNetV3, for images of any size: five stages of 2 to 4 inverted residual blocks, each with kernel
    size 3, 5 or 7 and expand ratio 3, 4 or 6; about 10^19 architectures. Options: width_mult (1.0) and resolution (the
    images' own), each a number or several, which are then searched.

    Small images keep their resolution: the earliest strides of 2 are dropped until the last stage gives at least 4 pixels
    a side, where a kernel of 7 still reaches more than one of 5, so 224 pixels end at 7, 96 at 6, 32 at 4, 28 at 4 and 8
    at 4. Of several resolutions the largest decides: at smaller ones, such as 24 of [24, 32], the last stage may end at
    fewer, and the largest kernels there be one function. Each value of either option has operators of its own, which a
    latency table measures.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        width_mult: factor on all channels (rounded to multiples of 8, as MobileNet does).
        resolution: shorter side, in pixels, to which the network itself scales the images.

    Raises:
        SettingsError: an argument out of range, values that do not ascend, or widths that are one after rounding.
    """

    name: ClassVar = "mobilenetv3"
    layers: ClassVar = {"resize": Resize, "conv_bn_act": ConvBNAct, "mbconv": MBConv, "classifier": Classifier}

    def __init__(
        self,
        input_shape: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 1000,
        *,
        width_mult: float | Sequence[float] = 1.0,
        resolution: float | Sequence[float] | None = None,
    ) -> None:
        widths = ascending("width_mult of mobilenetv3", width_mult, low=0.05, high=16)
        for before, after in itertools.pairwise(widths):
            if all(round_channels(one * before) == round_channels(one * after) for one in ALL_CHANNELS):
                raise SettingsError(
                    "width_mult of mobilenetv3",
                    "must differ in channels, which are multiples of 8",
                    came=f"{before} and {after} give the same",
                )
        self.input_shape = input_shape
        self.num_classes = num_classes
        self._widths = tuple(map(float, widths))
        self._resolutions = checked_resolutions("resolution of mobilenetv3", resolution, input_shape=input_shape)

    @property
    def options(self) -> Mapping[str, float | Sequence[float]]:
        """width_mult, and resolution where it is not the images' own; several values are a list."""
        options: dict[str, float | Sequence[float]] = {"width_mult": option_value(self._widths)}
        if self._resolutions != (min(self.input_shape[1:]),):
            options["resolution"] = option_value(self._resolutions)
        return options

    def describe(self, architecture: Architecture) -> str:
        """Width and resolution where they are searched; depths, kernel sizes and expand ratios, a stage after the other."""
        values = {
            variable.name: variable.options[choice]
            for variable, choice in zip(self.variables, architecture.choices, strict=True)
        }
        stages = []
        for stage in range(1, len(STAGES) + 1):
            blocks = range(1, int(values[f"stage{stage}.depth"]) + 1)
            stages.append(
                " ".join(
                    f"k{values[f'stage{stage}.block{block}.kernel_size']}"
                    f"e{values[f'stage{stage}.block{block}.expand_ratio']}"
                    for block in blocks
                )
            )
        scale = [f"{letter}{values[name]}" for name, letter in SCALES.items() if name in values]
        return " | ".join([*([" ".join(scale)] if scale else []), *stages])

    def keeps_function(self, parent: Architecture, child: Architecture) -> bool:
        """Where nothing is smaller, and neither width nor resolution, which decide on skip connections, is another."""
        return all(
            now == before if variable.name in SCALES else now >= before
            for variable, before, now in zip(self.variables, parent.choices, child.choices, strict=True)
        )

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """One elastic block a slot: kernels share their centre, channels their first ones."""
        return elastic_layer(slot, self.build_operator, elastic=ELASTIC)

    @cached_property
    def chain(self) -> Chain:
        """The slots, in order."""
        decisions = Decisions()
        scale = (decisions.among("width_mult", self._widths), decisions.among("resolution", self._resolutions))
        all_strides = [2, *(stage.stride for stage in STAGES)]
        stem_stride, *strides = kept_strides(all_strides, max(self._resolutions), least=MIN_LAST_SIDE)
        place = Place(0, image_sizes(self.input_shape, self._resolutions))
        resized = decisions.slot(partial(resize, self.input_shape), scale[1])
        slots = [resized] if resized.present else []
        slots.append(decisions.slot(partial(_stem, self.input_shape[0], place, stem_stride), *scale))
        place = place.after(STEM_CHANNELS, stem_stride)
        slots.append(decisions.slot(partial(_mbconv, place, FIRST_BLOCK, kernel_size=3, expand_ratio=1), *scale))
        for number, (stage, stride) in enumerate(zip(STAGES, strides, strict=True), start=1):
            depth = decisions.among(f"stage{number}.depth", DEPTHS)
            for block in range(max(DEPTHS)):
                kernel_size = decisions.among(f"stage{number}.block{block + 1}.kernel_size", KERNEL_SIZES)
                expand_ratio = decisions.among(f"stage{number}.block{block + 1}.expand_ratio", EXPAND_RATIOS)
                own = replace(stage, stride=stride if block == 0 else 1)
                make, chosen = partial(_mbconv, place, own), (*scale, kernel_size, expand_ratio)
                least = next(choice for choice, value in enumerate(DEPTHS) if value > block)
                slots.append(decisions.slot(make, *chosen, depth=depth, min_depth_choice=least))
                place = place.after(own.channels, own.stride)
        slots.append(decisions.slot(partial(_classifier, place, self.num_classes), *scale))
        return Chain(decisions.variables, slots)


def _stem(in_channels: int, place: Place, stride: int, width_mult: float, resolution: int) -> Operator:
    attributes: dict[str, int | str] = {
        "out_channels": round_channels(STEM_CHANNELS * width_mult),
        "kernel_size": 3,
        "stride": stride,
        "activation": "hard_swish",
    }
    return Operator("conv_bn_act", (in_channels, *place.sizes[resolution]), attributes)


def _mbconv(
    place: Place, stage: Stage, width_mult: float, resolution: int, kernel_size: int, expand_ratio: int
) -> Operator:
    shape = place.shape(width_mult, resolution)
    mid_channels = shape[0] if expand_ratio == 1 else round_channels(shape[0] * expand_ratio)
    attributes: dict[str, int | str] = {
        "out_channels": round_channels(stage.channels * width_mult),
        "mid_channels": mid_channels,
        "kernel_size": kernel_size,
        "stride": stage.stride,
        "se_channels": round_channels(mid_channels / 4) if stage.squeeze_excite else 0,
        "activation": stage.activation,
    }
    return Operator("mbconv", shape, attributes)


def _classifier(place: Place, num_classes: int, width_mult: float, resolution: int) -> Operator:
    attributes: dict[str, int | str] = {
        "num_classes": num_classes,
        "last_channels": round_channels(LAST_CHANNELS * width_mult),
        "hidden_features": round_channels(HIDDEN_FEATURES * width_mult),
    }
    return Operator("classifier", place.shape(width_mult, resolution), attributes)
