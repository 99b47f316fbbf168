"""The pool, with workers that are not processes."""

import threading
from collections.abc import Callable, Iterator

import pytest

from hwnas.errors import RunError
from hwnas.front import Candidate, Evaluation
from hwnas.workers.evaluation import Outcome
from hwnas.workers.pool import Worker, WorkerDied, WorkerPool, WorkerSource

from .contract import SOUND

Behave = Callable[[Candidate, int], Outcome]


class Scripted(WorkerSource):
    """Workers that do what they are told: `behave` gets the candidate and the number of the worker."""

    def __init__(self, behave: Behave, *, count: int = 2, starts: Callable[[int], None] = lambda number: None) -> None:
        self.started, self.closed, self.evaluated = 0, 0, []
        self._behave, self._count, self._starts = behave, count, starts
        self._lock = threading.Lock()

    def open(self) -> int:
        return self._count

    def start(self) -> Worker:
        with self._lock:
            number = self.started
            self.started += 1
        self._starts(number)
        source = self

        class Obedient(Worker):
            def evaluate(self, candidate: Candidate) -> Outcome:
                source.evaluated.append((candidate, number))
                return source._behave(candidate, number)

        return Obedient()

    def close(self) -> None:
        self.closed += 1


def well(candidate: Candidate, number: int) -> Outcome:
    return Evaluation(candidate, {"error": float(number)})


def run(source: Scripted, candidates: list[Candidate] = SOUND) -> list[Evaluation]:
    with WorkerPool(source) as pool:
        found = dict(pool.evaluate(candidates))
    return [found[index] for index in range(len(candidates))]


def test_workers_start_with_the_first_batch_and_are_closed_once() -> None:
    source = Scripted(well)
    pool = WorkerPool(source)
    assert list(pool.evaluate([])) == []
    assert source.started == 0
    assert len(list(pool.evaluate(SOUND))) == len(SOUND)
    pool.close()
    pool.close()
    assert source.closed == 1


def test_as_many_are_evaluated_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=20)

    def behave(candidate: Candidate, number: int) -> Outcome:
        together.wait()
        return well(candidate, number)

    assert len(run(Scripted(behave, count=3), SOUND[:9])) == 9


def test_what_a_dead_worker_was_at_work_on_is_given_to_another() -> None:
    def behave(candidate: Candidate, number: int) -> Outcome:
        if candidate == SOUND[3] and number < 2:
            raise WorkerDied("SIGSEGV")
        return well(candidate, number)

    source = Scripted(behave)
    found = run(source)
    assert all(one.failure is None for one in found)
    assert [one.candidate for one in found] == SOUND
    numbers = [number for candidate, number in source.evaluated if candidate == SOUND[3]]
    assert len(numbers) == len(set(numbers)) == 1 + sum(number < 2 for number in numbers)


def test_what_kills_three_workers_is_a_failure() -> None:
    def behave(candidate: Candidate, number: int) -> Outcome:
        if candidate == SOUND[3]:
            raise WorkerDied("SIGKILL")
        return well(candidate, number)

    source = Scripted(behave)
    found = run(source)
    assert found[3].failure == "3 workers have ended in the middle of it, the last by SIGKILL"
    assert found[3].values == {}
    assert [one.failure is None for one in found].count(True) == len(SOUND) - 1
    assert sum(candidate == SOUND[3] for candidate, _ in source.evaluated) == 3
    assert source.started <= 2 + 3


def test_a_batch_in_which_every_worker_dies_is_evaluated_all_the_same() -> None:
    """Each worker lives for two evaluations."""
    lives: dict[int, int] = {}

    def behave(candidate: Candidate, number: int) -> Outcome:
        lives[number] = lives.get(number, 0) + 1
        if lives[number] > 2:
            raise WorkerDied("SIGKILL")
        return well(candidate, number)

    assert [one.candidate for one in run(Scripted(behave), SOUND)] == SOUND


def test_an_error_that_a_worker_hands_over_or_raises_is_raised() -> None:
    for behave in (lambda candidate, number: KeyError("a mistake"), failing(KeyError("a mistake"))):
        with pytest.raises(KeyError, match="a mistake"):
            run(Scripted(behave))


def failing(error: Exception) -> Behave:
    def behave(candidate: Candidate, number: int) -> Outcome:
        raise error

    return behave


def test_workers_that_die_while_they_start_are_tried_three_times() -> None:
    def starts(number: int) -> None:
        raise WorkerDied("SIGKILL")

    source = Scripted(well, count=1, starts=starts)
    with pytest.raises(RunError, match=r"3 have ended while they did, the last by SIGKILL.*fewer workers"):
        run(source)
    assert source.started == 3


def test_with_fewer_workers_than_wanted_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    first_lives = iter([None])
    lock = threading.Lock()

    def starts(number: int) -> None:
        with lock:
            if next(first_lives, number) is not None:
                raise WorkerDied("SIGKILL")

    assert len(run(Scripted(well, count=3, starts=starts))) == len(SOUND)
    assert all("Going on with" in message for message in caplog.messages)


def test_a_mistake_in_starting_is_raised() -> None:
    def starts(number: int) -> None:
        raise ModuleNotFoundError("No module named 'mine'")

    with pytest.raises(ModuleNotFoundError, match="mine"):
        run(Scripted(well, starts=starts))


def test_a_batch_that_was_given_up_is_not_evaluated_further() -> None:
    permits = threading.Semaphore(0)

    def behave(candidate: Candidate, number: int) -> Outcome:
        permits.acquire(timeout=20)
        return well(candidate, number)

    def first(evaluations: Iterator[tuple[int, Evaluation]]) -> None:
        permits.release()
        next(evaluations)
        evaluations.close()  # type: ignore[attr-defined]

    source = Scripted(behave, count=1)
    with WorkerPool(source) as pool:
        first(pool.evaluate(SOUND))
        permits.release(50)
        found = dict(pool.evaluate(SOUND[::-1]))
    assert [found[index].candidate for index in range(len(SOUND))] == SOUND[::-1]
    assert len(source.evaluated) <= len(SOUND) + 2
