"""What `workers` may be in a run.toml, on the command line and in Python, and what it means."""

import importlib.util
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from hwnas.errors import SettingsError

__all__ = ["WorkersAddress", "parse_workers"]

CONNECT_S: Final = 5.0
MUST: Final = 'must be a number of processes from 1 up, "ray", or "ray://HOST:PORT", if need be with "?workers=N"'


@dataclass(frozen=True)
class WorkersAddress:
    """Where evaluations run.

    Attributes:
        count: of workers; None: as many as the cluster has CPUs.
        cluster: the Ray cluster: "ray://HOST:PORT", or "ray" for that of this machine; None: processes of this machine.
    """

    count: int | None
    cluster: str | None = None

    def require(self) -> None:
        """Raises SettingsError where Ray is wanted and not installed, or nothing answers at its address."""
        if self.cluster is None:
            return
        where = f"workers = {self.cluster}"
        if importlib.util.find_spec("ray") is None:
            raise SettingsError(where, "must have Ray", came="it is not installed", do="pip install 'hwnas[ray]'")
        parts = urlsplit(self.cluster)
        if parts.hostname is None:
            return
        try:
            socket.create_connection((parts.hostname, parts.port or 0), timeout=CONNECT_S).close()
        except OSError as error:
            raise SettingsError(
                where,
                "must be the address of a Ray cluster's client server",
                came=f"nothing answers there: {error.strerror or error}",
                do="Start one: ray start --head --ray-client-server-port 10001",
            ) from error


def parse_workers(workers: int | str, *, where: str = "workers") -> WorkersAddress:
    """What `workers` means: 4 or "4", "ray", "ray://head:10001", "ray://head:10001?workers=8".

    Raises:
        SettingsError: it means nothing.
    """
    refusal = SettingsError(where, MUST, came=f"{workers!r} came")
    text = str(workers)
    if not isinstance(workers, int | str) or isinstance(workers, bool):
        raise refusal
    if text.isdecimal():
        if int(text) < 1:
            raise refusal
        return WorkersAddress(int(text))
    try:
        parts = urlsplit(text)
        given = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
        place = (parts.scheme, parts.path) if parts.netloc else ("", parts.path)
        sound = place == ("ray", "") and parts.hostname and parts.port if parts.netloc else place == ("", "ray")
    except ValueError as error:  # such as a port that is no number
        raise refusal from error
    count = dict(given).pop("workers", None)
    if not sound or parts.fragment or [name for name, _ in given] not in ([], ["workers"]):
        raise refusal
    if count is not None and not (count.isdecimal() and int(count) >= 1):
        raise refusal
    cluster = f"ray://{parts.netloc}" if parts.netloc else "ray"
    return WorkersAddress(None if count is None else int(count), cluster)
