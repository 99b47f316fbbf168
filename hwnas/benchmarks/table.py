"""Published tables as they are stored: csv, gzipped or not, one row an architecture.

A table of one's own with the same columns is read in the same way, so whatever is wrong in it is said with its line.

Suffixes: N rows, V variables.
"""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import StoredFileError, UnknownNameError

__all__ = ["Records", "Table", "require_data_set"]

DEVICE_COLUMN: Final = re.compile(r"lat_(.+)_ms")
GZIP: Final = b"\x1f\x8b"
SHOWN: Final = 80
"""Characters of a first line that is none of a table."""

FloatArray = npt.NDArray[np.float64]


class Table:
    """The rows of a table.

    Args:
        where: the file, for errors.
        content: of the file.
        key: the column that names the architecture of a row.

    Raises:
        StoredFileError: no csv, no such column, no row, a row of another length, or an architecture that comes twice.
    """

    def __init__(self, where: str, content: bytes, *, key: str) -> None:
        self.where = where
        self.key = key
        rows = _rows(where, content)
        names = [name.strip() for name in next(rows, (1, []))[1]]
        if key not in names or len(set(names)) < len(names):
            text = ", ".join(names)
            shown = text if len(text) <= SHOWN else text[:SHOWN] + " …"
            must = f"must begin with a line of different column names, {key} among them"
            raise StoredFileError(where, must, came=f"it begins with {shown!r}" if shown else "it is empty")
        self._lines: list[int] = []
        every: list[str] = []
        for line, cells in rows:
            if len(cells) != len(names):
                must = f"must have {len(names)} cells, as the first line has"
                raise StoredFileError(f"{where}, line {line}", must, came=f"it has {len(cells)}")
            self._lines.append(line)
            every += cells
        if not every:
            raise StoredFileError(where, "must have a row for each architecture", came="it has none")
        self._cells = {name: every[index :: len(names)] for index, name in enumerate(names)}
        self._numbers: dict[str, FloatArray] = {}
        self._check_repeats()

    @staticmethod
    def packed(name: str, *, key: str) -> "Table":
        """The table `data/<name>.csv.gz` of this package; it is read once."""
        return _packed(name, key)

    @staticmethod
    def read(path: Path, *, key: str) -> "Table":
        """The table at `path`. Raises StoredFileError."""
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise StoredFileError(str(path), "must be a table", came="it does not exist") from error
        except OSError as error:
            raise StoredFileError(str(path), "must be readable", came=f"the system says: {error.strerror}") from error
        return Table(str(path), content, key=key)

    def __contains__(self, column: str) -> bool:
        return column in self._cells or column in self._numbers

    @property
    def devices(self) -> dict[str, str]:
        """For each device, by name, the column of its latencies."""
        found = [DEVICE_COLUMN.fullmatch(column) for column in (*self._cells, *self._numbers)]
        return {match[1]: match[0] for match in found if match is not None}

    def digits(self, *, variables: int, options: int) -> npt.NDArray[np.int64]:
        """The key column as digits, one for each variable, (N, V).

        Args:
            variables: how many digits a key has.
            options: the digits are from 0 to one less, at most 9.

        Raises:
            StoredFileError: a key of another form.
        """
        form = re.compile(f"[0-{options - 1}]{{{variables}}}")
        for line, text in zip(self._lines, self._cells[self.key], strict=True):
            if not form.fullmatch(text):
                must = f"must name an architecture by {variables} digits from 0 to {options - 1} in {self.key}"
                raise StoredFileError(f"{self.where}, line {line}", must, came=f"it has {text!r}")
        joined = "".join(self._cells[self.key]).encode("ascii")
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, variables).astype(np.int64) - ord("0")

    def numbers(self, column: str, *, low: float = 0.0, high: float = math.inf) -> FloatArray:
        """A column as numbers, (N,), NaN where a cell is empty or says so; made once, and not to be written to.

        Raises:
            StoredFileError: no such column, or a cell that is no number from `low` to `high`.
        """
        if column in self._numbers:
            return self._numbers[column]
        if column not in self._cells:
            raise StoredFileError(self.where, f"must have the column {column}", came="it has none of that name")
        cells = self._cells[column]
        try:
            found_N = np.array([float(cell) if cell else math.nan for cell in cells])
        except ValueError:
            found_N = np.array([_number(cell) for cell in cells])
        wrong = np.flatnonzero(~(np.isnan(found_N) | ((found_N >= low) & (found_N <= high) & (found_N < math.inf))))
        if wrong.size:
            must = f"must have a number from {low:g}" + (f" to {high:g}" if high < math.inf else " up")
            came = f"it has {cells[wrong[0]]!r}"
            raise StoredFileError(
                f"{self.where}, line {self._lines[wrong[0]]}", f"{must} in {column}, or nothing", came=came
            )
        found_N.flags.writeable = False
        self._numbers[column] = found_N
        del self._cells[column]  # text takes many times the memory
        return found_N

    def _check_repeats(self) -> None:
        first: dict[str, int] = {}
        for line, text in zip(self._lines, self._cells[self.key], strict=True):
            before = first.setdefault(text, line)
            if before != line:
                where, came = f"{self.where}, line {line}", f"{text!r} stands in line {before} too"
                raise StoredFileError(where, "must be the only row of its architecture", came=came)


class Records(Mapping[str, FloatArray]):
    """Recorded quantities by name, each made from its column when it is first looked at; a copy has them all.

    Args:
        makers: of the values (N,) of each.
    """

    def __init__(self, makers: Mapping[str, Callable[[], FloatArray]]) -> None:
        self._makers = makers
        self._made: dict[str, FloatArray] = {}

    def __getitem__(self, record: str) -> FloatArray:
        if record not in self._made:
            self._made[record] = self._makers[record]()
        return self._made[record]

    def __contains__(self, record: object) -> bool:
        return record in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __reduce__(self) -> tuple[type[dict[str, FloatArray]], tuple[dict[str, FloatArray]]]:
        return dict, (dict(self),)


@cache
def _packed(name: str, key: str) -> Table:
    content = files("hwnas.benchmarks").joinpath(f"data/{name}.csv.gz").read_bytes()
    return Table(f"{name}.csv.gz", content, key=key)


def _rows(where: str, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows that are not blank, each with the line that it ends in. Raises StoredFileError."""
    try:
        unpacked = gzip.decompress(content) if content.startswith(GZIP) else content
        reader = csv.reader(io.StringIO(unpacked.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((reader.line_num, row) for row in reader if row)
    except (OSError, EOFError, zlib.error) as error:
        raise StoredFileError(where, "must be a whole gzipped csv", came=f"unpacking it says: {error}") from error
    except UnicodeDecodeError as error:
        raise StoredFileError(where, "must be a csv", came="it is not text") from error
    except csv.Error as error:
        raise StoredFileError(f"{where}, line {reader.line_num}", "must be a row of a csv", came=str(error)) from error


def _number(cell: str) -> float:
    """The number in a cell; infinite, which is none, where it is text."""
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        return math.inf


def require_data_set(benchmark: str, data_set: str | None, known: Sequence[str]) -> str:
    """The data set of that name, the first of `known` for None. Raises UnknownNameError."""
    if data_set is None:
        return known[0]
    if data_set not in known:
        raise UnknownNameError(f"data set of {benchmark}", data_set, known)
    return data_set
