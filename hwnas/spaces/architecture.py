"""The nouns of a search space: Variable, Architecture, Operator."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from hwnas.errors import ArchitectureError, StoredFileError

__all__ = ["Architecture", "Operator", "Variable"]

MAX_SLUG: Final = 100
"""Characters of choices in a file's name: systems allow 255 bytes."""


@dataclass(frozen=True)
class Variable:
    """One decision of a space.

    Attributes:
        name: what is decided ("stage2.block1.kernel_size").
        options: the values to choose from; an architecture stores the index of the one chosen.
    """

    name: str
    options: tuple[int | float | str, ...]


@dataclass(frozen=True)
class Architecture:
    """One member of a space. Only a SearchSpace makes one: it validates and canonicalises first.

    Attributes:
        space: the name of its space.
        choices: for each variable of the space, the index of the option chosen.
    """

    space: str
    choices: tuple[int, ...]

    @property
    def slug(self) -> str:
        """What files of the architecture are called: its choices, or a digest of very many."""
        choices = "-".join(map(str, self.choices))
        return choices if len(choices) <= MAX_SLUG else hashlib.sha256(choices.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """{"space": str, "choices": [int, …]}."""
        return {"space": self.space, "choices": list(self.choices)}


@dataclass(frozen=True)
class Operator:
    """One row of a latency table: a whole block of a network, as in FBNet (Wu et al., CVPR 2019), not a kernel.

    Attributes:
        kind: the layer that it is ("mbconv").
        input_shape: shape of one input without the batch: (C, H, W) of images, (T, D) of tokens.
        attributes: the layer's keyword arguments.
    """

    kind: str
    input_shape: tuple[int, ...]
    attributes: Mapping[str, int | str] = field(hash=False)

    @cached_property
    def key(self) -> str:
        """The operator as one line of text, the same for equal operators: the key of its row in a table."""
        arguments = ", ".join(f"{name}={value}" for name, value in sorted(self.attributes.items()))
        return f"{self.kind}({'x'.join(map(str, self.input_shape))}; {arguments})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operator) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.key

    def to_json(self) -> dict[str, Any]:
        """{"kind": str, "input_shape": [int, …], "attributes": {…}}."""
        return {"kind": self.kind, "input_shape": list(self.input_shape), "attributes": dict(self.attributes)}

    @staticmethod
    def from_json(document: Mapping[str, Any], where: str) -> "Operator":
        """Reads what `to_json` wrote. Raises StoredFileError that names `where`."""
        try:
            kind, shape, attributes = document["kind"], document["input_shape"], document["attributes"]
            whole = isinstance(kind, str) and all(isinstance(size, int) and size > 0 for size in shape)
            whole = whole and all(isinstance(value, int | str) for value in attributes.values())
        except (KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise StoredFileError(
                where, "must hold an operator: kind, input_shape and attributes", came=f"it is {document!r}"
            )
        return Operator(kind, tuple(shape), dict(attributes))


def invalid_choices(space: str, variables: tuple[Variable, ...], choices: tuple[Any, ...]) -> ArchitectureError | None:
    """What is wrong with `choices` as an architecture of `space`, or None."""
    where = f"An architecture of {space}"
    if len(choices) != len(variables):
        return ArchitectureError(where, f"must have {len(variables)} choices", came=f"{len(choices)} came")
    for variable, choice in zip(variables, choices, strict=True):
        if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(variable.options):
            return ArchitectureError(
                where,
                f"must choose an index from 0 to {len(variable.options) - 1} for {variable.name}",
                came=f"{choice!r} came",
                do=f"The options of {variable.name} are {', '.join(map(str, variable.options))}",
            )
    return None
