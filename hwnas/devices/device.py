"""Device files: one TOML a device, read with errors that say which key is wrong."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwnas.devices.hosts import HOSTS
from hwnas.devices.runtimes import find_runtime
from hwnas.errors import DeviceError, HwnasError, UnknownNameError
from hwnas.files import read_toml

__all__ = ["Device", "device_folders", "list_devices", "load_device"]


@dataclass(frozen=True)
class Device:
    """A machine that runs models, and how: the contents of devices/<name>.toml.

    Attributes:
        name: the file's name without its ending.
        description: one line for a person.
        address: "local", or how it is reached.
        runtimes: names of the runtimes to use there, the preferred one first.
        num_threads: threads of one inference.
    """

    name: str
    description: str
    address: str
    runtimes: tuple[str, ...]
    num_threads: int

    def with_runtime(self, name: str) -> "Device":
        """The same device with `name` as its preferred runtime."""
        return replace(self, runtimes=(name, *(one for one in self.runtimes if one != name)))

    @property
    def scheme(self) -> str:
        """The way to reach it: what stands before the first colon of the address."""
        return self.address.partition(":")[0]


class DeviceFile(BaseModel):
    """The keys of a device file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    description: str = ""
    address: str = "local"
    runtimes: Annotated[list[str], Field(min_length=1)] = ["onnxruntime-cpu"]
    num_threads: Annotated[int, Field(ge=1, le=1024)] = 1


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
    if content.address.partition(":")[0] not in HOSTS:
        raise DeviceError(
            f"{path}: address", f"must begin with {' or '.join(HOSTS)}", came=f"it is {content.address!r}"
        )
    for runtime in content.runtimes:
        find_runtime(runtime, where=str(path))
    cores = os.cpu_count() or 1
    if content.address == "local" and content.num_threads > cores:
        raise DeviceError(
            f"{path}: num_threads",
            f"must be at most {cores}, the cores of this machine",
            came=f"it is {content.num_threads}",
        )
    return Device(content.name, content.description, content.address, tuple(content.runtimes), content.num_threads)


def _device_error(path: Path, error: ValidationError) -> HwnasError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return UnknownNameError("key", key, DeviceFile.model_fields, where=str(path))
    return DeviceError(f"{path}: {key}", "must be usable", came=first["msg"][0].lower() + first["msg"][1:])
