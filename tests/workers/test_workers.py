"""`make_workers`, and what holds of workers as such."""

from pathlib import Path

import pytest

from hwnas.errors import SettingsError
from hwnas.workers import OneProcess, Workers, make_workers
from hwnas.workers.pool import WorkerPool

from .contract import SOUND, fickle


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    for workers in (1, "1"):
        assert isinstance(make_workers(workers, [fickle(tmp_path)]), OneProcess)
    assert isinstance(make_workers(2, [fickle(tmp_path)]), WorkerPool)


def test_without_anything_expensive_nothing_is_started() -> None:
    assert isinstance(make_workers(8, []), OneProcess)


def test_what_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="workers must be a number of processes"):
        make_workers("many", [fickle(tmp_path)])


def test_leaving_the_block_closes_them() -> None:
    closed: list[bool] = []

    class Idle(OneProcess):
        def close(self) -> None:
            closed.append(True)

    with Idle([]) as workers:
        assert isinstance(workers, Workers)
        assert len(list(workers.evaluate(SOUND))) == len(SOUND)
    with pytest.raises(KeyError), Idle([]):
        raise KeyError
    assert closed == [True, True]
