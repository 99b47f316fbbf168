"""What there is to choose from: devices, runtimes, spaces, strategies."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hwnas.devices import RUNTIMES, Device, find_runtime, load_device
from hwnas.devices import list_devices as device_files
from hwnas.errors import HwnasError
from hwnas.plugins import plugin_origins
from hwnas.spaces import SPACES, find_space
from hwnas.strategies import STRATEGIES, find_strategy

__all__ = ["RuntimeListing", "StrategyListing", "list_devices", "list_runtimes", "list_spaces", "list_strategies"]


@dataclass(frozen=True)
class RuntimeListing:
    """One runtime: its version, None where it cannot run here, and what brings it."""

    name: str
    version: str | None
    install_hint: str


@dataclass(frozen=True)
class StrategyListing:
    """One strategy: the first paragraph of what its class says of itself, and its hyperparameters with their defaults."""

    text: str
    hyperparameters: Mapping[str, float | None]


def list_devices() -> dict[str, Device | HwnasError]:
    """The known devices by name; for a device file that cannot be used, the error."""
    found: dict[str, Device | HwnasError] = {}
    for name in device_files():
        try:
            found[name] = load_device(name)
        except HwnasError as error:
            found[name] = error
    return found


def list_runtimes() -> list[RuntimeListing]:
    """Every runtime that hwnas knows."""
    runtimes = [find_runtime(name) for name in RUNTIMES]
    return [RuntimeListing(runtime.name, runtime.version, runtime.install_hint) for runtime in runtimes]


def list_spaces() -> dict[str, str]:
    """The spaces by name, each with the first paragraph of what its class says of itself.

    Plug-ins come last and say which package brings them; of one that cannot be used the error is given.
    """
    return {name: text for name, (text, _) in _described(SPACES, "hwnas.spaces", find_space).items()}


def list_strategies() -> dict[str, StrategyListing]:
    """The strategies by name, plug-ins as in `list_spaces`."""
    found = _described(STRATEGIES, "hwnas.strategies", find_strategy)
    return {name: StrategyListing(text, _hyperparameters(kind)) for name, (text, kind) in found.items()}


def _described(
    built_in: Mapping[str, type], group: str, find: Callable[[str], type]
) -> dict[str, tuple[str, type | None]]:
    """Of each member and plug-in, by name: what it says of itself, or why it cannot be used, and its class."""
    found: dict[str, tuple[str, type | None]] = {
        name: (_first_paragraph(kind), kind) for name, kind in built_in.items()
    }
    for name, origin in plugin_origins(group).items():
        if name in built_in:
            continue
        try:
            kind = find(name)
            found[name] = (f"{_first_paragraph(kind)} (Plug-in of {origin}.)".lstrip(), kind)
        except HwnasError as error:
            found[name] = (str(error), None)
    return found


def _hyperparameters(kind: type | None) -> dict[str, float | None]:
    parameters = [] if kind is None else inspect.signature(kind).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "rng"}


def _first_paragraph(kind: type) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]
