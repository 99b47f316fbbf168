import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small networks run fastest on one thread."""
    torch.set_num_threads(1)
