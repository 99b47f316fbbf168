"""Every error that hwnas raises for a mistake or a mishap that its user can mend.

The tree::

    HwnasError
    ├── UnknownNameError        a device, space, strategy, objective, data set or key that does not exist
    ├── SettingsError           a setting whose value cannot be used
    ├── ArchitectureError       choices that the space does not have
    ├── SpaceError              a space that is not what it says, or does not allow what is asked of it
    ├── DeviceError             a device that cannot be used as its file says
    │   └── MissingRuntimeError a runtime whose library is not installed
    ├── TableError              a latency table that does not answer the question asked
    │   ├── TableMismatchError  … because it was measured for something else
    │   ├── TableIncompleteError … because rows are missing
    │   └── TableQualityError   … because its predictions are not good enough
    ├── InfeasibleError         bounds that no architecture meets
    ├── DataError               images or labels that cannot be trained on
    ├── TrainingError           a training that cannot go on
    ├── RunError                a run folder that belongs to something else, or lacks a part
    ├── ExportError             a model that cannot be exported, or whose export is not the model
    └── StoredFileError         a file that cannot be read or written whole

Each carries four parts (what must hold, what came, where, what to do next) and reads as one sentence and a hint. The
command line prints it without a traceback and ends with exit code 2.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ArchitectureError",
    "DataError",
    "DeviceError",
    "ExportError",
    "HwnasError",
    "InfeasibleError",
    "MissingRuntimeError",
    "RunError",
    "SettingsError",
    "SpaceError",
    "StoredFileError",
    "TableError",
    "TableIncompleteError",
    "TableMismatchError",
    "TableQualityError",
    "TrainingError",
    "UnknownNameError",
    "nearest_name",
]


class HwnasError(Exception):
    """A mistake or mishap that the user can mend.

    Args:
        where: the file, argument or object concerned ("run.toml", "device 'rpi4'").
        must: what must hold there, as the rest of a sentence ("must be a number above 0").
        came: what came instead, or None where that adds nothing.
        do: what to do next, as a sentence without its full stop, or None.
    """

    def __init__(self, where: str, must: str, *, came: str | None = None, do: str | None = None) -> None:
        self.where = where
        self.must = must
        self.came = came
        self.do = do
        sentence = f"{where} {must}"
        if came is not None:
            sentence += f", but {came}"
        super().__init__(f"{sentence}." if do is None else f"{sentence}. {do}.")


class UnknownNameError(HwnasError):
    """A name that does not exist.

    Args:
        kind: what sort of thing was named ("device", "space", "objective").
        name: the name that came.
        known: the names that exist.
        where: where it was named.
        do: what to do instead of the list of known names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "", do: str | None = None) -> None:
        names = sorted(known)
        near = nearest_name(name, names)
        listing = ", ".join(names) if names else "none"
        hint = f"Did you mean {near!r}? " if near else ""
        self.name = name
        self.nearest = near
        super().__init__(
            f"{where + ': ' if where else ''}{kind} {name!r}",
            "does not exist",
            do=hint + (do or f"Known: {listing}"),
        )


class SettingsError(HwnasError):
    """A setting whose value cannot be used."""


class ArchitectureError(HwnasError):
    """Choices that the space does not have."""


class SpaceError(HwnasError):
    """A search space that is not what it says, or does not allow what is asked of it."""


class DeviceError(HwnasError):
    """A device that cannot be used as its file says."""


class MissingRuntimeError(DeviceError):
    """A runtime whose library is not installed."""


class TableError(HwnasError):
    """A latency table that does not answer the question asked."""


class TableMismatchError(TableError):
    """A latency table that was measured for something else."""


class TableIncompleteError(TableError):
    """A latency table without some of the rows asked for."""


class TableQualityError(TableError):
    """A latency table whose predictions are not good enough."""


class InfeasibleError(HwnasError):
    """Bounds that no architecture meets."""


class DataError(HwnasError):
    """Images or labels that cannot be trained on."""


class TrainingError(HwnasError):
    """A training that cannot go on."""


class RunError(HwnasError):
    """A run folder that belongs to something else, or lacks a part."""


class ExportError(HwnasError):
    """A model that cannot be exported, or whose export is not the model."""


class StoredFileError(HwnasError):
    """A file that cannot be read or written whole."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None
