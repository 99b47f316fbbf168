"""Checks of how a space names and encodes its architectures: options, variables, words, canonical forms, the two ends."""

import json
import math

import numpy as np
import numpy.typing as npt

from hwnas.checks.subject import SpaceUnderTest, said
from hwnas.errors import SpaceError
from hwnas.spaces import Architecture, SearchSpace

__all__ = [
    "check_canonical_form",
    "check_canonical_network",
    "check_descriptions",
    "check_ends",
    "check_identity",
    "check_one_encoding",
    "check_variables",
]


def check_variables(subject: SpaceUnderTest) -> str:
    """No variable's name twice, no option twice, and something to choose. Raises SpaceError."""
    space = subject.space
    where = f"The space {space.name}"
    names = [variable.name for variable in space.variables]
    for name in names:
        if names.count(name) > 1:
            raise SpaceError(where, "must give each variable a name of its own", came=f"{name} names several")
    for variable in space.variables:
        if not len(set(variable.options)) == len(variable.options) > 0:
            shown = ", ".join(map(str, variable.options))
            raise SpaceError(f"{where} at {variable.name}", "must have distinct options", came=f"({shown}) came")
    if max((len(variable.options) for variable in space.variables), default=0) < 2:
        raise SpaceError(where, "must have a variable with two options or more", came="there is nothing to choose")
    counts = [len(variable.options) for variable in space.variables]
    if space.num_options_V.tolist() != counts:
        raise SpaceError(
            where, "must count the options of its variables in num_options_V", came=f"{space.num_options_V} came"
        )
    return f"{len(names)} variables, {sum(counts)} options"


def check_identity(subject: SpaceUnderTest) -> str:
    """Its options are numbers or lists of them, as run folders keep them and `make_space` takes them.

    Raises SpaceError.
    """
    space = subject.space
    for name, value in space.options.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in values):
            raise SpaceError(
                f"`options` of the space {space.name}",
                "must be numbers, or lists of numbers",
                came=f"{name} is {value!r}",
            )
    identity = space.identity()
    if json.loads(json.dumps(identity)) != identity or not SearchSpace.identity(space).items() <= identity.items():
        raise SpaceError(
            f"`identity` of the space {space.name}",
            "must be JSON with its name, input_shape, num_classes and options",
            came=f"it is {identity}",
        )
    return f"{len(space.options)} options"


def check_descriptions(subject: SpaceUnderTest) -> str:
    """`describe` gives a line for each architecture, and different ones for different architectures. Raises SpaceError."""
    space, distinct = subject.space, list(dict.fromkeys(subject.architectures))

    def fault(architecture: Architecture) -> str | None:
        line = space.describe(architecture)
        return None if isinstance(line, str) and line.strip() and "\n" not in line else f"{line!r} came"

    for architecture in distinct:
        came = said(fault, architecture)
        if came is not None:
            where = f"`describe` of the space {space.name} for {architecture.choices}"
            raise SpaceError(where, "must give one line of text", came=came)
    described: dict[str, Architecture] = {}
    for architecture in distinct:
        other = described.setdefault(space.describe(architecture), architecture)
        if other != architecture:
            changed_V = np.not_equal(other.choices, architecture.choices)
            raise SpaceError(
                f"`describe` of the space {space.name}",
                "must tell architectures apart",
                came=f"two that differ in {_named(subject, changed_V)} are {space.describe(other)!r}",
            )
    return f"{len(distinct)} architectures"


def check_canonical_form(subject: SpaceUnderTest) -> str:
    """The canonical form of encodings is valid, its own canonical form, and a new array. Raises SpaceError."""
    space, raw_NV = subject.space, subject.raw_choices_NV
    where = f"`canonicalize` of the space {space.name}"
    given_NV = raw_NV.copy()
    once_NV = space.canonicalize(given_NV)
    if not np.array_equal(given_NV, raw_NV):
        raise SpaceError(where, "must leave its argument alone", came="it writes into it")
    if once_NV.shape != raw_NV.shape:
        raise SpaceError(where, f"must keep the shape {raw_NV.shape}", came=f"{once_NV.shape} came")
    wrong_V = ((once_NV < 0) | (once_NV >= space.num_options_V)).any(axis=0)
    if wrong_V.any():
        raise SpaceError(where, "must give options that exist", came=f"{_named(subject, wrong_V)} gets others")
    wrong_V = (space.canonicalize(once_NV.copy()) != once_NV).any(axis=0)
    if wrong_V.any():
        raise SpaceError(where, "must leave canonical choices alone", came=f"it changes {_named(subject, wrong_V)}")
    if (space.num_options_V <= np.iinfo(np.int8).max).all():
        wrong_V = (space.canonicalize(raw_NV.astype(np.int8)) != once_NV).any(axis=0)
        if wrong_V.any():
            came = f"{_named(subject, wrong_V)} get others"
            raise SpaceError(where, "must give 8-bit integers the same choices", came=came)
    return _encodings(subject)


def check_canonical_network(subject: SpaceUnderTest) -> str:
    """An encoding and its canonical form are the same network. Raises SpaceError."""
    space, raw_NV = subject.space, subject.raw_choices_NV
    for raw_V, canonical in zip(raw_NV, space.architectures(raw_NV), strict=True):
        if space.operators(Architecture(space.name, tuple(raw_V.tolist()))) != space.operators(canonical):
            changed_V = raw_V != np.array(canonical.choices)
            raise SpaceError(
                f"`canonicalize` of the space {space.name}",
                "must keep the operators of a network",
                came=f"they are others where it sets {_named(subject, changed_V)} to 0",
            )
    return _encodings(subject)


def check_one_encoding(subject: SpaceUnderTest) -> str:
    """What changes no operator changes no canonical choice: else a search would score one network twice.

    Raises SpaceError.
    """
    space = subject.space
    for architecture in subject.networks:
        operators = space.operators(architecture)
        for neighbor in space.neighbors(architecture):
            if space.operators(neighbor) == operators:
                changed_V = np.array(neighbor.choices) != np.array(architecture.choices)
                raise SpaceError(
                    f"`canonicalize` of the space {space.name}",
                    "must give encodings of one network the same choices",
                    came=f"{_named(subject, changed_V)} differ between two encodings of {space.describe(architecture)}",
                    do="Set what no operator reads to 0",
                )
    return f"{len(subject.networks)} architectures and their neighbors"


def check_ends(subject: SpaceUnderTest) -> str:
    """Options go from small to large: the sandwich rule trains both ends, and no architecture is beyond them.

    Where options change no number of parameters, such as resolutions or activations, both ends have as many.

    Raises SpaceError.
    """
    space, architectures = subject.space, subject.architectures
    largest = tuple(len(variable.options) - 1 for variable in space.variables)
    for name, end, choices in (
        ("largest", space.largest(), largest),
        ("smallest", space.smallest(), (0,) * len(largest)),
    ):
        if end.choices != choices:
            changed_V = np.array(end.choices) != np.array(choices)
            raise SpaceError(
                f"The {name} architecture of the space {space.name}",
                f"must have the {'last' if name == 'largest' else 'first'} option of every variable",
                came=f"{_named(subject, changed_V)} differ",
            )

    def weights(architecture: Architecture) -> int:
        return sum(space.counts[operator].parameters for operator in space.operators(architecture))

    fewest, most = weights(space.smallest()), weights(space.largest())

    def beyond(architecture: Architecture) -> str | None:
        if fewest <= weights(architecture) <= most:
            return None
        return f"it has {weights(architecture)}, the smallest {fewest} and the largest {most}"

    must = "must have no more parameters than the largest architecture and no fewer than the smallest"
    subject.require(architectures, must, beyond, do="Order the options of each variable from small to large")
    if space.operators(space.smallest()) == space.operators(space.largest()):
        raise SpaceError(
            f"The smallest architecture of the space {space.name}",
            "must have other operators than the largest",
            came="they have the same",
        )
    return f"{len(architectures)} architectures"


def _named(subject: SpaceUnderTest, wrong_V: npt.ArrayLike) -> str:
    names = [
        variable.name for variable, wrong in zip(subject.space.variables, np.asarray(wrong_V), strict=True) if wrong
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _encodings(subject: SpaceUnderTest) -> str:
    return f"{len(subject.raw_choices_NV)} encodings"
