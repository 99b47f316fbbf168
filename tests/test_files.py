import errno
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.errors import StoredFileError
from hwnas.files import (
    JsonLines,
    cache_folder,
    first_difference,
    read_json,
    read_json_lines,
    read_toml,
    replacing,
    write_json,
    write_text,
)

OLD = {"schema_version": 1, "value": "old"}
NEW = {"schema_version": 1, "value": "new"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read(path: Path) -> dict:
    return read_json(path, kind="front", schema_version=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """Runs `code` in a fresh interpreter, with `arguments` as sys.argv[1:]."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class TestWriting:
    def test_what_is_written_is_read(self, tmp_path):
        path = tmp_path / "deep" / "folder" / "front.json"
        write_json(path, NEW)
        assert read(path) == NEW
        assert names(path.parent) == ["front.json"]

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
    @given(document=st.dictionaries(st.text(), JSON_VALUES, max_size=4))
    def test_any_document_comes_back_as_it_was(self, tmp_path, document):
        write_json(tmp_path / "any.json", {**document, "schema_version": 1})
        assert read(tmp_path / "any.json") == {**document, "schema_version": 1}

    def test_text_is_utf_8_whatever_the_locale(self, tmp_path):
        write_text(tmp_path / "text", "1 µs — 東京")
        assert (tmp_path / "text").read_bytes() == "1 µs — 東京".encode()

    def test_a_document_without_a_schema_version_is_refused(self, tmp_path):
        with pytest.raises(StoredFileError, match="must carry a schema_version"):
            write_json(tmp_path / "front.json", {"value": 1})
        assert names(tmp_path) == []

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_number_that_json_has_not_is_refused(self, tmp_path, value):
        path = tmp_path / "front.json"
        write_json(path, OLD)
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(path, {"schema_version": 1, "value": value})
        assert read(path) == OLD
        assert names(tmp_path) == ["front.json"]

    @pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_the_mode_is_what_the_umask_leaves(self, tmp_path, mask, mode):
        before = os.umask(mask)
        try:
            write_json(tmp_path / "front.json", NEW)
            assert os.umask(mask) == mask, "the umask must be as it was"
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "front.json").stat().st_mode) == mode

    def test_an_error_inside_the_block_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "front.json"
        write_json(path, OLD)

        def write_half() -> None:
            with replacing(path) as scratch:
                scratch.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_half()
        assert read(path) == OLD
        assert names(tmp_path) == ["front.json"]

    @pytest.mark.parametrize("call", ["fsync", "replace", "write"])
    def test_a_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch, call):
        path = tmp_path / "front.json"
        write_json(path, OLD)
        owner, name = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "write": (Path, "write_text")}[call]
        monkeypatch.setattr(owner, name, no_space)
        with pytest.raises(StoredFileError) as caught:
            write_json(path, NEW)
        monkeypatch.undo()
        assert str(path) in str(caught.value)
        assert "No space left on device" in str(caught.value)
        assert read(path) == OLD
        assert names(tmp_path) == ["front.json"]

    def test_a_full_disk_at_the_first_write_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(StoredFileError):
            write_json(tmp_path / "front.json", NEW)
        assert names(tmp_path) == []

    def test_a_file_size_limit_of_the_system_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "front.json"
        write_json(path, OLD)
        done = run_python(
            """
import resource, signal, sys
from pathlib import Path
from hwnas.errors import StoredFileError
from hwnas.files import write_json
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_json(Path(sys.argv[1]), {"schema_version": 1, "value": "x" * 100_000})
except StoredFileError as error:
    print(error)
""",
            path,
        )
        assert "could not be written, but the system says: File too large" in done.stdout, done.stderr
        assert read(path) == OLD
        assert names(tmp_path) == ["front.json"]

    def test_a_kill_in_the_middle_leaves_the_old_file_and_the_next_write_works(self, tmp_path):
        path = tmp_path / "front.json"
        write_json(path, OLD)
        done = run_python(
            """
import os, signal, sys
from pathlib import Path
from hwnas.files import replacing
with replacing(Path(sys.argv[1])) as scratch:
    with scratch.open("w") as stream:
        stream.write("half a docu")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
""",
            path,
        )
        assert done.returncode == -signal.SIGKILL
        assert read(path) == OLD
        write_json(path, NEW)
        assert read(path) == NEW

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "run").write_text("")
        with pytest.raises(StoredFileError, match=r"run/front.json could not be written"):
            write_json(tmp_path / "run" / "front.json", NEW)

    def test_a_path_that_is_a_folder(self, tmp_path):
        (tmp_path / "front.json").mkdir()
        with pytest.raises(StoredFileError, match="Is a directory"):
            write_json(tmp_path / "front.json", NEW)
        assert names(tmp_path) == ["front.json"]

    def test_readers_never_see_half_a_document(self, tmp_path):
        path = tmp_path / "front.json"
        documents = [{"schema_version": 1, "value": [number] * 5000} for number in range(2)]
        write_json(path, documents[0])
        ended = threading.Event()

        def write() -> None:
            for number in range(40):
                write_json(path, documents[number % 2], indent=None)
            ended.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = [read(path)]
        while not ended.is_set():
            seen.append(read(path))
        writer.join()
        assert all(document in documents for document in seen)


class TestReading:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(StoredFileError) as caught:
            read(tmp_path / "front.json")
        assert str(caught.value) == f"{tmp_path / 'front.json'} must be a front, but it does not exist."

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "line 1 column 1"),
            (b'{"schema_version": 1,\n "value": ', "line 2 column 11"),
            (b"[1, 2]", "must be a front: a JSON object, but it holds a list"),
            (b"null", "it holds a NoneType"),
            (b"\xff\xfe\x00", "it is not text"),
            (b"[" * 100_000, "recursion"),
            (b'{"schema_version": 1, "value": ' + b"9" * 5000 + b"}", "4300 digits"),
        ],
    )
    def test_a_file_that_is_not_a_json_object(self, tmp_path, content, message):
        (tmp_path / "front.json").write_bytes(content)
        with pytest.raises(StoredFileError) as caught:
            read(tmp_path / "front.json")
        assert message in str(caught.value)
        assert str(tmp_path / "front.json") in str(caught.value)

    @pytest.mark.parametrize(
        ("document", "came"),
        [({"schema_version": 2}, "it has 2"), ({"schema_version": "1"}, "it has '1'"), ({}, "it has none")],
    )
    def test_another_schema_version(self, tmp_path, document, came):
        (tmp_path / "front.json").write_text(json.dumps(document))
        with pytest.raises(StoredFileError, match=f"must have schema_version 1, but {came}"):
            read(tmp_path / "front.json")

    @pytest.mark.parametrize("reader", [read, lambda path: read_toml(path, kind="run"), read_json_lines])
    def test_a_folder_in_place_of_the_file(self, tmp_path, reader):
        with pytest.raises(StoredFileError, match="must be readable, but the system says: Is a directory"):
            reader(tmp_path)

    def test_toml(self, tmp_path):
        (tmp_path / "run.toml").write_text('seed = 1\n[plan]\nname = "µ"\n', encoding="utf-8")
        assert read_toml(tmp_path / "run.toml", kind="run") == {"seed": 1, "plan": {"name": "µ"}}

    @pytest.mark.parametrize("content", [b"seed = ", b"seed = 1\nseed = 2", b"\xff"])
    def test_a_file_that_is_not_toml(self, tmp_path, content):
        (tmp_path / "run.toml").write_bytes(content)
        with pytest.raises(StoredFileError, match=r"run.toml must be a run in TOML, but "):
            read_toml(tmp_path / "run.toml", kind="run")

    def test_a_missing_toml_file(self, tmp_path):
        with pytest.raises(StoredFileError, match=r"run.toml must be a run, but it does not exist"):
            read_toml(tmp_path / "run.toml", kind="run")


@pytest.mark.parametrize(
    ("found", "wanted", "different"),
    [
        ({"a": 1, "more": 2}, {"a": 1}, None),
        ({"a": 1, "b": [1]}, {"a": 1, "b": [2]}, ("b", [1], [2])),
        ({}, {"a": 0}, ("a", None, 0)),
        ({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"b": 1, "c": {"d": 3}}}, ("a.c.d", 2, 3)),
        ({"a": {"b": 1}}, {"a": {}}, ("a.b", 1, None)),
        ({"a": {"b": None}}, {"a": {}}, ("a", {"b": None}, {})),
        ({"a": 1}, {"a": {"b": 1}}, ("a", 1, {"b": 1})),
    ],
)
def test_the_first_difference_of_two_documents(found, wanted, different):
    assert first_difference(found, wanted) == different


@pytest.fixture
def lines(tmp_path):
    """A line file with two documents."""
    found = JsonLines(tmp_path / "evaluations.jsonl")
    found.append({"number": 0})
    found.append({"number": 1}, sync=False)
    return found


class TestLines:
    def test_what_is_appended_is_read_in_order(self, lines):
        JsonLines(lines.path).append({"number": 2})
        assert lines.read() == read_json_lines(lines.path) == [{"number": 0}, {"number": 1}, {"number": 2}]

    def test_an_absent_file_holds_none(self, tmp_path):
        absent = JsonLines(tmp_path / "absent.jsonl")
        assert absent.read() == absent.repair() == []
        assert names(tmp_path) == []

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
    @given(documents=st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=3), max_size=5))
    def test_any_documents_come_back_as_they_were(self, tmp_path, documents):
        path = tmp_path / "any.jsonl"
        path.unlink(missing_ok=True)
        for document in documents:
            JsonLines(path).append(document, sync=False)
        assert JsonLines(path).read() == documents

    @pytest.mark.parametrize(
        "torn", [b'{"number": 2', b'{"number": 2}', b"{", b'{"text": "\xc3', b"\0\0\0\0", b"12", b"[]\n"]
    )
    def test_a_torn_last_line_is_dropped_with_a_warning_and_cut_by_repair(self, lines, caplog, torn):
        whole = lines.path.read_bytes()
        lines.path.write_bytes(whole + torn)
        with caplog.at_level(logging.WARNING):
            assert lines.read() == [{"number": 0}, {"number": 1}]
        assert lines.path.read_bytes() == whole + torn, "reading must not change the file"
        assert [(record.levelname, "torn last line" in record.message) for record in caplog.records] == [
            ("WARNING", True)
        ]
        assert lines.repair() == [{"number": 0}, {"number": 1}]
        assert lines.path.read_bytes() == whole
        lines.append({"number": 2})
        assert [line["number"] for line in lines.read()] == [0, 1, 2]

    def test_a_file_that_cannot_be_cut_is_an_error(self, lines, monkeypatch):
        lines.path.write_bytes(lines.path.read_bytes() + b"{")
        monkeypatch.setattr(os, "truncate", no_space)
        with pytest.raises(StoredFileError, match="could not be written"):
            lines.repair()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
    @given(cut=st.integers(0, 200))
    def test_a_file_cut_anywhere_keeps_its_whole_lines(self, tmp_path, cut):
        path = tmp_path / "cut.jsonl"
        documents = [{"number": number, "text": "é" * number} for number in range(5)]
        raw = "".join(json.dumps(document) + "\n" for document in documents).encode()[:cut]
        path.write_bytes(raw)
        assert JsonLines(path).repair() == documents[: raw.count(b"\n")]
        assert path.read_bytes() == raw[: raw.rfind(b"\n") + 1]

    @pytest.mark.parametrize("torn", [b'{"number": 0\n', b"\n", b"[]\n", b'{"a": 1}{"b": 2}\n', b"[" * 100_000 + b"\n"])
    def test_a_broken_line_before_the_last_is_an_error(self, lines, torn):
        content = torn + lines.path.read_bytes()
        lines.path.write_bytes(content)
        for method in (lines.read, lines.repair):
            with pytest.raises(StoredFileError, match="must hold one JSON object a line, but line 1 is not one"):
                method()
        assert lines.path.read_bytes() == content

    def test_a_number_that_json_has_not_is_refused(self, lines):
        before = lines.path.read_bytes()
        with pytest.raises(ValueError, match="not JSON compliant"):
            lines.append({"number": float("nan")})
        assert lines.path.read_bytes() == before

    @pytest.mark.parametrize("existed", [True, False])
    def test_a_full_disk_leaves_the_file_as_it_was(self, tmp_path, monkeypatch, existed):
        lines = JsonLines(tmp_path / "evaluations.jsonl")
        if existed:
            lines.append({"number": 0})
        before = lines.read()
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(StoredFileError, match="No space left on device"):
            lines.append({"number": 1})
        monkeypatch.undo()
        assert lines.read() == before
        lines.append({"number": 2})
        assert lines.read() == [*before, {"number": 2}]

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "run").write_text("")
        with pytest.raises(StoredFileError, match="could not be written"):
            JsonLines(tmp_path / "run" / "evaluations.jsonl").append({})

    def test_a_name_too_long_for_the_system(self, tmp_path):
        with pytest.raises(StoredFileError, match="File name too long"):
            JsonLines(tmp_path / ("x" * 300)).append({})

    def test_a_file_size_limit_of_the_system_cuts_no_line_in_two(self, tmp_path):
        path = tmp_path / "evaluations.jsonl"
        done = run_python(
            """
import resource, signal, sys
from pathlib import Path
from hwnas.errors import StoredFileError
from hwnas.files import JsonLines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    for number in range(1000):
        JsonLines(Path(sys.argv[1])).append({"number": number, "text": "x" * 90})
except StoredFileError as error:
    print(error)
""",
            path,
        )
        assert "what was there before is untouched" in done.stdout, done.stderr
        assert path.read_bytes().endswith(b"\n")
        numbers = [line["number"] for line in read_json_lines(path)]
        assert numbers == list(range(8)), "1,000 bytes hold eight lines of 119 and a part of the ninth"

    def test_what_a_killed_process_has_appended_is_all_there(self, tmp_path):
        path = tmp_path / "evaluations.jsonl"
        done = run_python(
            """
import os, signal, sys
from pathlib import Path
from hwnas.files import JsonLines
for number in range(20):
    JsonLines(Path(sys.argv[1])).append({"number": number}, sync=False)
os.kill(os.getpid(), signal.SIGKILL)
""",
            path,
        )
        assert done.returncode == -signal.SIGKILL
        assert [line["number"] for line in read_json_lines(path)] == list(range(20))


def test_without_sync_a_file_is_replaced_whole_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    path = tmp_path / "a.json"
    write_text(path, "one", sync=False)
    assert (path.read_text(), synced) == ("one", [])
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StoredFileError):
        write_text(path, "two", sync=False)
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "one"


def test_caches_lie_where_the_system_wants_them(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("tensorrt") == tmp_path / "hwnas" / "tensorrt"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("tensorrt") == tmp_path / "home" / ".cache" / "hwnas" / "tensorrt"
