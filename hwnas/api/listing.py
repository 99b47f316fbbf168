"""What there is to choose from: devices, runtimes, spaces."""

from dataclasses import dataclass

from hwnas.devices import RUNTIMES, Device, find_runtime, load_device
from hwnas.devices import list_devices as device_files
from hwnas.errors import HwnasError
from hwnas.spaces import SPACES

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
    """The built-in spaces by name, each with the first paragraph of what its class says of itself."""
    return {name: (kind.__doc__ or "").strip().split("\n\n")[0] for name, kind in SPACES.items()}
