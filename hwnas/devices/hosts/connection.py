"""One connection to an agent: a child process (`ssh`) whose stdin and stdout carry requests and answers.

Nothing here waits for ever: a thread ends the child when a deadline passes, which ends every read and write on it.
"""

import collections
import contextlib
import json
import math
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, Final

from hwnas.devices.agent import OLDEST_PYTHON, archive
from hwnas.errors import DeviceError, MissingRuntimeError

__all__ = ["Connection", "LostConnection", "shortened"]

GREETING = re.compile(rb"hwnas-agent (\d+)\.(\d+)\s*")
NOISE_LINES: Final = 2000
LINE_BYTES: Final = 1 << 24
CHUNK_BYTES: Final = 1 << 16
GRACE_S: Final = 10.0
"""How much longer than the agent this side waits, so that a hung agent can say where it hangs."""
TICK_S: Final = 0.1


class LostConnection(Exception):  # noqa: N818  caught by SSHHost; never a user's
    """A connection ended, or stopped answering.

    Args:
        reason: what was seen, as the rest of a sentence ("ssh says: Connection refused").
        status: the child's exit status, None where it was ended from here.
        said: the last lines of its stderr.
    """

    def __init__(self, reason: str, *, status: int | None, said: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.said = said


class Connection:
    """A child process that leads to an agent.

    Args:
        command: the program and its arguments; its end is that of the connection.
        where: the device, for errors.

    Attributes:
        spoilt: something came that is no answer, so that nothing more is to be asked.
    """

    def __init__(self, command: Sequence[str], *, where: str) -> None:
        self.spoilt = False
        self._where = where
        self._number = 0
        self._deadline = math.inf
        self._patience_s = 0.0
        self._expired = False
        self._said: collections.deque[str] = collections.deque(maxlen=30)
        # a session of its own: Ctrl-C must not end it before the agent could clean up
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        if self._process.stdin is None or self._process.stdout is None or self._process.stderr is None:
            raise RuntimeError("a child without its pipes")
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def greet(self, *, patience_s: float) -> None:
        """Waits for the agent's first line, whatever a login shell prints before it, and sends the agent its code.

        Raises:
            LostConnection: there was none.
            DeviceError: the Python there is too old.
        """
        self._wait_at_most(patience_s)
        for _ in range(NOISE_LINES):
            greeting = GREETING.fullmatch(self._line())
            if greeting:
                break
        else:
            raise DeviceError(
                self._where,
                "must start the agent",
                came=f"it printed {NOISE_LINES} other lines",
                do="See that nothing is printed when a shell that is not interactive starts there",
            )
        version = (int(greeting[1]), int(greeting[2]))
        if version < OLDEST_PYTHON:
            raise DeviceError(
                self._where,
                f"must have Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer",
                came=f"its python is {version[0]}.{version[1]}",
                do='Name a newer one in the device file: python = "python3.12", or the path of one in an environment',
            )
        code = archive()
        self._write(b"%d\n" % len(code) + code)

    def ask(
        self, do: str, fields: Mapping[str, Any] | None = None, *, patience_s: float, payload: Iterable[bytes] = ()
    ) -> Iterator[Any]:
        """Asks, and yields the items of the answer as they come.

        Args:
            do: what is asked for.
            fields: of the request.
            patience_s: how long to wait for each item.
            payload: bytes that follow the request.

        Raises:
            LostConnection: the connection ended, or an item did not come in time.
            MissingRuntimeError, DeviceError: the agent says so, or answers what is no answer.
        """
        self._number += 1
        number = self._number
        self._wait_at_most(patience_s + GRACE_S)
        request = {"id": number, "do": do, "patience_s": patience_s, **(fields or {})}
        self._write(json.dumps(request).encode() + b"\n")
        for content in payload:
            self._write(content)
        while True:
            self._wait_at_most(patience_s + GRACE_S)
            answer = self._answer()
            if answer["id"] < number:
                continue  # of an iterator that was dropped
            if answer["id"] > number:
                raise self._rubbish(f"it answers request {answer['id']}, which was not made")
            if "error" in answer:
                raise self._told(answer["error"])
            if "done" in answer:
                self._deadline = math.inf
                return
            if "item" not in answer:
                raise self._rubbish(f"it says {shortened(json.dumps(answer))}")
            self._deadline = math.inf  # while the caller has the item
            yield answer["item"]

    def end(self, *, patience_s: float = 0.0) -> None:
        """Ends the child, at once or, where it is about to end by itself, after `patience_s`."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait(timeout=GRACE_S)
        self._listener.join(timeout=1.0)
        with contextlib.suppress(OSError):
            self._answers.close()

    def _wait_at_most(self, seconds: float) -> None:
        self._patience_s = seconds
        self._deadline = time.monotonic() + seconds

    def _watch(self) -> None:
        while self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self._expired = True
                self._kill()
                return
            time.sleep(TICK_S)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _listen(self, stream: BinaryIO) -> None:
        with stream:
            for line in iter(partial(stream.readline, CHUNK_BYTES), b""):
                if line.strip():
                    self._said.append(line.decode(errors="replace").strip())

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        try:
            for start in range(0, len(view), CHUNK_BYTES):
                self._wait_at_most(self._patience_s)
                self._requests.write(view[start : start + CHUNK_BYTES])
            self._requests.flush()
        except (OSError, ValueError) as error:  # it has ended; it was closed here
            raise self._lost() from error

    def _line(self) -> bytes:
        line = self._answers.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            if len(line) == LINE_BYTES:
                raise self._rubbish("it sends a line without end")
            raise self._lost()
        return line

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._rubbish(f"it says {shortened(line.decode(errors='replace'))}") from error
        if not isinstance(answer, dict) or type(answer.get("id")) is not int:
            raise self._rubbish(f"it says {shortened(line.decode(errors='replace'))}")
        return answer

    def _lost(self) -> LostConnection:
        self.end(patience_s=0.0 if self._expired else 5.0)
        if self._expired:
            last = f"; the last it said is: {self._said[-1]}" if self._said else ""
            reason = f"it did not answer within {self._patience_s:.0f} s{last}"
            return LostConnection(reason, status=None, said="\n".join(self._said))
        reason = f"ssh says: {self._said[-1]}" if self._said else "the connection was closed"
        return LostConnection(reason, status=self._process.returncode, said="\n".join(self._said))

    def _told(self, error: Any) -> DeviceError:
        parts = ("where", "must", "came", "do")
        if not isinstance(error, dict) or not all(isinstance(error.get(part), str | None) for part in parts):
            return self._rubbish(f"it says {shortened(json.dumps(error))}")
        made = MissingRuntimeError if error.get("kind") == "missing runtime" else DeviceError
        do = f"On the device: {error['do']}" if error.get("do") else None
        return made(f"{self._where}: {error.get('where')}", str(error.get("must")), came=error.get("came"), do=do)

    def _rubbish(self, came: str) -> DeviceError:
        self.spoilt = True
        return DeviceError(
            self._where,
            "must answer as the agent does",
            came=came,
            do="See that the python of its device file is one, and that nothing else writes to its standard output",
        )


def shortened(text: str) -> str:
    """The beginning of `text`, quoted, for an error of one line."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
