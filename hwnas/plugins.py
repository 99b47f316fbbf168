"""Finding a member of a package by name: in its literal dict, among the installed plug-ins, or in code of the user's."""

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from hwnas.errors import SettingsError, UnknownNameError

__all__ = ["check_options", "find_member", "load_object"]

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


def load_object(kind: str, reference: str) -> Any:
    """What a user's code calls so.

    Args:
        kind: what it is to be, for the error ("space").
        reference: "module:Name", or "path/to/file.py:Name". Modules of the working folder, and those beside the file, can
            be imported.

    Raises:
        UnknownNameError: the code has no such name; it names the nearest.
        SettingsError: no such file or module, or it cannot be imported.
    """
    source, _, name = reference.rpartition(":")
    where = f"The {kind} {reference}"
    path = Path(source).expanduser()
    is_file = source.endswith(".py")
    if is_file and not path.is_file():
        raise SettingsError(where, "must be in a file that exists", came=f"{path} does not")
    try:
        with _importing_from(path.resolve().parent if is_file else Path.cwd()):
            module = _import_file(path) if is_file else importlib.import_module(source)
    except Exception as error:  # code of the user's raises what it likes
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f" (line {last.lineno} of {last.filename})" if "importlib" not in last.filename else ""
        came = f"{type(error).__name__}: {error}{place}"
        raise SettingsError(where, "must be in Python code that can be imported", came=came) from error
    if not hasattr(module, name):
        known = [one for one in vars(module) if not one.startswith("_")]
        raise UnknownNameError(kind, name, known, where=source)
    return getattr(module, name)


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _import_file(path: Path) -> ModuleType:
    """Runs a file as a module of its own, under a name that no installed module has."""
    name = f"hwnas_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as dataclasses want it
    try:
        spec.loader.exec_module(module)
    except BaseException:  # whatever stopped it, no half of a module is left behind
        del sys.modules[name]
        raise
    return module
