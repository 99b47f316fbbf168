"""How networks of convolutions are scaled: channels to any width, strides to any size of images, images to a resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from hwnas.errors import SettingsError
from hwnas.spaces.architecture import Operator
from hwnas.spaces.decisions import ascending

__all__ = [
    "Place",
    "Shape",
    "checked_resolutions",
    "image_sizes",
    "kept_strides",
    "resize",
    "round_channels",
    "strided",
]

Shape = tuple[int, int, int]

MIN_LAST_SIDE: Final = 3
"""Of fewer pixels a side a kernel of 5 sees no more than one of 3."""
MIN_SIDE: Final = 4


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, never less than nine tenths of it (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


@dataclass(frozen=True)
class Place:
    """A place between two layers of networks of several widths and resolutions.

    Attributes:
        channels: how many there are at width 1.
        sizes: height and width for each resolution.
    """

    channels: int
    sizes: Mapping[int, tuple[int, int]]

    def shape(self, width_mult: float, resolution: int) -> Shape:
        """(C, H, W) there."""
        return round_channels(self.channels * width_mult), *self.sizes[resolution]

    def after(self, channels: int, stride: int = 1) -> "Place":
        """The place behind a layer that gives `channels` at width 1 and divides the sides by `stride`, rounded up."""
        sizes = {one: (strided(high, stride), strided(wide, stride)) for one, (high, wide) in self.sizes.items()}
        return Place(channels, sizes)


def strided(size: int, stride: int) -> int:
    """How many of `size` pixels a layer of this stride leaves."""
    return (size - 1) // stride + 1


def kept_strides(strides: Sequence[int], side: int, *, least: int = MIN_LAST_SIDE) -> list[int]:
    """`strides`, of which the earliest are made 1 until images of `side` pixels end at `least` pixels a side or more.

    Kernels of k pixels differ from smaller ones only where they see more than k // 2 pixels a side.
    """
    kept = list(strides)
    for index in range(len(kept)):
        if reduce(strided, kept, side) >= least:
            break
        kept[index] = 1
    return kept


def checked_resolutions(name: str, values: float | Sequence[float] | None, *, input_shape: Shape) -> tuple[int, ...]:
    """The resolutions of an option: shorter sides of images in pixels; for None the images' own.

    Raises:
        SettingsError: one is not a whole number from 4 to the images' own, or they do not ascend.
    """
    own = min(input_shape[1:])
    if values is None:
        return (own,)
    must = f"must be whole numbers of pixels from {MIN_SIDE} to {own}, the images' shorter side"
    found = ascending(name, values, low=MIN_SIDE, high=own, must=must)
    for value in found:
        if value != int(value):
            raise SettingsError(name, must, came=f"{value} came")
    return tuple(map(int, found))


def image_sizes(input_shape: Shape, resolutions: Sequence[int]) -> dict[int, tuple[int, int]]:
    """For each resolution the height and width of images whose shorter side is scaled to it, the longer alike."""
    _, height, width = input_shape
    shorter = min(height, width)
    return {one: (round(height * one / shorter), round(width * one / shorter)) for one in resolutions}


def resize(input_shape: Shape, resolution: int) -> Operator | None:
    """The operator that scales images to `resolution`; None where that is their own."""
    if resolution == min(input_shape[1:]):
        return None
    height, width = image_sizes(input_shape, [resolution])[resolution]
    return Operator("resize", input_shape, {"height": height, "width": width})
