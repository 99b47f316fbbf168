import ast
import contextlib
import hashlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

import hwnas
from hwnas.devices import agent
from hwnas.devices.agent import BOOTSTRAP, OLDEST_PYTHON, Agent, archive
from hwnas.devices.hosts.local import LocalHost
from hwnas.testing.runtime_contract import network_model

MODEL = network_model().SerializeToString()
SHA256 = hashlib.sha256(MODEL).hexdigest()
NEWER = {  # what Python 3.11 and later brought, of what one would import here
    "tomllib",
    "typing.Self",
    "typing.assert_never",
    "typing.assert_type",
    "typing.override",
    "typing.Never",
    "typing.LiteralString",
    "typing.Required",
    "typing.NotRequired",
    "typing.Unpack",
    "typing.TypeVarTuple",
    "typing.reveal_type",
    "typing.dataclass_transform",
    "enum.StrEnum",
    "datetime.UTC",
    "contextlib.chdir",
    "itertools.batched",
    "asyncio.TaskGroup",
    "asyncio.timeout",
    "hashlib.file_digest",
    "importlib.resources.abc",
    "collections.abc.Buffer",
    "warnings.deprecated",
}
PACKED = zipfile.ZipFile(io.BytesIO(archive()))
SENT = {name: PACKED.read(name) for name in PACKED.namelist()}
MODULES = sorted(name for name in SENT if name.endswith(".py"))


def imports_at_run_time(tree):
    """The names imported by a module, those for type checkers left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports_at_run_time(node)


@pytest.mark.parametrize("name", MODULES)
def test_what_is_sent_runs_on_the_oldest_python(name):
    tree = ast.parse(SENT[name], name, feature_version=OLDEST_PYTHON)
    read_toml_alone = {"tomllib"} if name == "hwnas/files.py" else set()  # imported in it, and no device reads TOML
    assert {*imports_at_run_time(tree)} & NEWER == read_toml_alone
    assert "tomllib" not in {one.names[0].name for one in tree.body if isinstance(one, ast.Import)}
    assert [
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) in NEWER
    ] == []
    assert not any(isinstance(node, ast.TryStar) for node in ast.walk(tree))


def test_what_is_sent_is_whole_and_brings_nothing_heavy(tmp_path):
    assert {"hwnas/errors.py", "hwnas/devices/agent.py", "hwnas/devices/hosts/local.py"} < set(SENT)
    assert SENT["hwnas/__init__.py"] == SENT["hwnas/devices/__init__.py"] == b""
    assert not any("__pycache__" in name for name in SENT)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hwnas.devices.agent, hwnas.devices.hosts.local as local\n"
        "assert local.__file__.startswith(sys.argv[1]), local.__file__\n"
        "print([name for name in ('torch', 'onnx', 'pydantic', 'moocore', 'onnxruntime') if name in sys.modules])"
    )
    PACKED.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_bootstrap_survives_any_login_shell():
    assert "'" not in BOOTSTRAP
    assert "\n" not in BOOTSTRAP
    assert "!" not in BOOTSTRAP
    compile(BOOTSTRAP, "bootstrap", "exec")


class Wire(io.RawIOBase):
    """Bytes from one thread to another."""

    def __init__(self):
        self._chunks = queue.Queue()
        self._rest = b""

    def write(self, content):
        self._chunks.put(bytes(content))
        return len(content)

    def readable(self):
        return True

    def end(self):
        self._chunks.put(b"")

    def readinto(self, buffer):
        if not self._rest:
            self._rest = self._chunks.get(timeout=20)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class LeftError(Exception):
    pass


class Talk:
    """An agent in a thread of this process, and the other side of its wires."""

    def __init__(self, code):
        self.requests, self._answers = Wire(), Wire()
        self.left = threading.Event()
        self.agent = Agent(io.BufferedReader(self.requests), self._answers, code=code, leave=self._leave)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._lines = io.BufferedReader(self._answers)
        self._number = 0

    def _leave(self):
        self.left.set()
        raise LeftError

    def _serve(self):
        with contextlib.suppress(LeftError):
            self.agent.serve()

    def send(self, do, *, payload=b"", patience_s=30.0, **fields):
        self._number += 1
        self.requests.write(
            json.dumps({"id": self._number, "do": do, "patience_s": patience_s, **fields}).encode() + b"\n" + payload
        )
        return self._number

    def ask(self, do, **fields):
        """The items, or the error."""
        number = self.send(do, **fields)
        items = []
        while True:
            answer = json.loads(self._lines.readline())
            assert answer["id"] == number
            if "error" in answer:
                return answer["error"]
            if "done" in answer:
                return items
            items.append(answer["item"])

    def open(self, folder=None, **fields):
        (opened,) = self.ask("open", **{"runtime": "onnxruntime-cpu", "num_threads": 1, "folder": folder, **fields})
        return opened

    def end(self):
        self.send("close")
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folder of the agents."""
    monkeypatch.setattr(agent.tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def code(temporary):
    folder = temporary / "hwnas-agent-code"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def talk(code):
    made = Talk(code)
    yield made
    made.end()


def put(talk, *contents, sha256=None):
    files = [[sha256 or hashlib.sha256(content).hexdigest(), len(content)] for content in contents]
    return talk.ask("put", files=files, payload=b"".join(contents))


def test_from_opening_to_closing(talk, temporary):
    opened = talk.open()
    folder = Path(opened["folder"])
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert opened["fingerprint"]["runtime"] == "onnxruntime-cpu"
    assert "fp32" in opened["precisions"]
    assert talk.ask("ping") == [None]
    assert talk.ask("missing", sha256=[SHA256]) == [[SHA256]]
    assert put(talk, MODEL, b"no model") == [None]
    assert talk.ask("missing", sha256=[SHA256, "0"]) == [["0"]]
    assert talk.ask("load", models=[["m", SHA256], ["n", SHA256]]) == [["m", None], ["n", None]]
    (found,) = talk.ask("load", models=[["broken", hashlib.sha256(b"no model").hexdigest()]])
    assert found[0] == "broken"
    assert "must load broken, but" in found[1]
    assert [len(samples) for samples in talk.ask("visit", visits=[["m", 3], ["n", 1]])] == [3, 1]
    assert talk.ask("unload", models=["n"]) == [None]
    assert talk.ask("visit", visits=[["n", 1]])["must"] == "must be loaded before it is visited"
    assert "load_average" in talk.ask("conditions")[0]
    assert talk.ask("close") == [None]
    assert not folder.exists()


def test_errors_carry_their_parts_and_the_agent_goes_on(talk, temporary):
    assert talk.ask("conditions")["must"] == "must be opened first"
    assert talk.ask("dance") == {
        "kind": "device",
        "where": "its agent",
        "must": "must dance",
        "came": "it says: 'dance'",
        "do": None,
    }
    lacking = talk.ask("open", runtime="onnxruntime-cuda", num_threads=1, folder=None)
    assert (lacking["kind"], lacking["where"]) == ("missing runtime", "Runtime onnxruntime-cuda")
    assert "onnxruntime-gpu" in lacking["do"]
    many = talk.ask("open", runtime="onnxruntime-cpu", num_threads=5000, folder=None)
    assert many["must"] == f"must be at most {os.cpu_count()}, the cores there"
    assert [path.name for path in temporary.iterdir()] == ["hwnas-agent-code"]
    assert talk.open()["folder"]


def test_a_file_that_arrives_damaged_is_told_and_what_follows_it_is_read(talk):
    talk.open()
    assert put(talk, MODEL, b"next", sha256="0" * 64)["came"] == "they arrived damaged"
    assert put(talk, MODEL) == [None]


def test_a_full_disk_is_told_and_what_follows_is_read(talk, monkeypatch):
    talk.open()

    def full(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert put(talk, MODEL)["came"] == "the system says: No space left on device"
    assert put(talk, MODEL) == [None]


def test_without_numpy_it_says_so(talk, monkeypatch):
    monkeypatch.setitem(sys.modules, "hwnas.devices.hosts.local", None)
    error = talk.ask("open", runtime="onnxruntime-cpu", num_threads=1, folder=None)
    assert error["kind"] == "missing runtime"
    assert error["do"].startswith(f"{sys.executable} -m pip install ")


def test_the_folder_of_an_earlier_connection_is_used_again_and_its_agent_gives_way(talk, code, temporary, monkeypatch):
    monkeypatch.setattr(agent, "IDLE_S", 0.05)
    folder = talk.open()["folder"]
    put(talk, MODEL)
    second_code = temporary / "hwnas-agent-second"
    second_code.mkdir(mode=0o700)
    second = Talk(second_code)
    assert second.open(folder)["folder"] == folder
    assert second.ask("missing", sha256=[SHA256]) == [[]]
    assert not code.exists()
    assert talk.left.wait(timeout=20)
    second.end()


def test_an_agent_gives_way_also_while_it_is_busy(talk, monkeypatch):
    folder = Path(talk.open()["folder"])
    put(talk, MODEL)
    talk.ask("load", models=[["m", SHA256]])
    taken = []

    def visit(self, visits):
        for _ in visits:
            taken.append(1)
            if len(taken) == 3:
                (folder / "owner").write_text("another")
            yield [1.0]

    monkeypatch.setattr(LocalHost, "visit", visit)
    talk.send("visit", visits=[["m", 1]] * 50)
    assert talk.left.wait(timeout=20)
    assert len(taken) == 3


@pytest.mark.parametrize("name", ["elsewhere", "hwnas-agent-open", "hwnas-agent-link", "hwnas-agent-gone"])
def test_a_folder_that_is_not_a_private_one_of_its_own_is_not_used(talk, temporary, name):
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / "hwnas-agent-open").mkdir(mode=0o755)
    (temporary / "hwnas-agent-link").symlink_to(temporary / "elsewhere")
    assert talk.open(str(temporary / name))["folder"] != str(temporary / name)


def test_what_killed_agents_left_is_removed_after_a_week(talk, temporary):
    for name, days in (("hwnas-agent-old", 8), ("hwnas-agent-young", 6), ("other-old", 8)):
        (temporary / name).mkdir(mode=0o700)
        (temporary / name / "model").write_text("")
        os.utime(temporary / name, (time.time() - days * 86_400,) * 2)
    talk.open()
    left = {path.name for path in temporary.iterdir()}
    assert "hwnas-agent-old" not in left
    assert {"hwnas-agent-young", "other-old"} <= left


@pytest.mark.parametrize("last", [b"", b'{"id": 9, "do": "pi'], ids=["between", "torn"])
def test_an_agent_leaves_when_its_requests_end_though_it_is_busy(code, monkeypatch, last):
    monkeypatch.setattr(agent, "IDLE_S", 0.05)
    talk = Talk(code)
    folder = talk.open()["folder"]
    going = threading.Event()

    def visit(self, visits):
        going.set()
        while not talk.left.wait(timeout=0.01):
            pass
        yield [1.0]

    monkeypatch.setattr(LocalHost, "visit", visit)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    talk.send("visit", visits=[["m", 1]])
    assert going.wait(timeout=20)
    if last:
        talk.requests.write(last)
    talk.requests.end()
    assert talk.left.wait(timeout=20)
    assert Path(folder).exists()  # for the next connection
    (Path(folder) / "owner").write_text("")
    talk._thread.join(timeout=20)


def test_visits_that_are_given_up_by_closing_stop(talk, monkeypatch):
    talk.open()
    taken = []

    def visit(self, visits):
        for _ in visits:
            taken.append(1)
            while not talk.agent._closing.wait(timeout=0.01):
                pass
            yield [1.0]

    monkeypatch.setattr(LocalHost, "visit", visit)
    talk.send("visit", visits=[["m", 1]] * 1000)
    talk.end()
    assert len(taken) == 1


def started(python, tmp_path):
    process = subprocess.Popen(
        [python, "-u", "-c", BOOTSTRAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": "."},
        cwd=tmp_path,
    )
    assert process.stdout.readline() == b"\n"
    assert process.stdout.readline().startswith(b"hwnas-agent ")
    packed = archive()
    process.stdin.write(b"%d\n" % len(packed) + packed)
    process.stdin.flush()
    return process


def test_a_process_of_its_own_keeps_its_answers_clean_and_its_folder_only_while_it_lives(tmp_path):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('a stranger in the home folder')")
    process = started(sys.executable, tmp_path)
    opening = {"id": 1, "do": "open", "patience_s": 60, "runtime": "onnxruntime-cpu", "num_threads": 1, "folder": None}
    process.stdin.write(json.dumps(opening).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["item"]["precisions"]
    assert json.loads(process.stdout.readline()) == {"id": 1, "done": True}  # before `communicate`, which skips buffers
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("hwnas-agent-")]) == 2
    rest, _ = process.communicate(b'{"id": 2, "do": "close", "patience_s": 60}\n', timeout=30)
    assert [json.loads(line) for line in rest.splitlines()] == [{"id": 2, "item": None}, {"id": 2, "done": True}]
    assert process.returncode == 0
    assert [path for path in tmp_path.iterdir() if path.name.startswith("hwnas-agent-")] == []


def test_a_process_of_its_own_ends_when_its_stdin_does(tmp_path):
    process = started(sys.executable, tmp_path)
    process.stdin.write(b'{"id": 1, "do": "ping", "patience_s": 60}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"id": 1, "item": None}
    process.communicate(timeout=30)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("hwnas-agent-")] == []


def test_an_item_that_hangs_ends_the_process_and_says_where(tmp_path):
    code = (
        "import io, sys, time; from pathlib import Path; from hwnas.devices.agent import Agent\n"
        "agent = Agent(io.BytesIO(), sys.stdout.buffer, code=Path(), leave=lambda: None)\n"
        "def hang(request): yield time.sleep(600)\n"
        "agent._work['visit'] = hang; agent._answer({'id': 1, 'do': 'visit', 'patience_s': 0.2})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(hwnas.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in hang" in done.stderr
