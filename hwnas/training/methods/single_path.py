"""Uniform single-path sampling: each step trains one random sub-network on the labels (SPOS, Guo et al., ECCV 2020)."""

from typing import Any, ClassVar

from hwnas.errors import SettingsError
from hwnas.spaces import SearchSpace
from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["SinglePath"]


class SinglePath(TrainingMethod):
    """Each step trains one sub-network, drawn uniformly (SPOS).

    Args:
        space: whose sub-networks.
        paths: sub-networks whose gradients are averaged in a step; the paper takes 1.

    Raises:
        SettingsError: an option out of range.
    """

    name: ClassVar = "single_path"

    def __init__(self, space: SearchSpace, *, paths: int = 1) -> None:
        if not (isinstance(paths, int) and 1 <= paths <= 64):
            raise SettingsError("paths of single_path", "must be a whole number from 1 to 64", came=f"{paths} came")
        self._space = space
        self._paths = paths

    def step(self, network: Any, step: Step) -> Trained:
        """Random sub-networks on the labels."""
        for _ in range(self._paths):
            network.activate(self._space.sample(step.rng))
            logits_BK = step.forward(network)
            loss = cross_entropy(logits_BK, step.target_BK)
            step.backward(loss / self._paths)
        return Trained(logits_BK.detach(), loss.detach())
