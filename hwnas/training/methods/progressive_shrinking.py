"""Progressive shrinking: the largest network first, then smaller and smaller ones (Once-for-All, Cai et al., ICLR 2020).

Shapes: B batch, K classes.
"""

from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import Sortable
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.methods.method import Step, Trained, TrainingMethod, cross_entropy

__all__ = ["ProgressiveShrinking"]

ORDER: Final = ("kernel_size", "depth", "expand_ratio", "mlp_ratio", "num_heads", "width_mult", "embed_dim")
"""The last parts of variables' names in the order in which they shrink; others follow; a resolution is free throughout."""

FREE: Final = "resolution"


class ProgressiveShrinking(TrainingMethod):
    """First the largest network alone; then, kind of variable by kind, one smaller option after the other joins in.

    Sub-networks learn from the labels and from the largest network as it was at the end of its own training. Before the
    first option that leaves channels out joins in, channels are sorted by importance, so that the important ones stay.
    A variable `resolution` is free throughout: each pass draws one, also while the largest network is trained alone.

    Args:
        space: whose sub-networks.
        largest_share: the share of the training in which the largest network is trained alone.
        paths: random sub-networks whose gradients are averaged in a step.
        distillation: the weight of the largest network's predictions, from 0 to 1; the labels have the rest.

    Attributes:
        teacher: the largest network as it was; None: before the end of its training, or without distillation.

    Raises:
        SettingsError: an option out of range.
    """

    name: ClassVar = "progressive_shrinking"

    def __init__(
        self, space: SearchSpace, *, largest_share: float = 0.4, paths: int = 2, distillation: float = 0.5
    ) -> None:
        for option, value in (("largest_share", largest_share), ("distillation", distillation)):
            if not 0 <= value <= 1:
                raise SettingsError(f"{option} of {self.name}", "must be from 0 to 1", came=f"{value} came")
        if not (isinstance(paths, int) and 1 <= paths <= 64):
            raise SettingsError(f"paths of {self.name}", "must be a whole number from 1 to 64", came=f"{paths} came")
        self._space = space
        self._largest_share = largest_share
        self._paths = paths
        self._distillation = distillation
        self._openings = _openings(space)
        self.teacher: nn.Module | None = None
        self._sorted = False
        self._device = torch.device("cpu")

    def lowest_options(self, progress: float) -> list[int]:
        """For each variable the smallest option that is trained when `progress` of the training is done."""
        lowest = [len(variable.options) - 1 for variable in self._space.variables]
        for index, variable in enumerate(self._space.variables):
            if _kind(variable.name) == FREE:
                lowest[index] = 0
        if progress < self._largest_share or not self._openings:
            return lowest
        done = (progress - self._largest_share) / max(1e-9, 1 - self._largest_share)
        for kind, step in self._openings[: 1 + int(done * len(self._openings))]:
            for index, variable in enumerate(self._space.variables):
                if _kind(variable.name) == kind:
                    lowest[index] = max(0, len(variable.options) - 1 - step)
        return lowest

    def prepare(self, network: Any, progress: float) -> bool:
        """Keeps the largest network as teacher at the end of its training, and sorts channels before they are left out."""
        if progress < self._largest_share:
            return False
        if self.teacher is None and self._distillation > 0:
            self.teacher = network.subnet(self._space.largest()).eval()
        if self._sorted or not self._open_kinds(self.lowest_options(progress)) - {"kernel_size", "depth"}:
            return False
        self._sorted = True
        layers = [layer for layer in network.modules() if isinstance(layer, Sortable)]
        for layer in layers:
            layer.sort_channels()
        return bool(layers)

    def step(self, network: Any, step: Step) -> Trained:
        """Random sub-networks of the options that are open."""
        soft_BK = None
        if self.teacher is not None:
            with torch.no_grad():
                soft_BK = step.forward(self.teacher).softmax(1)
        lowest = self.lowest_options(step.progress)
        paths = self._paths if self._open_kinds(lowest) else 1
        for _ in range(paths):
            network.activate(self._sample(lowest, step.rng))
            logits_BK = step.forward(network)
            loss = cross_entropy(logits_BK, step.target_BK)
            total = loss
            if soft_BK is not None:
                total = (1 - self._distillation) * loss + self._distillation * cross_entropy(logits_BK, soft_BK)
            step.backward(total / paths)
        return Trained(logits_BK.detach(), loss.detach())

    def to(self, device: torch.device) -> None:
        """Where the teacher is to be."""
        self._device = device
        if self.teacher is not None:
            self.teacher = self.teacher.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Whether channels were sorted, and the teacher's weights."""
        return {"sorted": self._sorted, "teacher": None if self.teacher is None else self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._sorted = state["sorted"]
        if state["teacher"] is not None:
            self.teacher = self._space.build(self._space.largest()).to(self._device).eval()
            self.teacher.load_state_dict(state["teacher"])

    def _open_kinds(self, lowest: list[int]) -> set[str]:
        """The kinds of variables that shrink of which more than the largest option is trained."""
        variables = zip(self._space.variables, lowest, strict=True)
        return {_kind(one.name) for one, option in variables if option < len(one.options) - 1} - {FREE}

    def _sample(self, lowest: list[int], rng: np.random.Generator) -> Architecture:
        return self._space.architectures(rng.integers(lowest, self._space.num_options_V)[None])[0]


def _openings(space: SearchSpace) -> list[tuple[str, int]]:
    """The kinds of variables in the order in which they shrink, each with how many options below the largest it opens."""
    most: dict[str, int] = {}
    for variable in space.variables:
        kind = _kind(variable.name)
        if kind != FREE:
            most[kind] = max(most.get(kind, 0), len(variable.options) - 1)
    kinds = sorted(most, key=lambda kind: ORDER.index(kind) if kind in ORDER else len(ORDER))
    return [(kind, step) for kind in kinds for step in range(1, most[kind] + 1)]


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
