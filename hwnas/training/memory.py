"""What is done where a device's memory does not suffice: smaller batches where they give the same, else a sentence."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from hwnas.errors import TrainingError

__all__ = ["in_fitting_batches", "within_memory"]

Found = TypeVar("Found")


@contextlib.contextmanager
def within_memory(where: str, *, came: str, do: str) -> Iterator[None]:
    """Within, memory that does not suffice is a TrainingError; other errors stay what they are.

    Args:
        where: what needs the memory, and on which device.
        came: what does not fit.
        do: what to do next.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(where, "must fit the memory", came=came, do=do) from error


def in_fitting_batches(work: Callable[[int], Found], batch_size: int, *, device: torch.device | str) -> Found:
    """What `work` gives in batches of `batch_size`, or of half as many as often as the memory of `device` wants it.

    Raises:
        TrainingError: one image at a time does not fit either.
    """
    while batch_size > 1:
        try:
            return work(batch_size)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        batch_size //= 2  # out of the handler, whose traceback holds what was allocated
    with within_memory(f"A network on {device}", came="one image does not", do="Use a device with more memory"):
        return work(1)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
