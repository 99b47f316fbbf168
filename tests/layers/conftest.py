import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small layers run fastest on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
