"""Versioned JSON, TOML and line files: read whole, written whole or not at all.

A kill or a full disk in the middle of a write must never leave half a file that is later read as whole. So every
document is written beside its place and renamed into it, and the line files (one JSON document a line, append-only)
drop a torn last line, with a warning, when they are read again.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hwnas.errors import StoredFileError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "JsonLines",
    "cache_folder",
    "exclusive",
    "first_difference",
    "read_json",
    "read_json_lines",
    "read_toml",
    "replacing",
    "write_json",
    "write_text",
]

logger = logging.getLogger(__name__)


def cache_folder(name: str) -> Path:
    """Where what can be had again is kept for later runs: $XDG_CACHE_HOME/hwnas/<name>, by default in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "hwnas" / name


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A scratch path beside `path` that replaces it when the block ends well and vanishes when it does not.

    Args:
        path: the file.
        sync: whether to wait until it is on the disk; if not, a power cut, though no kill, may leave it empty.

    Raises:
        StoredFileError: the disk is full, the folder cannot be written, or the rename fails.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _not_written(path, error) from error
    scratch = Path(name)
    try:
        yield scratch
        if sync:
            with scratch.open("rb+") as stream:
                os.fsync(stream.fileno())
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Writes `text` to `path` atomically, see `replacing`. Raises StoredFileError."""
    with replacing(path, sync=sync) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Writes `document`, which must carry "schema_version", to `path` atomically. Raises StoredFileError."""
    if "schema_version" not in document:
        raise StoredFileError(str(path), "must carry a schema_version", do="Add it to the document")
    write_text(path, json.dumps(document, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path, *, kind: str, schema_version: int) -> dict[str, Any]:
    """The JSON document at `path`.

    Args:
        path: the file.
        kind: what it should be, for the error ("latency table").
        schema_version: the version that this program reads.

    Raises:
        StoredFileError: absent, unreadable, not a JSON object, or of another schema version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoredFileError(str(path), f"must be a {kind}", came="it does not exist") from error
    except OSError as error:
        raise StoredFileError(str(path), "must be readable", came=f"the system says: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoredFileError(str(path), f"must be a {kind} in JSON", came="it is not text") from error
    except json.JSONDecodeError as error:
        raise StoredFileError(
            str(path), f"must be a {kind} in JSON", came=f"line {error.lineno} column {error.colno}: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StoredFileError(str(path), f"must be a {kind} in JSON", came=str(error)) from error
    if not isinstance(document, dict):
        raise StoredFileError(
            str(path), f"must be a {kind}: a JSON object", came=f"it holds a {type(document).__name__}"
        )
    check_schema(document, path, schema_version)
    return document


def check_schema(document: Mapping[str, Any], path: Path, schema_version: int) -> None:
    """Raises StoredFileError where `document` is of another schema version than `schema_version`."""
    found = document.get("schema_version")
    if found != schema_version:
        raise StoredFileError(
            str(path),
            f"must have schema_version {schema_version}",
            came=f"it has {found!r}" if found is not None else "it has none",
            do="Read it with the version of hwnas that wrote it, or make it anew",
        )


def first_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key of `wanted` that has another value in `found`, that value, and the wanted one; None where all agree.

    Of documents within documents it is the key inside, after a dot ("training.epochs").
    """
    for name, new in wanted.items():
        old = found.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = first_difference(old, {**dict.fromkeys(old), **new})
            if inner is not None:
                return f"{name}.{inner[0]}", *inner[1:]
        return name, old, new
    return None


def read_toml(path: Path, *, kind: str) -> dict[str, Any]:
    """The TOML document at `path`. Raises StoredFileError where it is absent, unreadable or not TOML."""
    import tomllib  # newer than the oldest Python of a device that is reached over ssh

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoredFileError(str(path), f"must be a {kind}", came="it does not exist") from error
    except OSError as error:
        raise StoredFileError(str(path), "must be readable", came=f"the system says: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise StoredFileError(str(path), f"must be a {kind} in TOML", came=str(error)) from error


class JsonLines:
    """An append-only file of one JSON document a line.

    Each append reaches the disk before it returns, or leaves the file as it was. A power cut may still leave a torn last
    line: call `repair` once before the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The documents, a torn last line left out with a warning. An absent file holds none. Raises StoredFileError."""
        return self._scan()[0]

    def repair(self) -> list[dict[str, Any]]:
        """The documents; a torn last line is cut off the file. Raises StoredFileError."""
        documents, whole = self._scan()
        try:
            if self.path.exists() and self.path.stat().st_size > whole:
                os.truncate(self.path, whole)
        except OSError as error:
            raise _not_written(self.path, error) from error
        return documents

    def append(self, document: Mapping[str, Any], *, sync: bool = True) -> None:
        """Adds one line and waits, if `sync`, until it is on the disk (a killed process loses nothing either way).

        Raises:
            StoredFileError: the disk is full; the file is as it was.
        """
        line = (json.dumps(document, allow_nan=False) + "\n").encode()
        size = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                size = os.fstat(stream.fileno()).st_size
                written = stream.write(line)
                if written != len(line):
                    raise OSError(28, os.strerror(28))
                if sync:
                    os.fsync(stream.fileno())
        except OSError as error:
            if size is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, size)
            raise _not_written(self.path, error) from error

    def _scan(self) -> tuple[list[dict[str, Any]], int]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise StoredFileError(
                str(self.path), "must be readable", came=f"the system says: {error.strerror}"
            ) from error
        documents: list[dict[str, Any]] = []
        whole = 0
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
                torn = not line.endswith(b"\n") or not isinstance(document, dict)
            except (ValueError, RecursionError):
                torn = True
            if torn and number == len(lines):
                logger.warning("%s: dropped a torn last line (an earlier run was stopped while it wrote)", self.path)
                break
            if torn:
                raise StoredFileError(
                    str(self.path),
                    "must hold one JSON object a line",
                    came=f"line {number} is not one",
                    do="Mend or delete that line",
                )
            documents.append(document)
            whole += len(line)
        return documents, whole


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes that ask the same out of `folder` for the length of the block (where the system can).

    Raises:
        StoredFileError: another process is in it, or the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise _not_written(path, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoredFileError(
                str(folder),
                "must be used by one process at a time",
                came="another is at work in it",
                do="Wait for it, or stop it",
            ) from error
        for scratch in folder.glob(".*.part"):  # what a killed process has left
            scratch.unlink(missing_ok=True)
        yield


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The documents of the line file at `path` (none where it is absent). Raises StoredFileError."""
    return JsonLines(path).read()


def _not_written(path: Path, error: OSError) -> StoredFileError:
    reason = error.strerror or str(error)
    return StoredFileError(
        str(path),
        "could not be written",
        came=f"the system says: {reason}; what was there before is untouched",
        do="Free some space or choose another folder, then run the same command again: it goes on where it was",
    )


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
