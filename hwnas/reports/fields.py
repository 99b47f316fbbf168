"""Checked reading of one JSON object, so that a damaged file ends in a sentence and never in a bare KeyError."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwnas.errors import StoredFileError

__all__ = ["ArchitectureRecord", "Fields"]


class Fields:
    """The fields of one JSON object.

    Args:
        document: the object.
        where: the file (and place in it) that it came from, for errors.

    Example:
        >>> Fields({"name": "error", "bound": None}, "front.json").number("bound") is None
        True
    """

    def __init__(self, document: Any, where: str) -> None:
        if not isinstance(document, Mapping):
            raise StoredFileError(where, "must be a JSON object", came=f"it is a {type(document).__name__}")
        self.document: Mapping[str, Any] = document
        self.where = where

    def text(self, key: str, default: str | None = None) -> str:
        """The string at `key`. Raises StoredFileError where it is no string, or absent without a `default`."""
        value = self.document.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def number(self, key: str) -> float | None:
        """The number at `key`; None where absent, null or not finite. Raises StoredFileError where it is no number."""
        value = self.document.get(key)
        return None if value is None else self._finite(key, value)

    def flag(self, key: str) -> bool | None:
        """True or false at `key`, or None where absent or null. Raises StoredFileError where it is something else."""
        value = self.document.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def numbers(self, key: str) -> dict[str, float]:
        """The object of numbers at `key`, without those that are null or not finite. Raises StoredFileError."""
        found = {}
        for name, value in self.object(key).document.items():
            number = None if value is None else self._finite(f"{key}.{name}", value)
            if number is not None:
                found[name] = number
        return found

    def integers(self, key: str) -> tuple[int, ...]:
        """The list of whole numbers at `key`. Raises StoredFileError where it is something else."""
        value = self.document.get(key)
        if not isinstance(value, list) or any(isinstance(item, bool) or not isinstance(item, int) for item in value):
            raise self._wrong(key, "a list of whole numbers", value)
        return tuple(value)

    def interval(self, key: str) -> tuple[float, float] | None:
        """The [low, high] pair at `key`, or None where absent or null. Raises StoredFileError."""
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2:
            raise self._wrong(key, "a list [low, high]", value)
        low, high = (self._finite(key, item) for item in value)
        return None if low is None or high is None else (low, high)

    def object(self, key: str) -> "Fields":
        """The object at `key`, empty where absent or null. Raises StoredFileError where it is something else."""
        value = self.document.get(key)
        return Fields({} if value is None else value, f"{self.where}: {key!r}")

    def objects(self, key: str) -> Sequence["Fields"]:
        """The list of objects at `key`. Raises StoredFileError where it is absent or something else."""
        value = self.document.get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return [Fields(item, f"{self.where}: {key}[{index}]") for index, item in enumerate(value)]

    def _finite(self, key: str, value: Any) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number", value)
        return float(value) if math.isfinite(value) else None

    def _wrong(self, key: str, wanted: str, value: Any) -> StoredFileError:
        came = "there is none" if value is None else f"it is {value!r:.80}"
        return StoredFileError(f"{self.where}: {key!r}", f"must be {wanted}", came=came, do="Make the file anew")


@dataclass(frozen=True)
class ArchitectureRecord:
    """An architecture as the files name it: the space and one choice a variable."""

    space: str
    choices: tuple[int, ...]

    @staticmethod
    def read(fields: Fields) -> "ArchitectureRecord":
        """The object "architecture" of `fields`. Raises StoredFileError."""
        found = fields.object("architecture")
        return ArchitectureRecord(found.text("space"), found.integers("choices"))
