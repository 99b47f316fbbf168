"""Worker processes of this machine.

Python's own pools (concurrent.futures, multiprocessing) break as a whole, or wait for ever, when one of their processes is
killed. And they run the user's script again in every process, which needs a guard that notebooks and scripts lack.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

import cloudpickle
import torch

from hwnas.front import Candidate
from hwnas.objectives import Objective
from hwnas.workers.evaluation import Outcome, pickled
from hwnas.workers.pool import Worker, WorkerDied, WorkerSource
from hwnas.workers.process_worker import receive, send

__all__ = ["WorkerProcess", "WorkerProcesses"]

BEGIN: Final = "import sys; sys.path[:] = sys.argv[1:]; from hwnas.workers.process_worker import serve; serve()"
END_S: Final = 5.0


class WorkerProcesses(WorkerSource):
    """Processes of this machine, which share its threads among them.

    Args:
        objectives: whose values are wanted; they are pickled once, with code that only this process can import.
        count: how many processes.

    Raises:
        SettingsError: the objectives cannot be pickled.
    """

    def __init__(self, objectives: Sequence[Objective], *, count: int) -> None:
        self._objectives = pickled(objectives)
        self._count = count
        self._running: list[WorkerProcess] = []
        self._closed = False
        self._lock = threading.Lock()

    def open(self) -> int:
        """There is nothing to make ready; see WorkerSource."""
        return self._count

    def start(self) -> "WorkerProcess":
        """A new process that has the objectives; see WorkerSource."""
        with self._lock:
            if self._closed:
                raise WorkerDied("closed")
            worker = WorkerProcess(threads=max(1, torch.get_num_threads() // self._count))
            self._running = [one for one in self._running if one.alive] + [worker]
        worker.prepare(self._objectives)
        return worker

    def close(self) -> None:
        """Kills all; see WorkerSource."""
        with self._lock:
            self._closed = True
        for worker in self._running:
            worker.end()


class WorkerProcess(Worker):
    """One process.

    Args:
        threads: that its torch uses.
    """

    def __init__(self, *, threads: int) -> None:
        # a session of its own: Ctrl-C is for the search, which then ends its workers
        self._process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a child without its pipes")
        self._questions, self._answers = self._process.stdin, self._process.stdout

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def prepare(self, objectives: bytes) -> None:
        """Hands over the pickled objectives. Raises WorkerDied, and what unpickling raises there."""
        error = self._ask(objectives)
        if isinstance(error, BaseException):
            self.end()
            raise error

    def evaluate(self, candidate: Candidate) -> Outcome:
        """See Worker."""
        outcome: Outcome = self._ask(cloudpickle.dumps(candidate))
        return outcome

    def end(self) -> None:
        """Kills it where it has not ended, with all that it has started."""
        if self.alive:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait(timeout=END_S)
        for pipe in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def _ask(self, message: bytes) -> Any:
        try:
            send(self._questions, message)
            return pickle.loads(receive(self._answers))
        except (OSError, EOFError, ValueError) as error:  # ValueError: it was ended from here
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=END_S)
            self.end()
            raise WorkerDied(_ending(self._process.returncode)) from error


def _ending(status: int) -> str:
    """How a process has ended, in a word or two."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
