"""What there is to choose from: devices, runtimes, spaces."""

from dataclasses import dataclass

from hwnas.devices import RUNTIMES, Device, find_runtime, load_device
from hwnas.devices import list_devices as device_files
from hwnas.errors import HwnasError
from hwnas.plugins import plugin_origins
from hwnas.spaces import SPACES, find_space

__all__ = ["RuntimeListing", "list_devices", "list_runtimes", "list_spaces"]


@dataclass(frozen=True)
class RuntimeListing:
    """One runtime: its version, None where it cannot run here, and what brings it."""

    name: str
    version: str | None
    install_hint: str


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
    found = {name: _first_paragraph(kind) for name, kind in SPACES.items()}
    for name, origin in plugin_origins("hwnas.spaces").items():
        if name in SPACES:
            continue
        try:
            found[name] = f"{_first_paragraph(find_space(name))} (Plug-in of {origin}.)".lstrip()
        except HwnasError as error:
            found[name] = str(error)
    return found


def _first_paragraph(kind: type) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]
