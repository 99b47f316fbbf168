"""Addresses of devices that are not this machine: what stands behind "ssh://" and "command:", taken apart and checked.

An address becomes arguments of a program, so what could be read as an option, or not at all, is refused here.
"""

import re
import shlex
from dataclasses import dataclass
from typing import Final

from hwnas.errors import DeviceError, UnknownNameError

__all__ = ["PLACEHOLDERS", "SSHAddress", "parse_command", "parse_ssh"]

PLACEHOLDERS: Final = ("model", "runs", "threads")
"""What a command may name in braces: the model's file, how many runs to time, the threads of one inference."""

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+\\@-]*\$?")
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|\[(?P<ipv6>[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?)\]")


@dataclass(frozen=True)
class SSHAddress:
    """Where an ssh server is reached.

    Attributes:
        user: the account there, None for the one that ssh's own configuration names.
        host: a host name, an address, or a name from ~/.ssh/config.
        port: None for ssh's own choice.
    """

    user: str | None
    host: str
    port: int | None

    @property
    def arguments(self) -> list[str]:
        """As arguments of `ssh`, the command to run there to follow."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*user, *port, "--", self.host]

    @property
    def shown(self) -> str:
        """As a person would give it to `ssh`."""
        port = "" if self.port is None else f"-p {self.port} "
        return f"{port}{'' if self.user is None else self.user + '@'}{self.host}"


def parse_ssh(address: str, *, where: str) -> SSHAddress:
    """Takes "ssh://[user@]host[:port]" apart.

    Args:
        address: the address.
        where: where it stands, for the error.

    Raises:
        DeviceError: it is of another form, or a part of it could not be given to ssh.
    """

    def refused(must: str, *, do: str | None = None) -> DeviceError:
        return DeviceError(where, must, came=f"it is {address!r}", do=do)

    scheme, slashes, rest = address.partition("://")
    if scheme != "ssh" or not slashes:
        raise refused('must be of the form "ssh://user@host" or "ssh://user@host:port"')
    user, at, server = rest.rpartition("@")
    if "/" in server:
        raise refused("must end with the host or its port", do="Leave out the slash and what follows it")
    if ":" in user:
        raise refused(
            "must not hold a password", do=f"Log in with a key: ssh-copy-id {user.partition(':')[0]}@{server}"
        )
    if at and not USER.fullmatch(user):
        raise refused('must have a user name of letters, digits and "_.-" before the "@"')
    found = re.fullmatch(r"(?P<host>\[.*\]|[^:]*)(:(?P<port>.*))?", server)
    host = HOST.fullmatch(found["host"]) if found else None
    if not found or not host:
        raise refused('must name a host: letters, digits, "." and "-", not "-" first; an IPv6 address stands in [ ]')
    port = found["port"]
    if port is not None and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise refused("must have a port from 1 to 65535 behind the host")
    return SSHAddress(user if at else None, host["ipv6"] or host[0], None if port is None else int(port))


def parse_command(address: str, *, where: str) -> tuple[str, ...]:
    """Takes "command:PROGRAM ARGUMENTS" apart as a shell would; without {model} the model comes last.

    Args:
        address: the address.
        where: where it stands, for the error.

    Raises:
        DeviceError: there is no program, or quotes that do not close.
        UnknownNameError: a placeholder that does not exist.
    """
    try:
        words = shlex.split(address.partition(":")[2])
    except ValueError as error:
        raise DeviceError(where, "must be a command with closed quotes", came=f"it is {address!r}") from error
    if not words or not words[0]:
        raise DeviceError(
            where,
            "must name a program",
            came=f"it is {address!r}",
            do='For example "command:./bench.sh {model} {runs}"',
        )
    for name in re.findall(r"{(\w*)}", " ".join(words)):
        if name not in PLACEHOLDERS:
            raise UnknownNameError("placeholder", name, PLACEHOLDERS, where=where)
    return tuple(words) if any("{model}" in word for word in words) else (*words, "{model}")
