"""A task small enough to train on in a second."""

import pytest
import torch

from hwnas.spaces import MobileNetV3
from hwnas.training import ImageData, Part, load_data


@pytest.fixture(scope="session")
def data() -> ImageData:
    """180 real digits."""
    whole = load_data("digits")
    parts = [Part(part.images_NCHW[:60], part.labels_N[:60]) for part in (whole.train, whole.validation, whole.test)]
    return ImageData("digits", *parts, whole.class_names, whole.mean, whole.std, whole.flips)


@pytest.fixture(scope="session")
def space() -> MobileNetV3:
    """The narrowest space of digits."""
    return MobileNetV3((1, 8, 8), 10, width_mult=0.1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Results that do not depend on the number of cores."""
    torch.set_num_threads(1)
