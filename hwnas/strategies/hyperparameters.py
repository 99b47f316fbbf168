"""What a strategy accepts as a hyperparameter, and how it refuses the rest."""

from typing import Final

from hwnas.errors import SettingsError

__all__ = ["require_count", "require_share"]


MOST: Final = 100_000
"""Above what published experiments use, below what memory holds."""


def require_count(hyperparameter: str, value: int, *, least: int = 1, most: int = MOST) -> int:
    """Gives back `value` where it is a whole number from `least` to `most`. Raises SettingsError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SettingsError(hyperparameter, f"must be a whole number from {least} to {most}", came=f"{value!r} came")
    return value


def require_share(hyperparameter: str, value: float) -> float:
    """Gives back `value` where it is from 0 to 1. Raises SettingsError."""
    if not 0 <= value <= 1:
        raise SettingsError(hyperparameter, "must be from 0 to 1", came=f"{value!r} came")
    return value
