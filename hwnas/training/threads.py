"""How many threads torch uses: all cores for large images, one for tiny ones.

On tiny images an operator takes so little that threads spend their time waiting for each other: where anything else runs
on the machine, two threads are several times slower than one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import torch

__all__ = ["one_thread", "suitable_threads"]

TINY_PIXELS: Final = 256


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch uses one thread; sums over several round otherwise, by how many they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def suitable_threads(input_shape: Sequence[int]) -> contextlib.AbstractContextManager[None]:
    """Within, torch uses one thread if an image of `input_shape` (C, H, W) has at most 256 pixels a channel."""
    return one_thread() if input_shape[1] * input_shape[2] <= TINY_PIXELS else contextlib.nullcontext()
