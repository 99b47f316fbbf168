"""The agent: what is sent to a device that is reached over ssh, and drives a LocalHost there.

The device times models by the very code that times them here, so this module and those that it imports must do with
Python 3.10, numpy and the runtime's library. `archive` packs them; `BOOTSTRAP` unpacks and starts them.

Requests come as lines of JSON on stdin (`put` is followed by the bytes of its files), answers go as lines of JSON to
stdout, one for each item and one that ends the request::

    {"id": 3, "do": "visit", "patience_s": 120, "visits": [["a", 5], ["b", 5]]}
        {"id": 3, "item": [0.21, 0.2, 0.2, 0.21, 0.2]}
        {"id": 3, "item": [0.52, 0.51, 0.5, 0.5, 0.52]}
        {"id": 3, "done": true}

An agent outlives neither its connection nor its successor: it ends when stdin closes, when an item takes longer than the
patience of its request, and when a newer agent has taken over its models.
"""

import contextlib
import faulthandler
import hashlib
import io
import json
import os
import queue
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from hwnas.errors import DeviceError, HwnasError, MissingRuntimeError

if TYPE_CHECKING:
    from hwnas.devices.hosts.local import LocalHost

__all__ = ["BOOTSTRAP", "OLDEST_PYTHON", "Agent", "archive", "main"]

OLDEST_PYTHON: Final = (3, 10)

BOOTSTRAP: Final = (
    r'import os,sys;w=sys.stdout;w.write("\nhwnas-agent %d.%d\n"%sys.version_info[:2]);w.flush();'
    r'r=os.fdopen(os.dup(0),"rb");n=int(r.readline());import io,tempfile,zipfile;b=io.BytesIO(r.read(n));'
    r'd=tempfile.mkdtemp(prefix="hwnas-agent-");zipfile.ZipFile(b).extractall(d);'
    r'sys.path=[d]+[p for p in sys.path if p not in("",os.getcwd())];from hwnas.devices.agent import main;main(d,r)'
)
"""Python code without single quotes, so that any login shell hands it over whole; its first line runs on Python 2 too."""

FOLDER_PREFIX: Final = "hwnas-agent-"
STALE_S: Final = 7 * 24 * 3600.0
IDLE_S: Final = 5.0
STDERR: Final = 2
SENT: Final = (
    "errors.py",
    "files.py",
    "plugins.py",
    "devices/agent.py",
    "devices/environment.py",
    "devices/hosts/host.py",
    "devices/hosts/local.py",
)
EMPTY: Final = ("__init__.py", "devices/__init__.py", "devices/hosts/__init__.py")


def archive() -> bytes:
    """A zip archive of the package `hwnas` with what the agent needs of it, and no more."""
    package = Path(__file__).parents[1]
    runtimes = [path for path in (package / "devices" / "runtimes").rglob("*") if path.is_file()]
    names = [*SENT, *(path.relative_to(package).as_posix() for path in runtimes if "__pycache__" not in path.parts)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        for name in EMPTY:
            files.writestr(f"hwnas/{name}", "")
        for name in sorted(names):
            files.writestr(f"hwnas/{name}", (package / name).read_bytes())
    return packed.getvalue()


class Agent:
    """Answers requests until it is told to close.

    Args:
        requests: where they come from.
        answers: where the answers go.
        code: the folder where the agent was unpacked.
        leave: ends this process at once; called where nobody waits for an answer any more.
    """

    def __init__(self, requests: BinaryIO, answers: BinaryIO, *, code: Path, leave: Callable[[], None]) -> None:
        self._incoming = requests
        self._outgoing = answers
        self._leave = leave
        self._requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self._closing = threading.Event()
        self._code = code
        self._folder = Path()
        self._host: LocalHost | None = None
        self._work: dict[str, Callable[[dict[str, Any]], Iterator[Any]]] = {
            "open": self._open,
            "ping": lambda _: iter([None]),
            "conditions": lambda _: iter([self._opened().conditions()]),
            "missing": self._missing,
            "put": self._put,
            "load": self._load,
            "visit": self._visit,
            "unload": self._unload,
            "close": self._close,
        }

    def serve(self) -> None:
        """Answers until "close"."""
        threading.Thread(target=self._receive, daemon=True).start()
        while True:
            try:
                request = self._requests.get(timeout=IDLE_S)
            except queue.Empty:
                self._leave_to_successor()
                continue
            self._answer(request)
            if request["do"] == "close":
                return

    def _receive(self) -> None:
        """Reads requests while the main thread may be busy, so that the end of the connection is seen at once."""
        with contextlib.suppress(ValueError):  # the last request may be torn
            for line in iter(self._incoming.readline, b""):
                request = json.loads(line)
                if request["do"] == "put":
                    request["refusal"] = self._store(request["files"])
                self._requests.put(request)
                if request["do"] == "close":
                    self._closing.set()
                    return
        self._leave()

    def _answer(self, request: dict[str, Any]) -> None:
        number, patience = request["id"], request["patience_s"]
        try:
            items = self._work[request["do"]](request)
            for item in _in_time(items, patience):
                self._send({"id": number, "item": item})
            self._send({"id": number, "done": True})
        except HwnasError as error:
            kind = "missing runtime" if isinstance(error, MissingRuntimeError) else "device"
            parts = {"where": error.where, "must": error.must, "came": error.came, "do": error.do}
            self._send({"id": number, "error": {"kind": kind, **parts}})
        except Exception as error:  # whatever a runtime or this system raises is for the other side to say
            parts = {"where": "its agent", "must": f"must {request['do']}", "came": f"it says: {_first_line(error)}"}
            self._send({"id": number, "error": {"kind": "device", **parts, "do": None}})

    def _send(self, answer: dict[str, Any]) -> None:
        try:
            self._outgoing.write(json.dumps(answer).encode() + b"\n")
            self._outgoing.flush()
        except OSError:
            self._leave()

    def _open(self, request: dict[str, Any]) -> Iterator[Any]:
        remove_stale_folders()
        try:
            from hwnas.devices.hosts.local import LocalHost
            from hwnas.devices.runtimes import find_runtime
        except ImportError as error:
            lacking = (error.name or "").partition(".")[0] or "numpy"
            raise MissingRuntimeError(
                f"Python {sys.executable}",
                f"must have {lacking}",
                came=f"it says: {_first_line(error)}",
                do=f"{sys.executable} -m pip install {lacking}",
            ) from error
        threads, cores = request["num_threads"], os.cpu_count() or 1
        if threads > cores:
            raise DeviceError("num_threads", f"must be at most {cores}, the cores there", came=f"it is {threads}")
        host = LocalHost(find_runtime(request["runtime"]), num_threads=threads)
        self._folder = _kept_folder(request["folder"])
        self._take_over()
        self._host = host
        yield {
            "folder": str(self._folder),
            "precisions": list(host.precisions),
            "fingerprint": host.fingerprint(),
        }

    def _opened(self) -> "LocalHost":
        if self._host is None:
            raise DeviceError("its agent", "must be opened first")
        return self._host

    def _missing(self, request: dict[str, Any]) -> Iterator[Any]:
        yield [sha256 for sha256 in request["sha256"] if not self._path(sha256).exists()]

    def _store(self, files: Iterable[tuple[str, int]]) -> str | None:
        """Takes all bytes in, also after a failure, since the next request follows them; says what failed."""
        refusal = None
        for sha256, size in files:
            content = self._incoming.read(size)
            if hashlib.sha256(content).hexdigest() != sha256:
                refusal = "they arrived damaged"
                continue
            try:
                part = self._path(sha256).with_suffix(".part")
                part.write_bytes(content)
                part.replace(self._path(sha256))
            except OSError as error:
                refusal = f"the system says: {error.strerror}"
        return refusal

    def _put(self, request: dict[str, Any]) -> Iterator[Any]:
        if request["refusal"] is not None:
            raise DeviceError(str(self._folder), "must take the models", came=request["refusal"])
        yield None

    def _load(self, request: dict[str, Any]) -> Iterator[Any]:
        paths = {name: self._path(sha256) for name, sha256 in request["models"]}
        for name, refusal in self._opened().load(paths):
            yield [name, None if refusal is None else refusal.replace(str(paths[name]), name)]

    def _visit(self, request: dict[str, Any]) -> Iterator[Any]:
        for samples in self._opened().visit([(name, runs) for name, runs in request["visits"]]):
            yield samples
            if self._closing.is_set():
                return
            self._leave_to_successor()

    def _unload(self, request: dict[str, Any]) -> Iterator[Any]:
        self._opened().unload(request["models"])
        yield None

    def _close(self, _: dict[str, Any]) -> Iterator[Any]:
        if self._host is not None:
            self._host.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        yield None

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.onnx"

    def _leave_to_successor(self) -> None:
        """Leaves where another agent has this one's models: the connection was lost, and made anew, unseen from here."""
        if self._host is None:
            return
        if self._owner() != str(self._code):
            self._leave()

    def _take_over(self) -> None:
        """Makes these models this agent's; one that had them before, and may have been killed, needs its code no more."""
        before = self._owner()
        (self._folder / "owner").write_text(str(self._code))
        if before is not None and _is_ours(Path(before)):
            shutil.rmtree(before, ignore_errors=True)

    def _owner(self) -> str | None:
        try:
            return (self._folder / "owner").read_text()
        except OSError:
            return None


def _in_time(items: Iterator[Any], patience_s: float) -> Iterator[Any]:
    """Yields `items`; where one takes longer than `patience_s`, this process ends, and says on stderr where it hung."""
    while True:
        faulthandler.dump_traceback_later(patience_s, exit=True, file=STDERR)
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            faulthandler.cancel_dump_traceback_later()
        yield item


def remove_stale_folders() -> None:
    """Removes what agents of this user left behind that were killed more than a week ago."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        if _is_ours(path) and time.time() - path.lstat().st_mtime > STALE_S:
            shutil.rmtree(path, ignore_errors=True)


def _kept_folder(name: str | None) -> Path:
    """The folder of an earlier connection where it is still there and ours, else a new one that is ours alone."""
    if name is not None and _is_ours(Path(name)):
        os.utime(name)
        return Path(name)
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return private and path.name.startswith(FOLDER_PREFIX)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def main(folder: str, requests: BinaryIO) -> None:
    """Answers `requests` on stdout, and removes `folder`, where this code was unpacked, at the end.

    What libraries and child processes print goes to stderr, so that it does not fall among the answers.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(STDERR, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable(file=STDERR)

    def leave() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        Agent(requests, answers, code=Path(folder), leave=leave).serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
