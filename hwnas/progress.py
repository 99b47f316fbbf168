"""How long-running work tells its caller where it is; the command line draws it, Python callers may ignore it."""

from typing import Protocol

__all__ = ["OnProgress", "silent"]


class OnProgress(Protocol):
    """Called as work goes on: `stage` ("measuring"), `done` of `total` steps, and a short `note` ("loss 0.31")."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Takes the news."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """The default listener: says nothing."""
