"""One network on its own, on the labels or also on a teacher's predictions (Hinton et al., 2015).

Shapes: B batch, K classes.
"""

from typing import Any, ClassVar

import torch
from torch import nn

from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["Plain"]


class Plain(TrainingMethod):
    """Trains a plain network.

    Args:
        teacher: a network in evaluation mode whose predictions are learnt too; None: the labels alone.
        distillation: the weight of the teacher's predictions, from 0 to 1; the labels have the rest.
    """

    name: ClassVar = "plain"

    def __init__(self, *, teacher: nn.Module | None = None, distillation: float = 0.0) -> None:
        self._teacher = teacher
        self._distillation = distillation if teacher is not None else 0.0

    def to(self, device: torch.device) -> None:
        """Moves the teacher."""
        if self._teacher is not None:
            self._teacher = self._teacher.to(device).eval()

    def step(self, network: Any, step: Step) -> Trained:
        """One pass."""
        logits_BK = step.forward(network)
        loss = cross_entropy(logits_BK, step.target_BK)
        total = loss
        if self._teacher is not None and self._distillation > 0:
            with torch.no_grad():
                teacher_BK = step.forward(self._teacher).softmax(1)
            total = (1 - self._distillation) * loss + self._distillation * cross_entropy(logits_BK, teacher_BK)
        step.backward(total)
        return Trained(logits_BK.detach(), loss.detach())
