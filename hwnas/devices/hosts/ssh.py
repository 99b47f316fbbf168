"""A device reached over ssh: the system's `ssh` client starts an agent there, which measures as LocalHost does here.

A device file, devices/rpi4.toml, with the keys that only such a device has::

    description = "Raspberry Pi 4 on the desk"
    address = "ssh://pi@rpi4"            # or a name from ~/.ssh/config: "ssh://rpi4"; "ssh://pi@rpi4:2222"
    python = "venv/bin/python"           # there; it needs numpy and the runtime's library (default "python3")
    ssh_options = ["-i", "keys/rpi4"]    # further options for ssh (default none)
    runtimes = ["onnxruntime-cpu"]
    num_threads = 4

Nothing is installed there and nothing stays: the agent and the models lie in folders of their own under the temporary
folder until the host is closed. A lost connection is made anew, and the work goes on with the first visit that was not
answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hwnas.devices.address import SSHAddress, parse_ssh
from hwnas.devices.agent import BOOTSTRAP
from hwnas.devices.hosts.connection import Connection, LostConnection, shortened
from hwnas.devices.hosts.host import Host, Visit
from hwnas.devices.runtimes import find_runtime
from hwnas.errors import DeviceError

if TYPE_CHECKING:
    from typing import Self

    from hwnas.devices.device import Device

__all__ = ["SSHHost"]

OPTIONS: Final = (
    *("-T", "-a", "-x"),
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "ControlMaster=no"),  # a master would outlive the connection, and hold its pipes open
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "RemoteCommand=none"),
)
GREETING_S: Final = 60.0
PATIENCE_S: Final[dict[str, float]] = {
    "open": 180.0,  # a runtime may take long to import from a card
    "load": 900.0,  # TensorRT builds an engine
    "visit": 60.0,
    "put": 120.0,
    "conditions": 30.0,
    "ping": 30.0,
    "missing": 60.0,
    "unload": 60.0,
    "close": 10.0,
}
RUN_S: Final = 10.0
"""A visit's patience grows by this for each of its runs."""
RETRIES: Final = 5
FIRST_WAIT_S: Final = 1.0
"""Before the first new connection; each further wait is twice as long."""
PINGS: Final = 3

# what ssh's last words hold, what must be so, and what to do
TROUBLES: Final = (
    ("could not resolve hostname", "must have a host name that exists", "See the address in its device file"),
    ("connection refused", "must run an ssh server on that port", "See that sshd runs there"),
    ("timed out", "must be reachable", "See that it is switched on and on this network"),
    ("no route to host", "must be reachable", "See that it is switched on and on this network"),
    ("network is unreachable", "must be reachable", "See that this machine is on its network"),
    ("host key verification failed", "must have a known host key", "Log in once by hand, and check the key: ssh {to}"),
    ("permission denied", "must let this user in with a key", "Copy a key there, and try by hand: ssh-copy-id {to}"),
    ("too many authentication", "must let this user in with a key", 'Name one: ssh_options = ["-i", "KEY"]'),
    ("command-line", "must be reached with options that ssh knows", "See ssh_options in its device file"),
    ("option", "must be reached with options that ssh knows", "See ssh_options in its device file"),
)

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class SentModel:
    """A model's file here, and what it held when it was loaded."""

    path: Path
    sha256: str
    size: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file as it is now. Raises OSError."""
        content = path.read_bytes()
        return cls(path, hashlib.sha256(content).hexdigest(), len(content))


class SSHHost(Host):
    """A runtime of a device that is reached over ssh.

    Args:
        name: the device's, for errors.
        address: where its ssh server is.
        runtime: the name of the runtime.
        num_threads: threads of one inference.
        python: the Python to start there; a relative path begins in the user's home folder.
        ssh_options: further options of `ssh`; they win over those that hwnas gives.

    Raises:
        MissingRuntimeError: the runtime, or numpy, is not installed there.
        DeviceError: there is no `ssh` here, or the device cannot be reached, or has no Python that will do.
    """

    def __init__(
        self,
        name: str,
        address: SSHAddress,
        *,
        runtime: str,
        num_threads: int,
        python: str = "python3",
        ssh_options: Sequence[str] = (),
    ) -> None:
        self._where = f"Device {name!r}"
        self._address = address
        self._python = python
        self._ssh_options = tuple(ssh_options)
        self._open_fields = {"runtime": runtime, "num_threads": num_threads, "folder": None}
        self._opened: dict[str, Any] = {}
        self._models: dict[str, SentModel] = {}
        self._connection: Connection | None = None
        if shutil.which("ssh") is None:
            raise DeviceError(
                "Program ssh", f"must be installed to reach {name!r}", came="it is not", do="Install OpenSSH's client"
            )
        try:
            self._connect()
        except LostConnection as lost:
            raise self._unreachable(lost) from lost

    @classmethod
    def reach(cls, device: Device) -> Self:
        """The device with its preferred runtime."""
        return cls(
            device.name,
            parse_ssh(device.address, where=f"device {device.name!r}: address"),
            runtime=find_runtime(device.runtimes[0], where=f"device {device.name!r}").name,
            num_threads=device.num_threads,
            python=device.python,
            ssh_options=device.ssh_options,
        )

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the runtime there."""
        return tuple(self._opened["precisions"])

    @property
    def symmetric_int8(self) -> bool:
        """As the runtime wants them, which is known here without its library."""
        return find_runtime(str(self._open_fields["runtime"])).symmetric_int8

    def fingerprint(self) -> dict[str, Any]:
        """The device's own."""
        return dict(self._opened["fingerprint"])

    def conditions(self) -> dict[str, Any]:
        """The device's at this moment, and how long a message takes there and back: round_trip_ms."""
        found = self._once("conditions")
        if not isinstance(found, dict):
            raise self._misshapen("conditions", found)
        trips = []
        for _ in range(PINGS):
            start = time.perf_counter()
            self._once("ping")
            trips.append((time.perf_counter() - start) * 1e3)
        return {**found, "round_trip_ms": round(min(trips), 3)}

    def load(self, models: Mapping[str, Path]) -> Iterator[tuple[str, str | None]]:
        """Sends what is not there yet, and loads it there; see Host."""
        read: dict[str, SentModel] = {}
        unreadable: dict[str, str] = {}
        for name, path in models.items():
            self._models.pop(name, None)
            try:
                read[name] = SentModel.read(path)
            except OSError as error:
                unreadable[name] = f"{path} cannot be read: {error.strerror}"
        answers = self._resumed(
            list(read), lambda names: self._load({name: read[name] for name in names}), doing="load"
        )
        for name in models:
            refusal = unreadable[name] if name in unreadable else next(answers)
            if refusal is None:
                self._models[name] = read[name]
            yield name, refusal

    def visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        """Visits models there; the answers come one by one; see Host."""
        yield from self._resumed(list(visits), self._visit, doing="visit")

    def unload(self, models: Iterable[str]) -> None:
        """Drops the sessions there; the files stay there until the host is closed."""
        names = [name for name in models if self._models.pop(name, None)]
        self._once("unload", {"models": names})

    def close(self) -> None:
        """Removes what was sent, over a new connection if need be, and ends the connection."""
        self._models.clear()
        if self._connection is None or self._connection.spoilt:
            self._drop()
            return
        with contextlib.suppress(LostConnection, DeviceError):
            try:
                self._ask("close")
            except LostConnection:
                self._drop()
                self._connect()
                self._ask("close")
        self._drop(patience_s=PATIENCE_S["close"])

    def _command(self) -> list[str]:
        home, python = ("~/", self._python[2:]) if self._python.startswith("~/") else ("", self._python)
        start = f"exec {home}{shlex.quote(python)} -u -c '{BOOTSTRAP}'"
        return ["ssh", *self._ssh_options, *OPTIONS, *self._address.arguments, start]

    def _connect(self) -> None:
        connection = Connection(self._command(), where=self._where)
        try:
            connection.greet(patience_s=GREETING_S)
            answers = connection.ask("open", self._open_fields, patience_s=PATIENCE_S["open"])
            opened = self._checked(next(answers, None))
        except BaseException:  # also when it is interrupted: no ssh is to be left behind
            connection.end()
            raise
        self._opened, self._connection = opened, connection
        self._open_fields["folder"] = opened["folder"]

    def _checked(self, opened: Any) -> dict[str, Any]:
        shapes = {"folder": str, "precisions": list, "fingerprint": dict}
        if not isinstance(opened, dict) or any(not isinstance(opened.get(key), kind) for key, kind in shapes.items()):
            raise self._misshapen("open", opened)
        now: dict[str, Any] = opened["fingerprint"]
        before: dict[str, Any] = self._opened.get("fingerprint", now)
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            raise DeviceError(
                self._where,
                "must stay the same while it is measured",
                came=f"after a lost connection its {changed[0]} is {now.get(changed[0])!r}, "
                f"no longer {before.get(changed[0])!r}",
            )
        return opened

    def _reconnect(self) -> None:
        """Connects anew, and loads again what was loaded."""
        self._connect()
        for name, refusal in zip(self._models, self._load(self._models), strict=True):
            if refusal is not None:
                raise DeviceError(f"{self._where}: {name}", "must load again after a lost connection", came=refusal)

    def _resumed(
        self, asked: Sequence[Asked], ask: Callable[[Sequence[Asked]], Iterator[Answered]], *, doing: str
    ) -> Iterator[Answered]:
        """Answers to all that is asked, over as many connections as that takes; each may be lost a few times in a row.

        Raises:
            DeviceError: RETRIES new connections in a row have brought no further answer.
        """
        done = failures = 0
        while done < len(asked):
            try:
                if self._connection is None:
                    self._reconnect()
                for answer in ask(asked[done:]):
                    done, failures = done + 1, 0
                    yield answer
            except LostConnection as lost:
                self._drop()
                if failures == RETRIES:
                    raise DeviceError(
                        self._where,
                        f"must stay connected to {doing} {asked[done]}",
                        came=f"{RETRIES} new connections in a row brought nothing: {lost.reason}",
                        do="See that it is on and has memory left, and run the same command again to go on",
                    ) from lost
                time.sleep(FIRST_WAIT_S * 2**failures)
                failures += 1

    def _once(self, do: str, fields: Mapping[str, Any] | None = None) -> Any:
        (answer,) = self._resumed(["it"], lambda _: iter([self._ask(do, fields)]), doing=f"{do}")
        return answer

    def _drop(self, *, patience_s: float = 0.0) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(patience_s=patience_s)

    def _items(
        self,
        do: str,
        fields: Mapping[str, Any] | None,
        *,
        count: int,
        patience_s: float | None = None,
        payload: Iterable[bytes] = (),
    ) -> Iterator[Any]:
        """As many items as must come on the present connection."""
        if self._connection is None:
            raise LostConnection("the connection was closed", status=None, said="")
        patience_s = PATIENCE_S[do] if patience_s is None else patience_s
        came = 0
        for item in self._connection.ask(do, fields, patience_s=patience_s, payload=payload):
            came += 1
            if came > count:
                raise self._misshapen(do, f"{came} items for {count}")
            yield item
        if came < count:
            raise self._misshapen(do, f"{came} items for {count}")

    def _ask(self, do: str, fields: Mapping[str, Any] | None = None, *, payload: Iterable[bytes] = ()) -> Any:
        (item,) = self._items(do, fields, count=1, payload=payload)
        return item

    def _load(self, models: Mapping[str, SentModel]) -> Iterator[str | None]:
        """Why each model is refused, or None, in order."""
        if not models:
            return
        self._send({model.sha256: model for model in models.values()})
        wanted = [(name, model.sha256) for name, model in models.items()]
        for (name, _), item in zip(wanted, self._items("load", {"models": wanted}, count=len(wanted)), strict=True):
            match item:
                case [str(answered), None | str()] if answered == name:
                    yield item[1]
                case _:
                    raise self._misshapen("load", item)

    def _send(self, models: Mapping[str, SentModel]) -> None:
        """Sends those files, by their sha256, that are not there."""
        missing = self._ask("missing", {"sha256": list(models)})
        if not isinstance(missing, list) or not {*map(str, missing)} <= {*models}:
            raise self._misshapen("missing", missing)
        sent = [models[sha256] for sha256 in missing]
        if sent:
            files = [(model.sha256, model.size) for model in sent]
            self._ask("put", {"files": files}, payload=map(self._content, sent))

    def _content(self, model: SentModel) -> bytes:
        try:
            content = model.path.read_bytes()
            came = None if hashlib.sha256(content).hexdigest() == model.sha256 else "it was changed"
        except OSError as error:
            came = f"the system says: {error.strerror}"
        if came is not None:
            self._drop()  # it waits there for bytes that will not come
            raise DeviceError(str(model.path), "must stay as it is while it is measured", came=came)
        return content

    def _visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        patience_s = PATIENCE_S["visit"] + RUN_S * (1 + max(runs for _, runs in visits))
        items = self._items("visit", {"visits": list(visits)}, count=len(visits), patience_s=patience_s)
        for (_, runs), item in zip(visits, items, strict=True):
            if not (isinstance(item, list) and len(item) == runs and all(map(_is_duration, item))):
                raise self._misshapen("visit", item)
            yield [float(sample) for sample in item]

    def _misshapen(self, do: str, came: Any) -> DeviceError:
        self._drop()
        text = came if isinstance(came, str) else json.dumps(came)
        return DeviceError(self._where, f"must answer {do!r} as the agent does", came=f"it says {shortened(text)}")

    def _unreachable(self, lost: LostConnection) -> DeviceError:
        to = self._address.shown
        where = f"{self._where} (ssh {to})"
        if lost.status in (126, 127):
            return DeviceError(
                where,
                f"must have the Python {self._python!r}",
                came=lost.reason,
                do='Name it in its device file: python = "PATH"',
            )
        if lost.status not in (None, 255):
            return DeviceError(where, "must start the agent", came=lost.reason)
        said = lost.said.lower()
        for words, must, do in TROUBLES:
            if words in said:
                return DeviceError(where, must, came=lost.reason, do=do.format(to=to))
        return DeviceError(where, "must be reachable", came=lost.reason, do=f"Try by hand: ssh {to}")


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0
