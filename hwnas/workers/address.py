"""What `workers` may be in a run.toml, on the command line and in Python, and what it means."""

import importlib.util
import re
import socket
from dataclasses import dataclass
from typing import Final

from hwnas.errors import SettingsError

__all__ = ["WorkersAddress", "parse_workers"]

PROCESSES: Final = re.compile(r"[1-9]\d{0,3}", re.ASCII)
CLUSTER: Final = re.compile(
    rf"(?P<cluster>ray(?:://(?P<host>[^\s/?#@]+):(?P<port>\d{{1,5}}))?)(?:\?workers=(?P<count>{PROCESSES.pattern}))?",
    re.ASCII,
)
CONNECT_S: Final = 5.0


@dataclass(frozen=True)
class WorkersAddress:
    """Where evaluations run.

    Attributes:
        count: of workers; None: as many as the cluster has CPUs.
        cluster: the Ray cluster: "ray://HOST:PORT", or "ray" for that of this machine; None: processes of this machine.
        server: host and port of its client server; None where `cluster` has none.
    """

    count: int | None
    cluster: str | None = None
    server: tuple[str, int] | None = None

    def require(self) -> None:
        """Raises SettingsError where Ray is wanted and not installed, or nothing answers at its address."""
        if self.cluster is None:
            return
        where = f"workers = {self.cluster}"
        if importlib.util.find_spec("ray") is None:
            raise SettingsError(where, "must have Ray", came="it is not installed", do="pip install 'hwnas[ray]'")
        if self.server is None:
            return
        try:
            socket.create_connection(self.server, timeout=CONNECT_S).close()
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
    text = str(workers) if isinstance(workers, int | str) and not isinstance(workers, bool) else ""
    if PROCESSES.fullmatch(text):
        return WorkersAddress(int(text))
    found = CLUSTER.fullmatch(text)
    port = int(found["port"] or 1) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise SettingsError(
            where,
            'must be a number of processes from 1 to 9999, "ray", or "ray://HOST:PORT", if need be with "?workers=N"',
            came=f"{workers!r} came",
        )
    server = (found["host"].strip("[]"), port) if found["host"] else None
    return WorkersAddress(int(found["count"]) if found["count"] else None, found["cluster"], server)
