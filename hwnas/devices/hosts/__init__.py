"""Hosts: the ways to reach a device, one file each, chosen by the scheme of its address."""

from typing import TYPE_CHECKING, Final

from hwnas.devices.hosts.command import CommandHost
from hwnas.devices.hosts.host import Host, HostFactory
from hwnas.devices.hosts.local import LocalHost, pinned
from hwnas.devices.hosts.ssh import SSHHost

if TYPE_CHECKING:
    from hwnas.devices.device import Device

__all__ = ["HOSTS", "CommandHost", "Host", "HostFactory", "LocalHost", "SSHHost", "connect", "pinned"]

HOSTS: Final[dict[str, HostFactory]] = {
    "local": LocalHost.reach,
    "ssh": SSHHost.reach,
    "command": CommandHost.reach,
}
"""How a device is reached, by the scheme of its address: what stands before the first colon."""


def connect(device: "Device") -> Host:
    """Reaches `device` with its preferred runtime.

    Raises:
        MissingRuntimeError: the runtime is not there.
        DeviceError: the device cannot be reached.
    """
    return HOSTS[device.scheme](device)
