"""A pool of workers that may die: what a dead one was at work on is given to another.

One thread a worker waits for it, so that waiting is alike for processes of this machine and for those of a cluster.
"""

import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hwnas.errors import HwnasError, RunError
from hwnas.front import Candidate, Evaluation
from hwnas.workers.evaluation import Outcome
from hwnas.workers.workers import Workers

__all__ = ["Worker", "WorkerDied", "WorkerPool", "WorkerSource"]

logger = logging.getLogger(__name__)

MAX_DEATHS: Final = 3
"""Workers that one evaluation may kill, and that may die one after the other while they start."""
JOIN_S: Final = 10.0


class WorkerDied(Exception):  # noqa: N818  caught by WorkerPool; never a user's
    """A worker has ended. Its text is how ("SIGKILL")."""


class Worker(ABC):
    """One of those that evaluate."""

    @abstractmethod
    def evaluate(self, candidate: Candidate) -> Outcome:
        """The evaluation of `candidate`, or what has stopped it, to be raised. Raises WorkerDied."""


class WorkerSource(ABC):
    """Where workers come from."""

    @abstractmethod
    def open(self) -> int:
        """Makes ready to start workers; returns how many there shall be. Raises HwnasError where that cannot be."""

    @abstractmethod
    def start(self) -> Worker:
        """A new worker, ready to evaluate. Called by several threads. Raises WorkerDied, HwnasError."""

    @abstractmethod
    def close(self) -> None:
        """Ends all workers, those that are starting included; whoever waits for one then sees it dead."""


@dataclass
class _Task:
    batch: int
    index: int
    candidate: Candidate
    deaths: int = 0


class WorkerPool(Workers):
    """As many workers as a source gives; a dead one is replaced.

    An evaluation that has killed three workers is recorded as failed. Workers start with the first batch.

    Args:
        source: where they come from.
    """

    def __init__(self, source: WorkerSource) -> None:
        self._source = source
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[_Task | None, Outcome]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lost = 0
        self._lock = threading.Lock()
        self._batch = 0
        self._closed = False

    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Evaluation]]:
        """Evaluates as many at once as there are workers; see Workers."""
        if not candidates:
            return
        self._begin()
        self._batch += 1
        for index, candidate in enumerate(candidates):
            self._tasks.put(_Task(self._batch, index, candidate))
        left = len(candidates)
        try:
            while left:
                task, outcome = self._answers.get()
                if task is not None and task.batch != self._batch:
                    continue  # of a batch that nobody waits for any more
                if isinstance(outcome, BaseException):
                    raise outcome
                if task is not None:
                    left -= 1
                    yield task.index, outcome
        finally:
            while left and not self._tasks.empty():
                self._tasks.get_nowait()

    def close(self) -> None:
        """Ends all workers."""
        if self._closed:
            return
        self._closed = True
        self._source.close()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout=JOIN_S)

    def _begin(self) -> None:
        if self._threads:
            return
        count = self._source.open()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        """The life of a thread: a worker after the other, a task after the other."""
        worker: Worker | None = None
        while not self._closed:
            try:
                worker = worker or self._started()
            except BaseException as error:  # whatever it is, the search must hear of it
                self._give_up(error)
                return
            task = self._tasks.get()
            if task is None:
                return
            try:
                self._answers.put((task, worker.evaluate(task.candidate)))
            except WorkerDied as death:
                worker = None
                self._pass_on(task, death)
            except BaseException as error:
                self._answers.put((task, error))

    def _started(self) -> Worker:
        died = WorkerDied()
        for _ in range(MAX_DEATHS):
            try:
                return self._source.start()
            except WorkerDied as death:
                died = death
        raise RunError(
            "A worker",
            "must be able to start",
            came=f"{MAX_DEATHS} have ended while they did, the last by {died}",
            do="See that memory suffices, or search with fewer workers",
        ) from died

    def _pass_on(self, task: _Task, death: WorkerDied) -> None:
        """Gives the task of a dead worker to another, or up."""
        if self._closed:
            return
        task.deaths += 1
        if task.deaths < MAX_DEATHS:
            logger.warning("A worker has ended (%s); its evaluation is given to another", death)
            self._tasks.put(task)
            return
        failure = f"{task.deaths} workers have ended in the middle of it, the last by {death}"
        self._answers.put((task, Evaluation(task.candidate, failure=failure)))

    def _give_up(self, error: BaseException) -> None:
        """Goes on with the other workers; where there are none, or it is no mishap, the search ends."""
        if self._closed:
            return
        with self._lock:
            self._lost += 1
            left = len(self._threads) - self._lost
        if left and isinstance(error, HwnasError):
            logger.warning("%s Going on with %d workers", error, left)
        else:
            self._answers.put((None, error))
