"""Describing a chain by what its operators depend on: options that may be one or several, and the slots made of them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import Choice, Fixed
from hwnas.spaces.architecture import Operator, Variable
from hwnas.spaces.chain import Slot

__all__ = ["Decision", "Decisions", "ascending", "elastic_layer", "option_value"]


@dataclass(frozen=True)
class Decision:
    """Something that operators depend on.

    Attributes:
        options: the values that it may take.
        variables: the position of the variable that decides; none where there is one option only.
    """

    options: tuple[Any, ...]
    variables: tuple[int, ...] = ()


class Decisions:
    """The decisions of a chain.

    Attributes:
        variables: those that were needed, in the order in which the decisions were asked for.
    """

    def __init__(self) -> None:
        self.variables: list[Variable] = []

    def among(self, name: str, options: Sequence[float | str]) -> Decision:
        """The decision called `name`; where there is more than one option it becomes a variable."""
        if len(options) == 1:
            return Decision(tuple(options))
        self.variables.append(Variable(name, tuple(options)))
        return Decision(tuple(options), (len(self.variables) - 1,))

    @staticmethod
    def slot(
        make: Callable[..., Operator | None],
        *decisions: Decision,
        depth: Decision | None = None,
        min_depth_choice: int = 0,
    ) -> Slot:
        """The slot of the operators that `make` gives for all combinations of the options of `decisions`.

        It runs where the choice of `depth`, a variable, is at least `min_depth_choice`.
        """
        operators = tuple(make(*values) for values in itertools.product(*(one.options for one in decisions)))
        variables = tuple(variable for one in decisions for variable in one.variables)
        if depth is None or min_depth_choice == 0:
            return Slot(operators, variables)
        return Slot(operators, variables, depth.variables[0], min_depth_choice)


def ascending(
    name: str, values: float | Sequence[float], *, low: float, high: float, must: str = ""
) -> tuple[float, ...]:
    """The values of an option as a tuple, checked.

    Args:
        name: of the option, for the error ("width_mult of mobilenetv3").
        values: one, or several.
        low: the least that each may be.
        high: the most that each may be.
        must: what each must be, where that is more than the limits.

    Raises:
        SettingsError: none came, one is out of range, or they do not ascend.
    """
    given = tuple(values) if isinstance(values, Sequence) else (values,)
    if not given:
        raise SettingsError(name, must or f"must be from {low} to {high}", came="none came")
    for value in given:
        if not low <= value <= high:
            raise SettingsError(name, must or f"must be from {low} to {high}", came=f"{value} came")
    if any(after <= before for before, after in itertools.pairwise(given)):
        raise SettingsError(name, "must go up from value to value", came=f"{', '.join(map(str, given))} came")
    return given


def option_value(values: Sequence[float]) -> float | list[float]:
    """What `ascending` read, as an option is stored: the one value, or the list of several."""
    return values[0] if len(values) == 1 else list(values)


def elastic_layer(
    slot: Slot, build: Callable[[Operator], nn.Module], *, elastic: Mapping[str, Callable[..., nn.Module]]
) -> nn.Module:
    """The layer of a supernet that does for all operators of a slot.

    Args:
        slot: whose operators are of one kind, the widest last.
        build: makes the fixed layer of an operator.
        elastic: for each kind of operator with weights its elastic layer, made as the fixed one.
    """
    widest = slot.present[-1]
    attributes = list({one.key.partition(";")[2]: dict(one.attributes) for one in slot.present}.values())
    has_weights = widest.kind in elastic
    if len(attributes) == 1 and not (has_weights and len({one.input_shape[0] for one in slot.present}) > 1):
        return Fixed(build(widest))
    if not has_weights:
        return Choice([(one, build(Operator(widest.kind, widest.input_shape, one))) for one in attributes])
    return elastic[widest.kind](widest.input_shape[0], **widest.attributes)
