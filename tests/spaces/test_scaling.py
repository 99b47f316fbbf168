"""Channels of any width, strides for any size of images, images of any resolution."""

from functools import reduce
from typing import Any

import pytest

from hwnas.errors import SettingsError
from hwnas.spaces import Operator
from hwnas.spaces.scaling import (
    Place,
    checked_resolutions,
    image_sizes,
    kept_strides,
    resize,
    round_channels,
    strided,
)


@pytest.mark.parametrize(
    ("channels", "rounded"), [(1, 8), (8, 8), (11.9, 16), (12, 16), (10, 16), (17.7, 16), (18, 24), (20, 24), (35, 32)]
)
def test_channels_are_rounded_as_mobilenet_does(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


def test_more_channels_are_never_rounded_to_fewer() -> None:
    rounded = [round_channels(tenths / 10) for tenths in range(1, 5000)]
    assert rounded == sorted(rounded)


@pytest.mark.parametrize(
    ("side", "kept", "last"),
    [(224, [2, 2, 1, 2], 28), (20, [2, 2, 1, 2], 3), (16, [1, 2, 1, 2], 4), (8, [1, 1, 1, 2], 4), (3, [1, 1, 1, 1], 3)],
)
def test_the_earliest_strides_are_dropped_until_three_pixels_are_left(side: int, kept: list[int], last: int) -> None:
    assert kept_strides([2, 2, 1, 2], side) == kept
    for stride in kept:
        side = -(-side // stride)
    assert side == last


@pytest.mark.parametrize(("side", "least", "last"), [(24, 3, 3), (24, 4, 6), (24, 7, 12), (24, 99, 24), (32, 4, 4)])
def test_more_pixels_may_be_asked_for(side: int, least: int, last: int) -> None:
    assert reduce(strided, kept_strides([2, 2, 1, 2], side, least=least), side) == last


def test_a_place_has_a_shape_for_each_width_and_resolution() -> None:
    place = Place(16, image_sizes((3, 8, 12), [6, 8])).after(24, 2)
    assert place.shape(1.0, 8) == (24, 4, 6)
    assert place.shape(0.5, 6) == (16, 3, 5)
    assert place.after(40).sizes == place.sizes


@pytest.mark.parametrize(
    ("shape", "resolution", "size"),
    [((3, 8, 8), 6, (6, 6)), ((3, 8, 12), 6, (6, 9)), ((3, 12, 8), 4, (6, 4)), ((1, 5, 7), 4, (4, 6))],
)
def test_both_sides_are_scaled_by_the_same_factor(
    shape: tuple[int, int, int], resolution: int, size: tuple[int, int]
) -> None:
    height, width = size
    assert resize(shape, resolution) == Operator("resize", shape, {"height": height, "width": width})


def test_images_of_their_own_resolution_are_not_resized() -> None:
    assert resize((3, 8, 12), 8) is None
    assert checked_resolutions("resolution", None, input_shape=(3, 8, 12)) == (8,)


@pytest.mark.parametrize("values", [[4, 6, 8], (4.0, 6.0, 8.0)])
def test_resolutions_are_whole_numbers(values: Any) -> None:
    found = checked_resolutions("resolution", values, input_shape=(3, 8, 12))
    assert found == (4, 6, 8)
    assert all(type(one) is int for one in found)


@pytest.mark.parametrize("values", [3, 9, [6, 12], 6.5, [6, 7.5], [], -1, float("nan")])
def test_resolutions_that_images_cannot_have_are_refused(values: Any) -> None:
    with pytest.raises(
        SettingsError, match=r"resolution must be whole numbers of pixels from 4 to 8, the images\' shorter"
    ):
        checked_resolutions("resolution", values, input_shape=(3, 8, 12))
