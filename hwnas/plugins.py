"""Finding a member of a package by name: in its literal dict, else among the installed plug-ins."""

import inspect
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from hwnas.errors import SettingsError, UnknownNameError

__all__ = ["check_options", "find_member"]

Member = TypeVar("Member")

SEQUENCES: Final = ("Sequence[", "list[", "tuple[")
"""What an annotation, which may be a text, says of a parameter that takes several values."""


def find_member(kind: str, name: str, built_in: Mapping[str, Member], *, group: str, where: str = "") -> Member:
    """The member called `name`.

    Args:
        kind: what it is, for the error ("space").
        name: of the member.
        built_in: the members that come with hwnas; plug-ins are looked at only where the name is not among them.
        group: the entry-point group through which plug-ins add theirs ("hwnas.spaces").
        where: where it was named, for the error.

    Raises:
        UnknownNameError: no such member; it names the nearest.
    """
    if name in built_in:
        return built_in[name]
    plugins = {entry.name: entry for entry in entry_points(group=group)}
    if name in plugins:
        found: Member = plugins[name].load()
        return found
    raise UnknownNameError(kind, name, {*built_in, *plugins}, where=where)


def check_options(
    of: str, make: Callable[..., Any], options: Mapping[str, Any], *, reserved: Collection[str] = ("rng",)
) -> None:
    """Checks that `options` are numbers for keyword-only parameters of `make`.

    A parameter that is annotated as a sequence takes a list of numbers too.

    Args:
        of: whose options they are, for the error ("the space mobilenetv3").
        make: what they will be given to.
        options: by name.
        reserved: parameters that the caller gives itself.

    Raises:
        UnknownNameError: no such option.
        SettingsError: an option that is neither a number nor a list that its parameter takes.
    """
    parameters = {
        parameter.name: parameter
        for parameter in inspect.signature(make).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in reserved
    }
    for option, value in options.items():
        if option not in parameters:
            raise UnknownNameError(f"option of {of}", option, parameters)
        takes_list = any(kind in str(parameters[option].annotation) for kind in SEQUENCES)
        values = value if takes_list and isinstance(value, list | tuple) else [value]
        if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
            must = "must be a number or a list of numbers" if takes_list else "must be a number"
            raise SettingsError(f"{option} of {of}", must, came=f"{value!r} came")
