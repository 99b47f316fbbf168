import os

import pytest
import torch

from hwnas.spaces import MobileNetV3


@pytest.fixture(scope="session")
def mobile() -> MobileNetV3:
    """A space too large to look at all of it, whose costs are counted once."""
    return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of journal lines need not reach a disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
