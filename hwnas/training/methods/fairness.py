"""Strict fairness: in each step every option of every variable is trained equally often (FairNAS, Chu et al., ICCV 2021)."""

from typing import Any, ClassVar

import numpy as np

from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["Fairness"]


class Fairness(TrainingMethod):
    """Each step trains as many sub-networks as the variables have options, so that each option is in one of them.

    Their gradients are summed before the weights are updated once. Where variables have different numbers of options,
    those with fewer show each of theirs equally often, give or take one. The strictness is that of FairNAS where
    variables choose between layers with weights of their own.

    Args:
        space: whose sub-networks.
    """

    name: ClassVar = "fairness"

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def step(self, network: Any, step: Step) -> Trained:
        """As many passes as the largest number of options."""
        for architecture in fair_architectures(self._space, rng=step.rng):
            network.activate(architecture)
            logits_BK = step.forward(network)
            loss = cross_entropy(logits_BK, step.target_BK)
            step.backward(loss)
        return Trained(logits_BK.detach(), loss.detach())


def fair_architectures(space: SearchSpace, *, rng: np.random.Generator) -> list[Architecture]:
    """Random architectures, as many as the most options of a variable, in which each option stands equally often."""
    count = int(space.num_options_V.max())
    columns = []
    for options in space.num_options_V:
        shuffled = rng.permutation(options)  # which options stand once more where the number does not divide
        columns.append(rng.permutation(shuffled[np.arange(count) % options]))
    return space.architectures(np.stack(columns, axis=1))
