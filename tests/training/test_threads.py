"""The number of torch's threads."""

import pytest
import torch

from hwnas.training.threads import one_thread, suitable_threads


def test_one_thread_for_tiny_images_and_what_was_there_after() -> None:
    torch.set_num_threads(2)
    with suitable_threads((1, 8, 8)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with suitable_threads((3, 32, 32)):
        assert torch.get_num_threads() == 2


def test_restored_after_an_error() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="stop"), suitable_threads((1, 8, 8)):
        raise ValueError("stop")
    assert torch.get_num_threads() == 2


def test_one_thread_whatever_the_images() -> None:
    torch.set_num_threads(2)
    with one_thread(), suitable_threads((3, 32, 32)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
