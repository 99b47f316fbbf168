"""The sandwich rule with in-place distillation.

Each step trains the largest sub-network on the labels, and the smallest and a few random ones on the largest one's
predictions; their gradients are summed (Yu & Huang, Universally Slimmable Networks, ICCV 2019; BigNAS, Yu et al., ECCV
2020). AlphaNet's divergence (Wang et al., ICML 2021) is an option.

Shapes: B batch, K classes.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from hwnas.errors import SettingsError
from hwnas.spaces import SearchSpace
from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["Sandwich", "alpha_divergence"]


class Sandwich(TrainingMethod):
    """The largest sub-network learns from the labels; the smallest and random ones learn from the largest (BigNAS).

    Args:
        space: whose sub-networks.
        random_subnets: random sub-networks a step.
        alpha_min, alpha_max: given both, sub-networks minimise the larger of the two α-divergences from the largest one
            (AlphaNet takes -1 and 1), which punishes both too much and too little confidence; None: the cross entropy.
        clip: the most that a ratio of probabilities counts for in the α-divergence.

    Raises:
        SettingsError: an option out of range, or one α without the other.
    """

    name: ClassVar = "sandwich"

    def __init__(
        self,
        space: SearchSpace,
        *,
        random_subnets: int = 2,
        alpha_min: float | None = None,
        alpha_max: float | None = None,
        clip: float = 5.0,
    ) -> None:
        if not (isinstance(random_subnets, int) and 0 <= random_subnets <= 64):
            raise SettingsError(
                "random_subnets of sandwich", "must be a whole number from 0 to 64", came=f"{random_subnets} came"
            )
        if (alpha_min is None) != (alpha_max is None):
            raise SettingsError("alpha_min and alpha_max of sandwich", "must be given together", came="one came")
        if clip <= 0:
            raise SettingsError("clip of sandwich", "must be above 0", came=f"{clip} came")
        self._space = space
        self._random_subnets = random_subnets
        self._alphas = None if alpha_min is None or alpha_max is None else (float(alpha_min), float(alpha_max))
        self._clip = float(clip)

    def step(self, network: Any, step: Step) -> Trained:
        """The largest on the labels, the others on its predictions."""
        network.activate(self._space.largest())
        logits_BK = step.forward(network)
        loss = cross_entropy(logits_BK, step.target_BK)
        step.backward(loss)
        teacher_BK = logits_BK.detach().softmax(1)
        random = (self._space.sample(step.rng) for _ in range(self._random_subnets))
        for architecture in (self._space.smallest(), *random):
            network.activate(architecture)
            step.backward(self._distance(teacher_BK, step.forward(network)))
        return Trained(logits_BK.detach(), loss.detach())

    def _distance(self, teacher_BK: Tensor, logits_BK: Tensor) -> Tensor:
        if self._alphas is None:
            return cross_entropy(logits_BK, teacher_BK)
        low, high = (alpha_divergence(teacher_BK, logits_BK, alpha, clip=self._clip) for alpha in self._alphas)
        return torch.where(low[0] > high[0], low[1], high[1]).mean()


def alpha_divergence(teacher_BK: Tensor, logits_BK: Tensor, alpha: float, *, clip: float) -> tuple[Tensor, Tensor]:
    """The α-divergence of each image's predictions from the teacher's, the ratios p/q of probabilities clipped.

    D = Σ q ((p/q)^α - 1) / (α (α - 1)); its limits are the Kullback-Leibler divergences KL(p‖q) at α = 1 and KL(q‖p) at
    α = 0.

    Args:
        teacher_BK: probabilities p.
        logits_BK: of the student, whose probabilities are q.
        alpha: above 1 it punishes too little confidence most, below 0 too much.
        clip: the largest (p/q)^α that counts, or p/q at α = 0; at α = 1 all of it counts (as in the authors' code, since
            the divergence would be negative otherwise).

    Returns:
        The value of each image (B,), without gradient, and a loss (B,) whose gradient is that of the divergence with the
        clipped ratios held fixed.
    """
    log_q_BK = logits_BK.log_softmax(1)
    with torch.no_grad():
        q_BK = log_q_BK.exp()
        log_ratio_BK = (teacher_BK.clamp_min(1e-12).log() - log_q_BK).clamp(-30, 30)
        if abs(alpha) < 1e-3:
            clipped_BK = log_ratio_BK.clamp(max=math.log(clip))
            value_B = -(q_BK * clipped_BK).sum(1)
            weight_BK = -q_BK * clipped_BK
        elif abs(alpha - 1) < 1e-3:
            value_B = (teacher_BK * log_ratio_BK).sum(1)
            weight_BK = -teacher_BK
        else:
            power_BK = (alpha * log_ratio_BK).exp().clamp(max=clip)
            value_B = (q_BK * (power_BK - 1)).sum(1) / (alpha * (alpha - 1))
            weight_BK = -q_BK * power_BK / alpha
    return value_B, (weight_BK * log_q_BK).sum(1)
