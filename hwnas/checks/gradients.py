"""The check that training reaches every weight: what changes the logits gets a gradient.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from typing import Final

import torch
from torch import Tensor, nn

from hwnas.checks.subject import SpaceUnderTest
from hwnas.spaces import Architecture

__all__ = ["check_gradients", "silent_weight"]

STEP: Final = 1e-6
"""How far weights are moved, as a share of their mean size: far from rounding in double precision, near enough that no
activation that is at zero comes to life."""
MOVES: Final = 1e-5
"""From which share of the step on the logits are said to follow it."""


def check_gradients(subject: SpaceUnderTest) -> str:
    """Gradients reach every weight of the supernet, and of a network alone, that an architecture uses.

    Raises SpaceError.
    """
    supernet, images_BCHW = subject.precise, subject.images(1).double()
    chosen = subject.networks[:3]

    def fault(architecture: Architecture) -> str | None:
        supernet.activate(architecture)
        network = subject.network(architecture).double().eval()
        network.load_state_dict(supernet.subnet(architecture).state_dict())
        for which, module in (("the supernet", supernet), ("a network that `build` gives", network)):
            name = silent_weight(module, images_BCHW)
            if name is not None:
                return f"{name} of {which} changes the logits and gets no gradient"
        return None

    try:
        subject.require(chosen, "must pass gradients to every weight that an architecture uses", fault)
    finally:
        supernet.zero_grad()
    return f"{len(chosen)} architectures"


def silent_weight(module: nn.Module, images_BCHW: Tensor) -> str | None:
    """The name of a weight, some of which changes what `module` gives and gets no gradient; None where there is none.

    Args:
        module: in double precision and in evaluation.
        images_BCHW: in double precision.
    """
    module.zero_grad()
    logits_BK = module(images_BCHW)
    if logits_BK.requires_grad:
        generator = torch.Generator().manual_seed(0)
        logits_BK.backward(torch.randn(logits_BK.shape, dtype=logits_BK.dtype, generator=generator))
    logits_BK = logits_BK.detach()
    suspects = {name: weight for name, weight in module.named_parameters() if bool(_without(weight).any())}
    if not _follow(module, images_BCHW, logits_BK, suspects):
        return None
    for name, weight in suspects.items():
        if _follow(module, images_BCHW, logits_BK, {name: weight}):
            return name
    return f"something among {next(iter(suspects))} and {len(suspects) - 1} others"


def _without(weight: Tensor) -> Tensor:
    """Which elements got no gradient."""
    return torch.ones_like(weight, dtype=torch.bool) if weight.grad is None else weight.grad == 0


@torch.no_grad()
def _follow(module: nn.Module, images_BCHW: Tensor, logits_BK: Tensor, suspects: dict[str, nn.Parameter]) -> bool:
    """Whether the logits follow the elements without gradient, to whichever side those are moved."""
    generator = torch.Generator().manual_seed(1)
    least = MOVES * STEP * float(logits_BK.abs().max())
    before = [weight.clone() for weight in suspects.values()]
    moves = [
        torch.randn(weight.shape, dtype=weight.dtype, generator=generator)
        * STEP
        * weight.abs().mean()
        * _without(weight)
        for weight in suspects.values()
    ]
    followed = []
    for side in (1, -1):
        for weight, kept, move in zip(suspects.values(), before, moves, strict=True):
            weight.copy_(kept + side * move)
        followed.append(float((module(images_BCHW) - logits_BK).abs().max()) > least)
    for weight, kept in zip(suspects.values(), before, strict=True):
        weight.copy_(kept)
    return all(followed)
