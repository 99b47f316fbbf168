"""Loss and accuracy of a training as it goes.

Shapes: B batch, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["EpochMetrics"]


class EpochMetrics:
    """Loss and accuracy over the steps since the beginning of the epoch; read out only when asked, since that waits.

    Args:
        device: where the batches are.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, device=device, dtype=torch.float64)  # loss, right, images

    def start(self) -> None:
        """Begins an epoch."""
        self._sums.zero_()

    def add(self, loss: Tensor, logits_BK: Tensor, target_BK: Tensor) -> None:
        """Counts a batch: its mean loss, a scalar, and how many of its images are classified rightly."""
        right = (logits_BK.argmax(1) == target_BK.argmax(1)).sum()
        self._sums += torch.stack([loss * len(target_BK), right, torch.full_like(right, len(target_BK))]).double()

    def loss(self) -> float:
        """The mean loss; 0 before the first batch."""
        total, _, images = self._sums.tolist()
        return total / images if images else 0.0

    def accuracy(self) -> float:
        """The share of images that were classified rightly, from 0 to 1; 0 before the first batch."""
        _, right, images = self._sums.tolist()
        return right / images if images else 0.0

    def state_dict(self) -> dict[str, Tensor]:
        """The sums so far."""
        return {"sums": self._sums}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `state_dict`."""
        self._sums.copy_(state["sums"])
