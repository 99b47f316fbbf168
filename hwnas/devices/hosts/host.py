"""What a host must do: hold loaded models on a device, and time visits to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self  # the agent runs this file on Python 3.10, which has no Self

    from hwnas.devices.device import Device

__all__ = ["Host", "HostFactory", "Visit"]

Visit = tuple[str, int]
"""A model's name and how many runs to time."""


class Host(ABC):
    """A device that was reached, with one of its runtimes. Use it in a `with` block.

    Finish an iterator, or drop it, before the next call: what was not taken of it by then is lost.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    @abstractmethod
    def precisions(self) -> tuple[str, ...]:
        """The precisions of models that the runtime there runs at their own speed ("fp32", "fp16", "int8")."""

    @property
    def symmetric_int8(self) -> bool:
        """Whether the runtime there wants int8 activations without a zero point."""
        return False

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What must be the same for two measurements to be comparable; see `hwnas.devices.fingerprint`."""

    @abstractmethod
    def conditions(self) -> dict[str, Any]:
        """How the device is at this moment: load, clock, temperature, whatever of it can be read."""

    @abstractmethod
    def load(self, models: Mapping[str, Path]) -> Iterator[tuple[str, str | None]]:
        """Loads models and runs each once, in order.

        Yields:
            For each model its name, and why the runtime refuses it, or None where it runs.

        Raises:
            MissingRuntimeError: the runtime is not there.
            DeviceError: the device cannot be reached, or does not answer as it must.
        """

    @abstractmethod
    def visit(self, visits: Sequence[Visit]) -> Iterator[list[float]]:
        """Visits loaded models in this order: one run that is not timed, then the timed ones.

        Yields:
            For each visit its samples in ms.

        Raises:
            DeviceError: the device cannot be reached any more, or a model fails or is not loaded.
        """

    @abstractmethod
    def unload(self, models: Iterable[str]) -> None:
        """Forgets loaded models, so that their memory is free."""

    @abstractmethod
    def close(self) -> None:
        """Leaves the device as it was; a second call does nothing."""


HostFactory = Callable[["Device"], Host]
