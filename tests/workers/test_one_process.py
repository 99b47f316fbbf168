"""Evaluations in the process of the search."""

from pathlib import Path

import pytest

from hwnas.workers import OneProcess, Workers

from .contract import SOUND, WorkersContract, candidate, fickle, inherited


class TestOneProcess(WorkersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls, folder: Path) -> Workers:
        return OneProcess([fickle(folder), inherited()])


def test_each_is_evaluated_when_it_is_asked_for(tmp_path: Path) -> None:
    with OneProcess([fickle(tmp_path)]) as workers:
        evaluations = workers.evaluate([SOUND[0], candidate("key")])
        assert next(evaluations)[0] == 0
        with pytest.raises(KeyError):
            next(evaluations)
