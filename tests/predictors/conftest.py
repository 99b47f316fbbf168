"""Errors of made-up networks whose truth is known: what each decision adds, what pairs of them do, and irregular rests."""

import pytest

from hwnas.spaces import MobileNetV3
from hwnas.testing.predictor_contract import KnownErrors, known_errors


@pytest.fixture(scope="session")
def mobile() -> KnownErrors:
    """600 networks of a small MobileNetV3."""
    return known_errors(MobileNetV3((3, 32, 32), 10, width_mult=0.25), 600)
