"""The check that networks can start from similar ones, and that what is said to keep the function does.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from typing import Final

import torch

from hwnas.checks.subject import SpaceUnderTest
from hwnas.spaces import Architecture

__all__ = ["check_inheritance"]

CLOSE: Final = 1e-4
"""How far logits may be apart, as a share of the largest, in single precision."""
CHILDREN: Final = 3
"""Of each network, at most."""


def check_inheritance(subject: SpaceUnderTest) -> str:
    """A network inherits from itself, and from a neighbour by a step that keeps the function, what those compute.

    From any other network it inherits something that runs. Raises SpaceError.
    """
    space, images_BCHW = subject.space, subject.images(2)
    kept = 0

    @torch.no_grad()
    def fault(parent: Architecture) -> str | None:
        nonlocal kept
        network = subject.supernet.subnet(parent).eval()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        expected_BK = network(images_BCHW)
        larger = [one for one in space.neighbors(parent) if space.keeps_function(parent, one)]
        steps = larger[:: max(1, len(larger) // CHILDREN)][:CHILDREN]
        kept += len(steps)
        for child in (parent, *steps, space.smallest()):
            logits_BK = space.inherit(network, parent, child).eval()(images_BCHW)
            apart = float((logits_BK - expected_BK).abs().max() / expected_BK.abs().max().clamp_min(1e-30))
            if (child == parent or child in steps) and not apart <= CLOSE:
                return f"the logits of {space.describe(child)} are {apart:.1e} of the largest apart from its parent's"
        changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
        return f"{changed[0]} of the parent is changed" if changed else None

    chosen = subject.networks[:4]
    subject.require(chosen, "must let a network inherit what another one has learnt", fault)
    return f"{len(chosen)} networks and {kept} steps that keep the function"
