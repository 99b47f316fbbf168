"""The check that the operators of every architecture fit together, made on paper: nothing is computed.

A network is assembled of stand-ins that compare the shape that comes with the operator's and give the operator's output
shape, so that thousands of architectures are walked in seconds, however large the images.

Shapes: B batch, C channels, H height, W width.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.checks.encoding import check_variables
from hwnas.checks.subject import Fault, SpaceUnderTest, placed, said
from hwnas.errors import SpaceError
from hwnas.spaces import SPACES, Architecture, Operator, SearchSpace
from hwnas.spaces.counting import count

__all__ = ["check_shapes", "require_fitting_shapes"]

MAX_STARTS: Final = 8
MAX_NAMED: Final = 3
MAX_BUILT: Final = 40
"""Changes of one choice that are walked where a space overrides `build`: each is built, which takes tenths of a second."""
MUST: Final = "must have operators whose shapes fit"


def check_shapes(subject: SpaceUnderTest) -> str:
    """Every operator takes the shape that the one before it gives, in whichever way the choices are combined.

    All options of all variables are tried, each beside the choices of several architectures. Where a space overrides
    `build`, it is 40 changes of one choice, spread over all of them.

    Raises:
        SpaceError: they do not fit; it names the variable and the option, and the operators that meet there.
    """
    space, find = subject.space, _fault(subject.space)
    walked: dict[Architecture, str | None] = {}

    def fault(architecture: Architecture) -> str | None:
        if architecture not in walked:
            walked[architecture] = said(find, architecture)
        return walked[architecture]

    built = _builds_itself(space)
    starts = subject.architectures[: 2 if built else MAX_STARTS]
    sound = [one for one in starts if fault(one) is None]
    if not sound:
        subject.require(starts, MUST, fault)
    tried = "one choice apart"
    for start in sound:
        changes = _changes(space, start)
        if built and len(changes) > MAX_BUILT:
            tried = f"{MAX_BUILT} of {len(changes)} changes of one choice"
            changes = [changes[index] for index in np.linspace(0, len(changes) - 1, MAX_BUILT).astype(int)]
        faults = {name: came for name, architecture in changes if (came := fault(architecture)) is not None}
        if faults:
            first, *others = faults
            others_too = f" (and {_listed(others)})" if others else ""
            where = f"The space {space.name} with {first}{others_too} in {space.describe(start)}"
            raise SpaceError(where, MUST, came=faults[first])
    subject.require(subject.networks if built else subject.architectures, MUST, fault)
    return f"{len(walked)} architectures, {tried} and random"


def require_fitting_shapes(space: SearchSpace) -> None:
    """Checks variables and shapes of a space that does not come with hwnas, before anything is measured or trained.

    Raises:
        SpaceError: it lacks an attribute or a variable, its code raises an error, or operators do not fit together; it
            names the variable and the option, or the place.
    """
    if type(space) not in SPACES.values():
        subject = SpaceUnderTest(space)
        with placed(space, "must list its variables and operators"):
            check_variables(subject)
            check_shapes(subject)


def _changes(space: SearchSpace, start: Architecture) -> list[tuple[str, Architecture]]:
    """All that differ from `start` in one variable: "block2.kernel_size=5" and the architecture."""
    changes = []
    for index, variable in enumerate(space.variables):
        for option, value in enumerate(variable.options):
            changed = space.architecture([*start.choices[:index], option, *start.choices[index + 1 :]])
            if changed != start:
                changes.append((f"{variable.name}={value}", changed))
    return changes


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


class _StandIn(nn.Module):
    """An operator in shape alone.

    Args:
        position: of the operator in its network, for the error.
        operator: what it stands for.
        output_shape: what the operator gives, without the batch.
        ran: names of the operators that ran so far.
    """

    def __init__(self, position: int, operator: Operator, output_shape: tuple[int, ...], ran: list[str]) -> None:
        super().__init__()
        self._name = f"operator {position}, {operator},"
        self._ran = ran
        self._input_shape = operator.input_shape
        self._output_shape = output_shape

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self._input_shape:
            giver = f", which {self._ran[-1]} gives" if self._ran else ""
            raise _MisfitError(f"{self._name} is given {_shape(x.shape[1:])}{giver}")
        self._ran.append(self._name.rstrip(","))
        return x.new_empty(len(x), *self._output_shape)


class _MisfitError(Exception):
    pass


def _fault(space: SearchSpace) -> Fault:
    """Finds what does not fit in an architecture of `space`."""
    output_shapes: dict[Operator, tuple[int, ...]] = {}

    def output_shape(position: int, operator: Operator) -> tuple[int, ...]:
        if operator not in output_shapes:
            try:
                with torch.device("meta"):
                    output_shapes[operator] = count(space.build_operator(operator), operator.input_shape).output_shape
            except Exception as error:  # a layer that is not sound raises what it likes
                reason = str(error).strip().partition("\n")[0]
                raise _MisfitError(f"operator {position}, {operator}, cannot run: {reason}") from error
        return output_shapes[operator]

    def fault(architecture: Architecture) -> str | None:
        try:
            if _builds_itself(space):
                with torch.device("meta"):
                    network = space.build(architecture).eval()
            else:
                listed, ran = enumerate(space.operators(architecture)), list[str]()
                network = space.assemble(_StandIn(at, one, output_shape(at, one), ran) for at, one in listed)
            with torch.no_grad():
                logits = network(torch.empty(2, *space.input_shape, device="meta"))
        except _MisfitError as misfit:
            return str(misfit)
        if tuple(logits.shape) != (2, space.num_classes):
            return f"two images give {_shape(logits.shape)} in place of {_shape((2, space.num_classes))} logits"
        return None

    return fault


def _builds_itself(space: SearchSpace) -> bool:
    return type(space).build is not SearchSpace.build


def _shape(sizes: "torch.Size | tuple[int, ...]") -> str:
    return "x".join(str(int(size)) for size in np.asarray(sizes))
