"""Differentiable search: the probabilities of all options are trained with the weights (FBNet, Wu et al., CVPR 2019).

Shapes: B batch, K classes.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hwnas.errors import SettingsError
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["Differentiable"]


class Differentiable(TrainingMethod):
    """All options run at once, mixed by a Gumbel softmax of trained logits; the loss knows the expected latency.

    The loss of a step is CE · w · ln(latency in µs)^β with FBNet's w and β. Weights learn from the train part; after a
    warm-up the options' logits learn from a share of it that is held out for them. The temperature falls
    exponentially from `hot` to `cold`. It needs a supernet whose decisions can be mixed.

    Args:
        space: whose decisions.
        cost_ms: the latency of each of `space.all_operators()` by a measured table, (operators,), that of a call included.
        latency_weight: w; with 0 the latency does not count.
        latency_exponent: β.
        warmup_share: the share of the training in which only weights are trained.
        every: steps of the weights for one of the logits.
        learning_rate: of the logits, by Adam.
        weight_decay: of the logits.
        hot, cold: temperature at the beginning and the end.

    Raises:
        SettingsError: an option out of range.
    """

    name: ClassVar = "differentiable"
    held_out_share: ClassVar[float] = 0.2

    def __init__(
        self,
        space: SearchSpace,
        *,
        cost_ms: Any = None,
        latency_weight: float = 0.2,
        latency_exponent: float = 0.6,
        warmup_share: float = 0.1,
        every: int = 4,
        learning_rate: float = 0.01,
        weight_decay: float = 5e-4,
        hot: float = 5.0,
        cold: float = 0.2,
    ) -> None:
        if not 0 <= warmup_share < 1:
            raise SettingsError(
                f"warmup_share of {self.name}", "must be from 0 to below 1", came=f"{warmup_share} came"
            )
        if not 0 < cold <= hot:
            raise SettingsError(f"hot and cold of {self.name}", "must be 0 < cold <= hot", came=f"{hot}, {cold} came")
        if not (isinstance(every, int) and every >= 1):
            raise SettingsError(f"every of {self.name}", "must be a whole number of at least 1", came=f"{every} came")
        if latency_weight < 0 or latency_exponent < 0:
            raise SettingsError(
                f"latency_weight and latency_exponent of {self.name}", "must not be negative", came="one is"
            )
        if latency_weight > 0 and cost_ms is None:
            raise SettingsError(
                f"The method {self.name}",
                "must have a latency among the objectives",
                came="there is none",
                do="Add latency@<device> to objectives, or set latency_weight = 0",
            )
        self._space = space
        self._cost = torch.zeros(len(space.all_operators())) if cost_ms is None else torch.as_tensor(cost_ms).float()
        self._latency_weight = latency_weight
        self._latency_exponent = latency_exponent
        self._warmup_share = warmup_share
        self.every = every
        self._hot, self._cold = hot, cold
        self.logits = nn.ParameterList(torch.zeros(len(variable.options)) for variable in space.variables)
        self._adam = torch.optim.Adam(
            self.logits.parameters(), lr=learning_rate, betas=(0.5, 0.999), weight_decay=weight_decay
        )
        self._steps = 0

    @torch.no_grad()
    def check(self, network: Any, x_BCHW: Tensor) -> None:
        """Mixes all options once, and their latencies. Raises SpaceError where the space does not allow it."""
        weights = [logit.softmax(0) for logit in self.logits]
        network.eval().mix(weights)
        network(x_BCHW)
        if self._latency_weight > 0:
            self._latency_factor(weights)

    def step(self, network: Any, step: Step) -> Trained:
        """Weights, on the labels, with freshly drawn mixtures."""
        with torch.no_grad():
            weights = self._draw(step)
        network.mix(weights)
        logits_BK = step.forward(network)
        loss = cross_entropy(logits_BK, step.target_BK)
        step.backward(loss)
        return Trained(logits_BK.detach(), loss.detach())

    def finish(self, network: Any, step: Step) -> None:
        """Now and then the options' logits, on held-out images; the weights' gradients are thrown away.

        As with weights, a step is left out where its gradients overflow in half precision.
        """
        self._steps += 1
        if step.held_out is None or step.progress < self._warmup_share or self._steps % self.every:
            return
        x_BCHW, target_BK = step.held_out()
        weights = self._draw(step)
        network.mix(weights)
        with step.autocast():
            logits_BK = network(x_BCHW)
        loss = cross_entropy(logits_BK.float(), target_BK)
        if self._latency_weight > 0:
            loss = loss * self._latency_factor(weights)
        logits = list(self.logits.parameters())
        scale = step.scaled(torch.ones_like(loss))
        for logit, gradient in zip(logits, torch.autograd.grad(step.scaled(loss), logits), strict=True):
            logit.grad = gradient / scale
        step.average_gradients(logits)
        if torch.cat([logit.grad for logit in logits if logit.grad is not None]).isfinite().all():
            self._adam.step()

    def expected_latency_ms(self) -> float:
        """Of architectures drawn from the trained probabilities."""
        with torch.no_grad():
            weights = [logit.softmax(0) for logit in self.logits]
            return self._space.expected_cost(weights, self._cost).item()

    def preferred(self) -> Architecture:
        """The most probable option of each variable."""
        return self._space.architecture(int(logit.argmax()) for logit in self.logits)

    def to(self, device: torch.device) -> None:
        """Moves logits, their optimizer's state, and costs."""
        for logit in self.logits:
            logit.data = logit.data.to(device)
        self._cost = self._cost.to(device)
        self._adam.load_state_dict(self._adam.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Logits, their optimizer's state, and the number of steps."""
        return {
            "logits": [logit.detach() for logit in self.logits],
            "adam": self._adam.state_dict(),
            "steps": self._steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""
        with torch.no_grad():
            for logit, value in zip(self.logits, state["logits"], strict=True):
                logit.copy_(value)
        self._adam.load_state_dict(state["adam"])
        self._steps = state["steps"]

    def notes(self) -> dict[str, float]:
        """How decided the probabilities are (their mean entropy in bits), and the expected latency where costs are known."""
        with torch.no_grad():
            entropies = [-(p * p.clamp_min(1e-12).log2()).sum() for p in (logit.softmax(0) for logit in self.logits)]
        known = {"expected_latency_ms": self.expected_latency_ms()} if bool(self._cost.any()) else {}
        return {**known, "entropy_bits": float(torch.stack(entropies).mean())}

    def _draw(self, step: Step) -> list[Tensor]:
        """A Gumbel softmax of each variable's logits, alike for all parts of a batch."""
        temperature = self._hot * (self._cold / self._hot) ** step.progress
        sizes = [len(logit) for logit in self.logits]
        noise = torch.from_numpy(step.rng.gumbel(size=sum(sizes))).to(self.logits[0])
        drawn = zip(self.logits, torch.split(noise, sizes), strict=True)
        return [((logit + one) / temperature).softmax(0) for logit, one in drawn]

    def _latency_factor(self, weights: list[Tensor]) -> Tensor:
        latency_us = 1e3 * self._space.expected_cost(weights, self._cost)
        return self._latency_weight * latency_us.clamp_min(math.e).log() ** self._latency_exponent
