"""Several processes that train one network: started by torchrun, each on its share of every batch.

Gradients are averaged once a step over all processes, after all forward and backward passes of the step, so that ways of
training with many passes pay for communication once. With batch norms that share their statistics the result is that of
one process on the whole batch.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
from torch import Tensor, nn

from hwnas.errors import SettingsError, TrainingError

__all__ = ["Processes", "is_first_process", "joined", "launched", "launched_processes", "own_device"]

TIMEOUT: Final = timedelta(minutes=10)
LOST: Final = ("closed by peer", "Connection reset", "Broken pipe")
"""What gloo says where another process has ended."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Attributes:
        rank: number of this process.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells of progress."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The images of a batch that are this process's. Raises SettingsError where they cannot be shared evenly."""
        if batch_size % self.count:
            raise SettingsError(
                "training.batch_size", f"must be a multiple of {self.count}, the processes", came=f"{batch_size} came"
            )
        share = batch_size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its mean over all processes; all must have run the same layers."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.all_reduce(flat)
        flat /= self.count
        position = 0
        for gradient in gradients:
            gradient.copy_(flat[position : position + gradient.numel()].view_as(gradient))
            position += gradient.numel()

    def all_reduce(self, value: Tensor) -> Tensor:
        """The sum of `value` over all processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(value)
        return value

    @contextlib.contextmanager
    def hearing(self) -> Iterator[None]:
        """Within, it is a TrainingError if another process has ended; other errors stay what they are."""
        try:
            yield
        except RuntimeError as error:
            said = str(error)
            lost = isinstance(error, torch.distributed.DistError) or any(words in said for words in LOST)
            if self.count == 1 or not lost:
                raise
            raise TrainingError(
                f"Process {self.rank} of {self.count}",
                "must hear from the others",
                came=f"one has ended: {said.strip().splitlines()[0]}",
                do="See the error of the process that ended first; run again to go on from the last checkpoint",
            ) from error


def launched() -> bool:
    """Whether torchrun has started this process with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_first_process() -> bool:
    """Whether this process is alone, or the first of those that torchrun has started."""
    return launched_processes().is_first


def launched_processes() -> Processes:
    """Those that torchrun has started, which need not have been joined; this one alone where there are no others."""
    return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if launched() else Processes()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Joins the processes that torchrun has started: NCCL between GPUs, else gloo. Alone where there are no others."""
    if not launched():
        yield Processes()
        return
    if torch.distributed.is_initialized():
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def own_device(device: torch.device | str | None) -> torch.device:
    """`device`, or where it is None the GPU of this process where there is one, else the CPU.

    Raises:
        SettingsError: torchrun has started more processes on this machine than it has GPUs.
    """
    if device is not None:
        return torch.device(device)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    count, processes = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > count:
        raise SettingsError("--nproc-per-node", f"must be at most {count}, the GPUs here", came=f"{processes} came")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
