"""SimulatedHost: a device with a known truth and a clock of its own, for tests of whatever measures on a Host.

A test on a real machine cannot know what it should find. Here the time of each run is the truth, made slower as the test
says: by noise, by drift and throttling, by where a model came to lie when it was loaded. No time passes but on its clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.devices.hosts.host import Host, Visit
from hwnas.errors import DeviceError

__all__ = ["SimulatedHost"]


def _steadily(_: str, __: float) -> float:
    return 1.0


def _exactly(_: np.random.Generator) -> float:
    return 1.0


def _gladly(_: Path) -> str | None:
    return None


class SimulatedHost(Host):
    """A device whose models take a known time, disturbed as told.

    Example: a device that throttles after a minute; `measure(host, paths, clock=host.clock, …)` is to find that out::

        SimulatedHost(lambda path: 2.0, slowdown=lambda name, seconds: 1.0 if seconds < 60 else 1.4)

    Args:
        truth_ms: what a run of the model in a file takes at full speed, in ms.
        slowdown: by which factor a model, by its name, is slower when the clock shows so many seconds.
        noise: the factor of a single run, above zero, drawn from the generator.
        placement: a model is slower by up to this share, drawn anew each time it is loaded.
        load_seconds: what loading one model takes.
        refuses: why the model in a file is refused, None where it runs.
        gone_after: after so many visits the device is gone; None: never.
        precisions: see Host.
        fingerprint: see Host.
        conditions: see Host.
        seed: of noise and placement.

    Attributes:
        seconds: what the clock shows.
        visited: all visits so far, in order.
        loads: the names of the models of each call of `load`, in order.
    """

    precisions: tuple[str, ...] = ()

    def __init__(
        self,
        truth_ms: Callable[[Path], float],
        *,
        slowdown: Callable[[str, float], float] = _steadily,
        noise: Callable[[np.random.Generator], float] = _exactly,
        placement: float = 0.0,
        load_seconds: float = 0.0,
        refuses: Callable[[Path], str | None] = _gladly,
        gone_after: int | None = None,
        precisions: tuple[str, ...] = ("fp32",),
        fingerprint: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.precisions = precisions
        self.seconds = 0.0
        self.visited: list[Visit] = []
        self.loads: list[tuple[str, ...]] = []
        self._truth_ms = truth_ms
        self._slowdown = slowdown
        self._noise = noise
        self._placement = placement
        self._load_seconds = load_seconds
        self._refuses = refuses
        self._gone_after = gone_after
        self._fingerprint = {"runtime": "simulated", "cores": 1, "num_threads": 1, **(fingerprint or {})}
        self._conditions = dict(conditions or {})
        self._rng = np.random.default_rng(seed)
        self._loaded_ms: dict[str, float] = {}

    def clock(self) -> float:
        """The seconds that its clock shows, for what takes a clock."""
        return self.seconds

    def fingerprint(self) -> dict[str, Any]:
        """As given, and what every fingerprint has."""
        return dict(self._fingerprint)

    def conditions(self) -> dict[str, Any]:
        """As given."""
        return dict(self._conditions)

    def load(self, models: Mapping[str, Path]) -> Iterator[tuple[str, str | None]]:
        """Loads models, each to another place in memory; see Host."""
        self.loads.append(tuple(models))
        for name, path in models.items():
            self.seconds += self._load_seconds
            refusal = self._refuses(path)
            if refusal is None:
                self._loaded_ms[name] = self._truth_ms(path) * (1 + self._placement * self._rng.random())
            yield name, refusal

    def visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        """Lets the time of the runs pass; see Host."""
        for name, runs in visits:
            if name not in self._loaded_ms:
                raise DeviceError(f"Model {name!r}", "must be loaded before it is visited")
            if len(self.visited) == self._gone_after:
                raise DeviceError("The simulated device", "must answer", came="it is gone")
            self.visited.append((name, runs))
            yield [self._run(name) for _ in range(1 + runs)][1:]

    def unload(self, models: Iterable[str]) -> None:
        """Forgets loaded models."""
        for name in models:
            self._loaded_ms.pop(name, None)

    def close(self) -> None:
        """Forgets all models."""
        self._loaded_ms.clear()

    def _run(self, name: str) -> float:
        sample_ms = self._loaded_ms[name] * self._slowdown(name, self.seconds) * self._noise(self._rng)
        self.seconds += sample_ms / 1e3
        return sample_ms
