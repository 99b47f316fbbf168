"""Scalars of a training for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hwnas.errors import SettingsError

__all__ = ["Scalars", "summary_writer"]


def summary_writer() -> Any:
    """TensorBoard's class that writes event files. Raises SettingsError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "training.tensorboard",
            "must have TensorBoard installed",
            came="it is not",
            do="pip install 'hwnas[tensorboard]'",
        ) from error
    return SummaryWriter


class Scalars:
    """Writes event files; a context manager.

    Args:
        folder: where; None: nowhere.
        first_step: what an earlier, stopped run wrote from this step on is left out.

    Raises:
        SettingsError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, first_step: int) -> None:
        self._writer: Any = None
        if folder is not None:
            self._writer = summary_writer()(str(folder), purge_step=first_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one point to each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"training/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
