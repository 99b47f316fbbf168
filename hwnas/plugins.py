"""Finding a member of a package by name: in its literal dict, among the installed plug-ins, or in code of the user's."""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from hwnas.errors import SettingsError, UnknownNameError

__all__ = ["check_options", "find_member", "load_object", "plugin_origins"]

Member = TypeVar("Member")

SEQUENCES: Final = ("Sequence[", "list[", "tuple[")
"""What an annotation, which may be a text, says of a parameter that takes several values."""
LOADING_FAILS: Final = (Exception, SystemExit)
"""What code of others may raise when it is imported: a script ends with sys.exit."""


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
        SettingsError: a plug-in that cannot be imported.
    """
    if name in built_in:
        return built_in[name]
    plugins = {entry.name: entry for entry in entry_points(group=group)}
    if name not in plugins:
        raise UnknownNameError(kind, name, {*built_in, *plugins}, where=where)
    try:
        found: Member = plugins[name].load()
    except LOADING_FAILS as error:  # code of others raises what it likes
        plugin = f"The plug-in {name} of {_origin(plugins[name])}"
        raise SettingsError(plugin, "must be importable", came=_raised(error)) from error
    return found


def plugin_origins(group: str) -> dict[str, str]:
    """The installed plug-ins of an entry-point group by name, each with the package that brings it."""
    return {entry.name: _origin(entry) for entry in entry_points(group=group)}


def check_options(
    of: str,
    make: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    positional: int,
    reserved: Collection[str] = ("rng",),
) -> None:
    """Checks that `options` are numbers for keyword-only parameters of `make`.

    A parameter that is annotated as a sequence takes a list of numbers too.

    Args:
        of: whose options they are, for the error ("the space mobilenetv3").
        make: what they will be given to.
        options: by name.
        positional: how many first parameters the caller gives itself.
        reserved: further parameters that it gives, by name.

    Raises:
        UnknownNameError: no such option.
        SettingsError: an option that is neither a number nor a list that its parameter takes, or one of a parameter that
            is not keyword-only.
    """
    free = [one for one in list(inspect.signature(make).parameters.values())[positional:] if one.name not in reserved]
    parameters = {one.name: one for one in free if one.kind is one.KEYWORD_ONLY}
    ordinary = {one.name for one in free if one.kind is one.POSITIONAL_OR_KEYWORD}
    for option, value in options.items():
        if option in ordinary:
            where, came = f"The parameter {option} of {of}", "it can be given by position"
            raise SettingsError(where, "must be keyword-only", came=came, do="Put `*,` before it")
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
        reference: "module:Name", or "path/to/file.py:Name". While it is imported, and no longer, modules of the working
            folder, or those beside the file, can be imported.

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
    except LOADING_FAILS as error:  # code of the user's raises what it likes
        raise SettingsError(where, "must be in Python code that can be imported", came=_raised(error)) from error
    if not hasattr(module, name):
        known = [one for one in vars(module) if not one.startswith("_")]
        raise UnknownNameError(kind, name, known, where=source)
    return getattr(module, name)


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _raised(error: BaseException) -> str:
    """What came of code that cannot be imported, with the place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f" (line {last.lineno} of {last.filename})" if "importlib" not in last.filename else ""
    return f"it raises {type(error).__name__}: {error}{place}"


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _import_file(path: Path) -> ModuleType:
    """Runs a file as a module of its own, under a name that neither an installed module nor another file has."""
    name = f"hwnas_user_{path.stem}_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:8]}"
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
