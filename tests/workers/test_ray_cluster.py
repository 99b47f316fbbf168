"""Workers on a Ray cluster: a real one, of this machine."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.files import JsonLines
from hwnas.front import Candidate
from hwnas.objectives import Objective, macs
from hwnas.strategies import SearchLoop
from hwnas.workers import OneProcess, Workers, make_workers
from hwnas.workers.pool import WorkerPool
from hwnas.workers.ray_cluster import RayCluster, _own_cluster

from ..strategies.toy_evolution import ToyEvolution  # noqa: TID252
from .contract import SPACE, MortalWorkersContract, fickle, inherited

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'hwnas[ray]'"
)

START_S = 90.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address, for its clients, of a cluster of two CPUs that this machine belongs to.

    Ray asks for a token, or will; this cluster has one of its own, whatever lies where Ray looks for the user's.
    """
    token = pytest.MonkeyPatch()
    token.setenv("RAY_AUTH_MODE", "token")
    token.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # pytest's are too long for Ray's sockets
    token.setenv("RAY_TMPDIR", folder)
    head, client = free_port(), free_port()
    begin = "import sys; from ray.scripts.scripts import main; sys.argv = ['ray', *sys.argv[1:]]; main()"
    ports = [f"--port={head}", f"--ray-client-server-port={client}", "--node-ip-address=127.0.0.1"]
    sizes = ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=false"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", begin, "start", "--head", "--block", *ports, *sizes],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"},
        start_new_session=True,
    )
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", client), timeout=1).close()
            break
        assert process.poll() is None
        assert time.monotonic() < deadline, "Ray did not start"
        time.sleep(0.2)
    yield f"ray://127.0.0.1:{client}"
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    token.undo()
    shutil.rmtree(folder, ignore_errors=True)


class TestRayClient(MortalWorkersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls, folder: Path, cluster: str) -> Iterator[Workers]:
        with make_workers(cluster, [fickle(folder), inherited()]) as workers:
            yield workers

    def test_there_are_as_many_workers_as_the_cluster_has_cpus(self, workers: Workers) -> None:
        assert isinstance(workers, WorkerPool)
        list(workers.evaluate([Candidate(SPACE.largest())]))
        assert len(workers._threads) == 2


def test_a_search_of_a_machine_of_the_cluster_comes_to_the_same(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one worker, as told, and bit for bit what one process finds."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def searched(folder: Path, workers: Workers, objectives: list[Objective]) -> SearchLoop:
        strategy = ToyEvolution(SPACE, objectives, rng=np.random.default_rng(0), batch=8)
        journal, log = JsonLines(folder / "evaluations.jsonl"), JsonLines(folder / "search_log.jsonl")
        loop = SearchLoop(SPACE, objectives, strategy, journal, {}, log, workers)
        with workers:
            loop.run(20)
        return loop

    objectives = [inherited(), macs(SPACE)]
    found = searched(tmp_path / "ray", make_workers("ray?workers=1", objectives[:1]), objectives)
    expected = searched(tmp_path / "alone", OneProcess(objectives[:1]), objectives)
    values = [[(one.candidate, one.values) for one in loop.evaluations.values()] for loop in (found, expected)]
    assert values[0] == values[1]


def test_what_answers_and_is_no_ray_is_refused_soon() -> None:
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        workers = make_workers(f"ray://127.0.0.1:{server.getsockname()[1]}", [inherited()])
        with workers, pytest.raises(SettingsError, match="must be the address of a Ray cluster's client server"):
            list(workers.evaluate([Candidate(SPACE.largest())]))
    assert time.monotonic() - start < 20


def test_the_cluster_that_a_machine_belongs_to_is_one_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed leaves its address behind; then, and where there is none, a local one is started."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert _own_cluster() == "local"
    (tmp_path / "ray").mkdir()
    for text in ("", "rubbish", f"127.0.0.1:{free_port()}"):
        (tmp_path / "ray" / "ray_current_cluster").write_text(text)
        assert _own_cluster() == "local"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        assert _own_cluster() == address
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert _own_cluster() == "head:6379"


def test_a_cluster_that_was_never_opened_is_closed_without_ado() -> None:
    RayCluster([inherited()], cluster="ray").close()
