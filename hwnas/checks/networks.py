"""Checks that run networks: the supernet, its sub-networks and those built alone are one function; every choice shows.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import itertools
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from hwnas.checks.operators import one_hot, run_operators
from hwnas.checks.subject import Skipped, SpaceUnderTest
from hwnas.errors import SpaceError
from hwnas.layers import Elastic
from hwnas.spaces import Architecture, SuperNet

__all__ = [
    "check_choices",
    "check_logits",
    "check_mixing",
    "check_plain_networks",
    "check_subnets",
]

EXACT: Final = 1e-9
"""How far results in double precision may be apart, as a share of the largest logit."""
DIFFERENT: Final = 1e-4
"""How far the logits of two options are apart at least, in single precision."""


def check_logits(subject: SpaceUnderTest) -> str:
    """A network built gives logits, (B, C, H, W) -> (B, K), for any batch, with gradients for every weight.

    Raises SpaceError.
    """
    space = subject.space

    def fault(architecture: Architecture) -> str | None:
        network = subject.network(architecture)
        for batch in (1, 3):
            logits_BK = network.train(batch > 1)(subject.images(batch))
            if tuple(logits_BK.shape) != (batch, space.num_classes):
                return f"{batch} images give {'x'.join(map(str, logits_BK.shape))}"
        logits_BK.square().sum().backward()
        without = [name for name, weight in network.named_parameters() if weight.grad is None]
        return f"{without[0]} gets no gradient" if without else None

    must = f"must build networks that give {space.num_classes} logits an image and train all of their weights"
    subject.require(subject.networks, must, fault)
    return f"{len(subject.networks)} networks"


def check_plain_networks(subject: SpaceUnderTest) -> str:
    """Networks built or taken out of the supernet are plain layers with weights of their own. Raises SpaceError."""
    space, supernet = subject.space, subject.supernet
    shared = _storages(supernet)

    def fault(architecture: Architecture) -> str | None:
        listed = sum(space.counts[operator].parameters for operator in space.operators(architecture))
        for which, network in (("build", subject.network(architecture)), ("subnet", supernet.subnet(architecture))):
            for name, part in network.named_modules():
                if isinstance(part, SuperNet | Elastic):
                    return f"`{which}` gives the {type(part).__name__} {name}".rstrip()
            borrowed = [name for name, weight in network.named_parameters() if _storage(weight) in shared]
            if borrowed:
                return f"`{which}` gives {borrowed[0]}, which is the supernet's own"
            counted = sum(weight.numel() for weight in network.parameters())
            if counted != listed:
                return f"what `{which}` gives has {counted} parameters and its operators {listed}"
        return None

    subject.require(subject.networks, "must give plain networks with weights of their own", fault)
    return f"{len(subject.networks)} networks"


def check_subnets(subject: SpaceUnderTest) -> str:
    """The active path, `subnet` and `build` with copied weights are one function, whichever architecture was active.

    In double precision, within 1e-9 of the largest logit. Raises SpaceError.
    """
    supernet, images_BCHW = subject.precise, subject.images(2).double()
    largest = 0.0

    @torch.no_grad()
    def fault(architecture: Architecture) -> str | None:
        nonlocal largest
        supernet.activate(architecture)
        active_BK = supernet(images_BCHW)
        subnet = supernet.subnet(architecture)
        if any(part.training for part in subnet.modules()):
            return "`subnet` of a supernet in evaluation is in training"
        apart = _apart(subnet(images_BCHW), active_BK)
        largest = max(largest, apart)
        if not apart <= EXACT:
            return f"the logits of `subnet` are {apart:.1e} of the largest apart from those of the active path"
        network = subject.network(architecture).double().eval()
        mismatch = _mismatch(network.state_dict(), subnet.state_dict())
        if mismatch is not None:
            return mismatch
        network.load_state_dict(subnet.state_dict())
        apart = _apart(network(images_BCHW), active_BK)
        largest = max(largest, apart)
        if not apart <= EXACT:
            place = _first_apart(subject, subnet, network)
            return f"the logits of `build` with these weights are {apart:.1e} of the largest apart{place}"
        return None

    must = "must give one function by the active path, by `subnet`, and by `build` with copied weights"
    subject.require([*subject.networks, subject.networks[0]], must, fault)
    return f"{len(subject.networks)} networks, at most {largest:.0e} of the largest logit apart"


def check_choices(subject: SpaceUnderTest) -> str:
    """With a variable in use, each of its options gives other logits of the supernet. Raises SpaceError."""
    space, supernet, images_BCHW = subject.space, subject.supernet, subject.images(1)
    least, seen = float("inf"), dict[Architecture, Tensor]()

    @torch.no_grad()
    def logits(architecture: Architecture) -> Tensor:
        if architecture not in seen:
            supernet.activate(architecture)
            seen[architecture] = supernet(images_BCHW)
        return seen[architecture]

    for index, variable in enumerate(space.variables):
        family = subject.family(index)
        for (one, first), (other, second) in itertools.combinations(enumerate(map(logits, family)), 2):
            apart = _apart(second, first)
            least = min(least, apart)
            if not apart > DIFFERENT:
                raise SpaceError(
                    f"{variable.name} of the space {space.name}",
                    "must change what the supernet gives by each of its options",
                    came=f"{variable.options[one]} and {variable.options[other]} give the same logits in "
                    f"{space.describe(family[one])}",
                    do="See that `activate` tells the layers what the architecture has",
                )
    options = sum(len(variable.options) for variable in space.variables)
    return f"{options} options of {len(space.variables)} variables, at least {least:.0e} of the largest logit apart"


def check_mixing(subject: SpaceUnderTest) -> str | Skipped:
    """`mix` with one option of each variable at 1 is that architecture. Raises SpaceError."""
    space, supernet = subject.space, subject.precise
    if type(supernet).mix is SuperNet.mix:
        return Skipped("its supernet cannot mix")
    images_BCHW = subject.images(2).double()
    try:
        supernet.mix(one_hot(space, space.largest()))
    except SpaceError as refusal:
        return Skipped(str(refusal).rstrip("."))

    @torch.no_grad()
    def fault(architecture: Architecture) -> str | None:
        supernet.mix(one_hot(space, architecture))
        mixed_BK = supernet(images_BCHW)
        supernet.activate(architecture)
        apart = _apart(mixed_BK, supernet(images_BCHW))
        return None if apart <= EXACT else f"the logits are {apart:.1e} of the largest apart"

    must = "must give by `mix` with all weight on one architecture what it gives by `activate`"
    subject.require(subject.networks, must, fault)
    return f"{len(subject.networks)} architectures"


def _apart(found_BK: Tensor, expected_BK: Tensor) -> float:
    """The largest difference as a share of the largest logit; infinite where the shapes differ."""
    if found_BK.shape != expected_BK.shape:
        return float("inf")
    return float((found_BK - expected_BK).abs().max() / expected_BK.abs().max().clamp_min(1e-30))


def _mismatch(built: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> str | None:
    """Why the weights of `subnet` do not fit into the network of `build`."""
    for name in (*built, *taken):
        shapes = ["x".join(map(str, of[name].shape)) or "a number" if name in of else None for of in (built, taken)]
        if shapes[0] != shapes[1]:
            given = [
                f"`{which}` has {shape or 'none'}" for which, shape in zip(("build", "subnet"), shapes, strict=True)
            ]
            return f"of {name} {' and '.join(given)}"
    return None


def _first_apart(subject: SpaceUnderTest, subnet: nn.Module, network: nn.Module) -> str:
    """Names the first operator that gives something else in `network` than in `subnet`."""
    outputs: list[list[Tensor]] = []
    for one in (subnet, network):
        outputs.append([])
        modules = [module for module, _, _ in run_operators(subject.space, one.float())]
        hooks = [
            module.register_forward_hook(lambda _m, _i, out, kept=outputs[-1]: kept.append(out)) for module in modules
        ]
        one(subject.images(1))
        for hook in hooks:
            hook.remove()
    for position, (first, second) in enumerate(zip(*outputs, strict=False)):
        if not _apart(second, first) <= DIFFERENT:
            return f", first behind operator {position}"
    return ""


def _storage(weight: Tensor) -> int:
    return weight.untyped_storage().data_ptr()


def _storages(module: nn.Module) -> set[int]:
    return {_storage(weight) for weight in module.parameters()}
