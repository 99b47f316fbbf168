"""Device files: one TOML a device, read with errors that say which key is wrong.

What a device file may hold besides, for a device that is reached over ssh or by a program of the user's, stands in
`hwnas.devices.hosts.ssh` and `hwnas.devices.hosts.command`.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas.devices.address import parse_command, parse_ssh
from hwnas.devices.hosts import HOSTS
from hwnas.devices.runtimes import find_runtime
from hwnas.errors import DeviceError, HwnasError, UnknownNameError
from hwnas.files import read_toml

__all__ = ["Device", "device_folders", "list_devices", "load_device"]

SCHEME_OF_KEY: Final = {"python": "ssh", "ssh_options": "ssh", "timeout_s": "command"}
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Device:
    """A machine that runs models, and how: the contents of devices/<name>.toml.

    Attributes:
        name: the file's name without its ending.
        description: one line for a person.
        address: "local", "ssh://user@host:port" or "command:PROGRAM ARGUMENTS".
        runtimes: names of the runtimes to use there, the preferred one first; any names where a command runs them.
        num_threads: threads of one inference.
        python: over ssh, the Python to start there.
        ssh_options: over ssh, further options of the program `ssh`.
        timeout_s: for a command, how long one call may take.
    """

    name: str
    description: str
    address: str
    runtimes: tuple[str, ...]
    num_threads: int
    python: str = "python3"
    ssh_options: tuple[str, ...] = ()
    timeout_s: float = 120.0

    @property
    def scheme(self) -> str:
        """How it is reached: what stands before the first colon of the address."""
        return self.address.partition(":")[0]

    def with_runtime(self, name: str) -> "Device":
        """The same device with `name` as its preferred runtime."""
        return replace(self, runtimes=(name, *(one for one in self.runtimes if one != name)))


class DeviceFile(BaseModel):
    """The keys of a device file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    description: str = ""
    address: str = "local"
    runtimes: Annotated[list[str], Field(min_length=1)] | None = None
    num_threads: Annotated[int, Field(ge=1, le=1024)] = 1
    python: Annotated[str, Field(min_length=1, pattern=r"^[^-\s]")] = "python3"
    ssh_options: list[str] = []
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0


def device_folders() -> list[Path]:
    """Where device files are looked for: ./devices, then those that come with hwnas."""
    package = Path(__file__).parent
    shipped = package / "catalog"
    return [Path("devices"), shipped if shipped.is_dir() else package.parents[1] / "devices"]


def list_devices() -> dict[str, Path]:
    """The known devices by name, each with its file."""
    found: dict[str, Path] = {}
    for folder in device_folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def load_device(name: str) -> Device:
    """The device called `name`, or the device file at the path `name` where that ends in ".toml".

    Raises:
        UnknownNameError: no such device, or a key or runtime that does not exist.
        DeviceError: a value that cannot be used.
    """
    known = list_devices()
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise UnknownNameError(
            "device", name, known, do=f"Known: {', '.join(known)}. Add devices/{name}.toml for a new one"
        )
    document = read_toml(path, kind="device file")
    document.setdefault("name", path.stem)
    try:
        content = DeviceFile.model_validate(document)
    except ValidationError as error:
        raise _device_error(path, error) from error
    if content.name != path.stem:
        raise DeviceError(
            f"{path}: name", f"must be {path.stem!r}, as its file is called", came=f"it is {content.name!r}"
        )
    device = Device(
        content.name,
        content.description,
        content.address,
        tuple(content.runtimes or _usual_runtimes(content.address)),
        content.num_threads,
        content.python,
        tuple(content.ssh_options),
        content.timeout_s,
    )
    _check_address(device, content.model_fields_set, path)
    _check_runtimes(device, path)
    return device


def _usual_runtimes(address: str) -> list[str]:
    return ["command"] if address.startswith("command:") else ["onnxruntime-cpu"]


def _check_address(device: Device, keys: set[str], path: Path) -> None:
    where = f"{path}: address"
    if device.scheme not in HOSTS or (device.scheme == "local" and device.address != "local"):
        raise DeviceError(
            where,
            'must be "local", "ssh://user@host" or "command:PROGRAM {model} {runs}"',
            came=f"it is {device.address!r}",
        )
    if device.scheme == "ssh":
        parse_ssh(device.address, where=where)
    if device.scheme == "command":
        parse_command(device.address, where=where)
    for key in sorted(keys):
        scheme = SCHEME_OF_KEY.get(key, device.scheme)
        if scheme != device.scheme:
            raise DeviceError(
                f"{path}: {key}",
                f'must stand beside an address "{scheme}:…"',
                came=f"the address is {device.address!r}",
            )


def _check_runtimes(device: Device, path: Path) -> None:
    """Only this machine's cores are known here; another device says itself whether it has so many."""
    for name in device.runtimes:
        if device.scheme != "command":
            find_runtime(name, where=str(path))
        elif not FILE_NAME.fullmatch(name):
            raise DeviceError(
                f"{path}: runtimes", 'must be names of letters, digits and "._+-"', came=f"one is {name!r}"
            )
    cores = os.cpu_count() or 1
    if device.scheme == "local" and device.num_threads > cores:
        raise DeviceError(
            f"{path}: num_threads",
            f"must be at most {cores}, the cores of this machine",
            came=f"it is {device.num_threads}",
        )


def _device_error(path: Path, error: ValidationError) -> HwnasError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return UnknownNameError("key", key, DeviceFile.model_fields, where=str(path))
    return DeviceError(f"{path}: {key}", "must be usable", came=first["msg"][0].lower() + first["msg"][1:])
