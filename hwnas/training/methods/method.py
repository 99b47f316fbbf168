"""What every way of training a supernet offers to the training loop, and what the loop offers to it.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.spaces import Architecture

__all__ = ["Step", "Trained", "TrainingMethod", "cross_entropy"]


@dataclass(frozen=True)
class Step:
    """One step of a training: a batch, and how to pass it through the network and back.

    Attributes:
        x_BCHW: normalised images.
        target_BK: the probability of each class, smoothed and mixed as the settings want it.
        held_out: makes further images and targets, from the share that the method holds out; None: it holds none.
        rng: of the sub-networks; alike on all processes and for all parts of a batch.
        progress: the part of the training that is done, from 0 to 1.
        autocast: makes the context in which forward passes run.
        scaled: a loss as it is differentiated.
        average_gradients: of parameters that are the method's own, over all processes.
    """

    x_BCHW: Tensor
    target_BK: Tensor
    held_out: Callable[[], tuple[Tensor, Tensor]] | None
    rng: np.random.Generator
    progress: float
    autocast: Callable[[], AbstractContextManager[Any]]
    scaled: Callable[[Tensor], Tensor]
    average_gradients: Callable[[Iterable[nn.Parameter]], None]

    def forward(self, network: nn.Module) -> Tensor:
        """The logits (B, K) of `network`."""
        with self.autocast():
            logits_BK: Tensor = network(self.x_BCHW)
        return logits_BK.float()

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of `loss` to those that the step has."""
        torch.autograd.backward(self.scaled(loss))


@dataclass(frozen=True)
class Trained:
    """What a step tells: the logits (B, K) and loss of the sub-network whose progress is shown."""

    logits_BK: Tensor
    loss: Tensor


class TrainingMethod(ABC):
    """Which sub-networks a step trains, and on what.

    A new method writes `step`; one that keeps something from step to step also `state_dict` and `load_state_dict`.

    Attributes:
        name: as in METHODS.
        held_out_share: the share of the train part that is kept for the method's own parameters.
    """

    name: ClassVar[str]
    held_out_share: ClassVar[float] = 0.0

    @abstractmethod
    def step(self, network: Any, step: Step) -> Trained:
        """Runs the forward and backward passes of one step; the loop then updates the weights.

        Args:
            network: the supernet.
            step: the batch, and how to pass it through.
        """

    def check(self, network: Any, x_BCHW: Tensor) -> None:  # noqa: B027
        """Called before a training, with an image: raises SpaceError where the method cannot train `network`."""

    def prepare(self, network: Any, progress: float) -> bool:  # noqa: ARG002
        """Called before each step: may move weights about in `network`.

        Returns:
            Whether it did: momenta are then dropped, and the moving average of the weights begins anew.
        """
        return False

    def finish(self, network: Any, step: Step) -> None:  # noqa: B027
        """Called after the weights were updated: where a method updates parameters of its own."""

    def to(self, device: torch.device) -> None:  # noqa: B027
        """Moves what the method keeps to `device`."""

    def state_dict(self) -> dict[str, Any]:
        """What the method keeps from step to step: tensors, numbers, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Takes what `state_dict` gave."""

    def preferred(self) -> Architecture | None:
        """The architecture that the method itself chooses; None: it chooses none."""
        return None

    def notes(self) -> dict[str, float]:
        """Numbers of its own that are worth showing, by name."""
        return {}


def cross_entropy(logits_BK: Tensor, target_BK: Tensor) -> Tensor:
    """The mean cross entropy of the classes' probabilities `target_BK` and `logits_BK`, a scalar."""
    return nn.functional.cross_entropy(logits_BK, target_BK)
