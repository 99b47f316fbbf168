"""Once-for-All's MobileNetV3 space (Cai et al., ICLR 2020; MobileNetV3: Howard et al., ICCV 2019).

Five stages of elastic depth {2, 3, 4}; in each block an elastic kernel {3, 5, 7} and expand ratio {3, 4, 6}; about 10^19
encodings. Squeeze-and-excitation and hard-swish stand where MobileNetV3 has them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import Classifier, ConvBNAct, ElasticMBConv, Fixed, MBConv
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, ChainSpace, Slot, option_product

__all__ = ["MobileNetV3"]

DEPTHS: Final = (2, 3, 4)
KERNEL_SIZES: Final = (3, 5, 7)
EXPAND_RATIOS: Final = (3, 4, 6)
STEM_CHANNELS: Final = 16
LAST_CHANNELS: Final = 960
HIDDEN_FEATURES: Final = 1280
MIN_RESOLUTION: Final = 3


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


class MobileNetV3(ChainSpace):
    """Once-for-All's MobileNetV3, for images of any size: five stages of 2 to 4 inverted residual blocks, each with kernel
    size 3, 5 or 7 and expand ratio 3, 4 or 6; about 10^19 architectures. Option: width_mult (1.0).

    Small images keep their resolution: the earliest strides of 2 are dropped until the last stage sees at least 3 pixels
    a side, so 224 pixels end at 7, 32 at 4, 28 at 4 and 8 at 4.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        width_mult: factor on all channels (rounded to multiples of 8, as MobileNet does).

    Raises:
        SettingsError: an argument out of range.
    """

    name: ClassVar = "mobilenetv3"
    layers: ClassVar = {"conv_bn_act": ConvBNAct, "mbconv": MBConv, "classifier": Classifier}

    def __init__(
        self, input_shape: tuple[int, int, int] = (3, 224, 224), num_classes: int = 1000, *, width_mult: float = 1.0
    ) -> None:
        if not 0.05 <= width_mult <= 16:
            raise SettingsError("width_mult of mobilenetv3", "must be from 0.05 to 16", came=f"{width_mult} came")
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.width_mult = float(width_mult)

    @property
    def options(self) -> dict[str, int | float | str]:
        """{"width_mult": float}."""
        return {"width_mult": self.width_mult}

    def describe(self, architecture: Architecture) -> str:
        """Depths, kernel sizes and expand ratios, a stage after the other."""
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
        return " | ".join(stages)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """One elastic block a slot: kernels share their centre, expansions their first channels."""
        widest = slot.present[-1]
        if not slot.variables:
            return Fixed(self.build_operator(widest))
        make_elastic: Callable[..., nn.Module] = ElasticMBConv
        return make_elastic(widest.input_shape[0], **widest.attributes)

    @cached_property
    def chain(self) -> Chain:
        """Stem, first block, the elastic blocks with nine operators each, classifier."""
        strides = self._strides()
        _, height, width = self.input_shape
        stem = self._channels(STEM_CHANNELS)
        slots = [_conv_slot(self.input_shape, stem, strides[0])]
        shape = (stem, _strided(height, strides[0]), _strided(width, strides[0]))
        slots.append(Slot((_mbconv(shape, stem, Stage(STEM_CHANNELS, 1, False, "relu"), 3, 1, 1),)))
        variables: list[Variable] = []
        for number, (stage, stride) in enumerate(zip(STAGES, strides[1:], strict=True), start=1):
            depth = len(variables)
            variables.append(Variable(f"stage{number}.depth", DEPTHS))
            out_channels = self._channels(stage.channels)
            for block in range(max(DEPTHS)):
                first = len(variables)
                variables.append(Variable(f"stage{number}.block{block + 1}.kernel_size", KERNEL_SIZES))
                variables.append(Variable(f"stage{number}.block{block + 1}.expand_ratio", EXPAND_RATIOS))
                block_stride = stride if block == 0 else 1
                operators = tuple(
                    _mbconv(shape, out_channels, stage, int(kernel), int(ratio), block_stride)
                    for kernel, ratio in option_product(variables[first:])
                )
                least = next(choice for choice, value in enumerate(DEPTHS) if value > block)
                slots.append(Slot(operators, (first, first + 1), depth if least else None, least))
                shape = (out_channels, _strided(shape[1], block_stride), _strided(shape[2], block_stride))
        slots.append(Slot((self._classifier(shape),)))
        return Chain(variables, slots)

    def _classifier(self, shape: tuple[int, int, int]) -> Operator:
        attributes = {
            "num_classes": self.num_classes,
            "last_channels": self._channels(LAST_CHANNELS),
            "hidden_features": self._channels(HIDDEN_FEATURES),
        }
        return Operator("classifier", shape, attributes)

    def _channels(self, channels: int) -> int:
        return round_channels(channels * self.width_mult)

    def _strides(self) -> list[int]:
        """Strides of the stem and the stages, the earliest dropped where the image is small."""
        strides = [2, *(stage.stride for stage in STAGES)]
        for index, stride in enumerate(strides):
            side = min(self.input_shape[1:])
            for later in strides:
                side = _strided(side, later)
            if side >= MIN_RESOLUTION:
                break
            if stride > 1:
                strides[index] = 1
        return strides


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, never less than nine tenths of it (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def _strided(size: int, stride: int) -> int:
    return (size - 1) // stride + 1


def _conv_slot(shape: tuple[int, int, int], out_channels: int, stride: int) -> Slot:
    attributes: dict[str, int | str] = {
        "out_channels": out_channels,
        "kernel_size": 3,
        "stride": stride,
        "activation": "hard_swish",
    }
    return Slot((Operator("conv_bn_act", shape, attributes),))


def _mbconv(
    shape: tuple[int, int, int], out_channels: int, stage: Stage, kernel_size: int, expand_ratio: int, stride: int
) -> Operator:
    mid_channels = shape[0] if expand_ratio == 1 else round_channels(shape[0] * expand_ratio)
    attributes: dict[str, int | str] = {
        "out_channels": out_channels,
        "mid_channels": mid_channels,
        "kernel_size": kernel_size,
        "stride": stride,
        "se_channels": round_channels(mid_channels / 4) if stage.squeeze_excite else 0,
        "activation": stage.activation,
    }
    return Operator("mbconv", shape, attributes)
