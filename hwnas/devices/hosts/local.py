"""This machine as a host: its runtimes are called in this process, on pinned cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.devices.environment import conditions, fingerprint
from hwnas.devices.hosts.host import Host, Visit
from hwnas.devices.runtimes import Runtime, Session, find_runtime
from hwnas.errors import DeviceError, MissingRuntimeError

if TYPE_CHECKING:
    from typing import Self  # the agent runs this file on Python 3.10, which has no Self

    from hwnas.devices.device import Device

__all__ = ["LocalHost", "pinned"]


class LocalHost(Host):
    """A runtime of this machine.

    Args:
        runtime: the runtime.
        num_threads: threads of one inference; as many cores are pinned while the host is open.

    Raises:
        MissingRuntimeError: the runtime cannot run here.
    """

    def __init__(self, runtime: Runtime, *, num_threads: int) -> None:
        runtime.require()
        self._runtime = runtime
        self._num_threads = num_threads
        self._sessions: dict[str, Session] = {}
        self._stack = contextlib.ExitStack()
        self._cores = self._stack.enter_context(pinned(num_threads))

    @classmethod
    def reach(cls, device: Device) -> Self:
        """This machine with the preferred runtime of `device`."""
        runtime = find_runtime(device.runtimes[0], where=f"device {device.name!r}")
        return cls(runtime, num_threads=device.num_threads)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of the runtime."""
        return self._runtime.precisions

    @property
    def symmetric_int8(self) -> bool:
        """As the runtime wants them."""
        return self._runtime.symmetric_int8

    def fingerprint(self) -> dict[str, Any]:
        """This machine's, with this runtime."""
        return fingerprint(self._runtime, num_threads=self._num_threads)

    def conditions(self) -> dict[str, Any]:
        """This machine's at this moment, the cores that are pinned, and what the loaded models' sessions tell."""
        told = {name: value for session in self._sessions.values() for name, value in session.properties.items()}
        return {**conditions(), "pinned_cores": None if self._cores is None else list(self._cores), **told}

    def load(self, models: Mapping[str, Path]) -> Iterator[tuple[str, str | None]]:
        """Loads models into this process; see Host."""
        for name, path in models.items():
            refusal = None
            self._sessions.pop(name, None)
            try:
                session = self._runtime.load(path, num_threads=self._num_threads)
                session.time_ms(1)
                self._sessions[name] = session
            except MissingRuntimeError:
                raise
            except Exception as error:  # a runtime may fail in any way of its own when a model first runs
                refusal = str(error).strip() or type(error).__name__
            yield name, refusal

    def visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        """Runs models in this process; see Host."""
        for name, runs in visits:
            session = self._sessions.get(name)
            if session is None:
                raise DeviceError(f"Model {name!r}", "must be loaded before it is visited")
            try:
                session.time_ms(1)
                samples = session.time_ms(runs)
            except DeviceError:
                raise
            except Exception as error:  # as when it first runs
                raise DeviceError(
                    f"Runtime {self._runtime.name}", f"must run {name}", came=f"it says: {_first_line(error)}"
                ) from error
            yield samples

    def unload(self, models: Iterable[str]) -> None:
        """Drops the sessions."""
        for name in models:
            self._sessions.pop(name, None)

    def close(self) -> None:
        """Drops all sessions and gives the cores back."""
        self._sessions.clear()
        self._stack.close()


@contextlib.contextmanager
def pinned(num_threads: int) -> Iterator[tuple[int, ...] | None]:
    """Pins this thread, and the threads it starts inside, to the last `num_threads` cores that it may use.

    Yields:
        The cores, or None where the system cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[-num_threads:]
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:  # a container may forbid it
        yield None
        return
    try:
        yield tuple(chosen)
    finally:
        os.sched_setaffinity(0, before)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
