"""Worker processes of this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwnas.errors import RunError
from hwnas.files import JsonLines
from hwnas.objectives import Objective, macs
from hwnas.spaces import Architecture
from hwnas.strategies import SearchLoop
from hwnas.workers import Workers, make_workers
from hwnas.workers.pool import WorkerDied, WorkerPool
from hwnas.workers.processes import WorkerProcess, WorkerProcesses

from ..strategies.toy_evolution import ToyEvolution  # noqa: TID252
from .contract import SOUND, SPACE, MortalWorkersContract, acted, candidate, fickle, in_order, inherited

PATIENCE_S = 60.0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def slow() -> Objective:
    """Slow enough that a worker is killed in the middle; some fail."""

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        time.sleep(0.1)
        total = sum(architectures[0].choices)
        return [float("nan") if total == 5 else 1 / (1 + total)]

    return Objective("error", "fraction", evaluate)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


class TestWorkerProcesses(MortalWorkersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls, folder: Path) -> Iterator[Workers]:
        with make_workers(2, [fickle(folder), inherited()]) as workers:
            yield workers
        workers.close()

    def test_what_is_printed_and_read_disturbs_nothing(
        self, workers: Workers, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (found,) = in_order(workers, [candidate("prints")])
        assert found.values["error"] == 0.0
        assert capfd.readouterr().out == ""

    def test_evaluations_run_in_other_processes_at_once(self, workers: Workers, folder: Path) -> None:
        in_order(workers, [candidate("nan"), *SOUND])
        assert os.getpid() not in acted(folder, "nan")


def test_threads_are_shared_among_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(WorkerProcess):
        def prepare(self, objectives: bytes) -> None:
            pass

    environments: list[dict[str, str]] = []
    popen = subprocess.Popen
    monkeypatch.setattr("hwnas.workers.processes.BEGIN", "pass")
    monkeypatch.setattr("hwnas.workers.processes.WorkerProcess", Counted)
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, env, **k: (environments.append(env), popen(*a, env=env, **k))[1]
    )
    before = torch.get_num_threads()
    for threads, count in ((7, 3), (2, 4)):
        torch.set_num_threads(threads)
        source = WorkerProcesses([inherited()], count=count)
        source.start()
        source.close()
    torch.set_num_threads(before)
    assert [one["OMP_NUM_THREADS"] for one in environments] == ["2", "1"]


def test_objectives_that_cannot_be_read_there_are_said() -> None:
    class Guarded:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return (int, ("no number",))

    guarded = Guarded()
    objective = Objective("a", "x", lambda architectures: [float(guarded is None) for _ in architectures])
    with WorkerPool(WorkerProcesses([objective], count=1)) as workers, pytest.raises(ValueError, match="no number"):
        list(workers.evaluate(SOUND))


def test_workers_that_cannot_start_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwnas.workers.processes.BEGIN", "import sys; sys.exit(7)")
    with (
        make_workers(2, [inherited()]) as workers,
        pytest.raises(
            RunError, match=r"must be able to start, but 3 have ended while they did, the last by exit status 7"
        ),
    ):
        list(workers.evaluate(SOUND))


def test_a_closed_source_starts_nothing() -> None:
    source = WorkerProcesses([inherited()], count=1)
    source.close()
    with pytest.raises(WorkerDied):
        source.start()


def test_an_ended_process_says_so(tmp_path: Path) -> None:
    worker = WorkerProcess(threads=1)
    worker.end()
    assert not worker.alive
    with pytest.raises(WorkerDied, match="SIGKILL"):
        worker.evaluate(SOUND[0])


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_ends_leaves_nothing_behind(tmp_path: Path, ending: signal.Signals) -> None:
    """Killed, or stopped by Ctrl-C, while its workers sleep in the middle of evaluations."""
    script = tmp_path / "parent.py"  # without a guard: workers do not run it again
    script.write_text(
        "import sys, os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "from hwnas.workers.pool import WorkerPool\n"
        "from hwnas.workers.processes import WorkerProcesses\n"
        "from hwnas.front import Candidate\n"
        "from hwnas.objectives import Objective\n"
        "from hwnas.testing import ToySpace\n"
        "def evaluate(architectures):\n"
        "    with open(PIDS, 'a') as stream:\n"
        "        stream.write(f'{os.getpid()}\\n')\n"
        "    time.sleep(600)\n"
        "PIDS = sys.argv[1]\n"
        "with WorkerPool(WorkerProcesses([Objective('error', 'x', evaluate)], count=1)) as workers:\n"
        "    list(workers.evaluate([Candidate(one) for one in ToySpace().everything()[:5]]))\n"
    )
    pids = tmp_path / "pids"
    parent = subprocess.Popen(
        [sys.executable, script, pids],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"))
    parent.send_signal(ending)
    parent.wait(timeout=PATIENCE_S)
    started = [int(pid) for pid in pids.read_text().split()]
    assert parent.pid not in started
    wait_for(lambda: not any(map(is_running, started)))


def test_a_search_comes_to_the_same_whatever_its_workers_and_whichever_die(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With two workers, one of which is killed in the middle, and with none."""

    def searched(name: str, count: int) -> SearchLoop:
        folder = tmp_path / name
        objectives = [slow(), macs(SPACE)]
        strategy = ToyEvolution(SPACE, objectives, rng=np.random.default_rng(0), batch=8)
        with make_workers(count, objectives[:1]) as workers:
            journal = Journal(folder / "evaluations.jsonl", workers if count > 1 else None)
            loop = SearchLoop(SPACE, objectives, strategy, journal, {}, JsonLines(folder / "search_log.jsonl"), workers)
            assert len(loop.run(30))
        return loop

    class Journal(JsonLines):
        """Kills a worker when it holds the fifth evaluation."""

        def __init__(self, path: Path, workers: Workers | None) -> None:
            super().__init__(path)
            self.workers, self.lines = workers, 0

        def append(self, document: Mapping[str, Any], *, sync: bool = True) -> None:
            super().append(document, sync=sync)
            self.lines += 1
            if self.workers is not None and self.lines >= 5:
                os.kill(self.workers._source._running[0]._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
                self.workers = None

    alone, shared = searched("alone", 1), searched("shared", 2)
    assert [(one.candidate, one.values, one.failure) for one in alone.evaluations.values()] == [
        (one.candidate, one.values, one.failure) for one in shared.evaluations.values()
    ]
    assert vars(alone.generations[-1]) | {"seconds": 0} == vars(shared.generations[-1]) | {"seconds": 0}
    assert "A worker has ended (SIGKILL); its evaluation is given to another" in caplog.messages
