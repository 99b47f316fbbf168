"""Tables as they are stored, sound and broken."""

import gzip
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from hwnas.benchmarks.table import Records, Table, require_data_set
from hwnas.errors import StoredFileError, UnknownNameError

SOUND = b"arch,acc,lat_my_board_ms,lat_b_32_ms\n01,93.5,2,\n22,,nan,3.5\n\n10,50,1e1,4\n"


@pytest.mark.parametrize(
    "content", [SOUND, gzip.compress(SOUND, mtime=0), b"\xef\xbb\xbf" + SOUND, SOUND.replace(b"\n", b"\r\n")]
)
def test_a_table_is_read_packed_or_not(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    table = Table.read(path, key="arch")
    assert table.digits(variables=2, options=3).tolist() == [[0, 1], [2, 2], [1, 0]]
    np.testing.assert_array_equal(table.numbers("acc", high=100), [93.5, math.nan, 50.0])
    np.testing.assert_array_equal(table.numbers("lat_my_board_ms"), [2.0, math.nan, 10.0])
    assert table.devices == {"my_board": "lat_my_board_ms", "b_32": "lat_b_32_ms"}
    assert "acc" in table
    assert "macs" not in table


def test_columns_are_made_once_and_cannot_be_written_to() -> None:
    table = Table("t", SOUND, key="arch")
    assert table.numbers("acc") is table.numbers("acc")
    assert "acc" in table
    with pytest.raises(ValueError, match="read-only"):
        table.numbers("acc")[0] = 0.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"^t must begin with a line of different column names, arch among them, but it is empty\.$"),
        (b"\n\n", "but it is empty"),
        (b"name,acc\n01,93\n", "arch among them, but it begins with 'name, acc'"),
        (b"a;" * 500 + b"\n", r"it begins with '(a;){40} …'"),
        (b"arch,acc,acc\n01,93,2\n", "different column names, arch among them, but it begins with 'arch, acc, acc'"),
        (b"arch,acc\n", "^t must have a row for each architecture, but it has none"),
        (b"arch,acc\n01,93\n02\n", "^t, line 3 must have 2 cells, as the first line has, but it has 1"),
        (b"arch,acc\n01,93\n\n02,5,7\n", "^t, line 4 must have 2 cells, as the first line has, but it has 3"),
        (b"arch,acc\n01,93\n02,5\n01,94\n", "^t, line 4 must be the only row .*, but '01' stands in line 2 too"),
        (gzip.compress(SOUND, mtime=0)[:-9], "^t must be a whole gzipped csv, but unpacking it says: "),
        (b"\x1f\x8bno gzip at all", "^t must be a whole gzipped csv"),
        (b"\x80\x04\x95\xff\xfe\x00", "^t must be a csv, but it is not text"),
        (b'arch,acc\n01,"93\n', "^t, line 2 must be a row of a csv"),
    ],
)
def test_what_is_broken_is_said_with_its_line(content: bytes, said: str) -> None:
    with pytest.raises(StoredFileError, match=said):
        Table("t", content, key="arch")


@pytest.mark.parametrize("key", ["0", "012", "03", "-1", "0.", "", " 01", "٠١"])
def test_a_key_that_is_no_architecture_is_said_with_its_line(key: str) -> None:
    table = Table("t", f"arch,acc\n01,93\n{key},5\n".encode(), key="arch")
    with pytest.raises(
        StoredFileError, match=r"^t, line 3 must name an architecture by 2 digits from 0 to 2 in arch"
    ) as caught:
        table.digits(variables=2, options=3)
    assert f"it has {key!r}" in str(caught.value)


@pytest.mark.parametrize("cell", ["much", "1,5", "inf", "-inf", "-0.5", "100.5", "1e999"])
def test_a_cell_that_is_no_number_in_range_is_said_with_its_line(cell: str) -> None:
    table = Table("t", f'arch,acc\n01,93\n02,"{cell}"\n'.encode(), key="arch")
    with pytest.raises(
        StoredFileError, match=r"^t, line 3 must have a number from 0 to 100 in acc, or nothing"
    ) as caught:
        table.numbers("acc", high=100)
    assert f"it has {cell!r}" in str(caught.value)


def test_an_absent_column_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match=r"^t must have the column macs, but it has none of that name"):
        Table("t", SOUND, key="arch").numbers("macs")
    with pytest.raises(StoredFileError, match=r"nowhere\.csv must be a table, but it does not exist"):
        Table.read(tmp_path / "nowhere.csv", key="arch")
    with pytest.raises(StoredFileError, match="must be readable, but the system says"):
        Table.read(tmp_path, key="arch")


def test_a_data_set_is_one_of_those_known() -> None:
    assert require_data_set("b", None, ("first", "second")) == "first"
    assert require_data_set("b", "second", ("first", "second")) == "second"
    with pytest.raises(UnknownNameError, match=r"data set of b 'secnd' does not exist\. Did you mean 'second'"):
        require_data_set("b", "secnd", ("first", "second"))


def test_records_are_made_when_they_are_looked_at_and_once() -> None:
    made: list[str] = []

    def make(record: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        made.append(record)
        return np.arange(2.0)

    records = Records({"a": lambda: make("a"), "b": lambda: make("b")})
    assert (list(records), len(records), "b" in records, "c" in records) == (["a", "b"], 2, True, False)
    assert made == []
    assert records["b"] is records["b"]
    assert made == ["b"]
    copied = pickle.loads(pickle.dumps(records))
    assert {record: values.tolist() for record, values in copied.items()} == {"a": [0.0, 1.0], "b": [0.0, 1.0]}
    assert made == ["b", "a"]
