"""Workers on a Ray cluster: one actor each. The only file that knows Ray.

The machines of the cluster must have the same Python, Ray and hwnas. The objectives lie once in the object store.
"""

import contextlib
import logging
import math
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cloudpickle

from hwnas.errors import RunError, SettingsError
from hwnas.front import Candidate
from hwnas.objectives import Objective
from hwnas.workers.evaluation import Outcome, outcome_of, pickled, portable
from hwnas.workers.pool import Worker, WorkerDied, WorkerSource

__all__ = ["RayCluster", "RayWorker"]

logger = logging.getLogger(__name__)

ANSWER_S: Final = 5.0
START_S: Final = 180.0
"""How long an actor may take to start, the wait for a free CPU included."""


class RayCluster(WorkerSource):
    """Actors of a Ray cluster, each with a CPU and an equal share of the GPUs.

    Args:
        objectives: whose values are wanted; they are pickled, with code that only this process can import.
        cluster: "ray://HOST:PORT", or "ray" for the cluster that this machine belongs to; where there is none, one is
            started on this machine and ended with the search.
        count: of actors; None: as many as the cluster has CPUs.

    Raises:
        SettingsError: the objectives cannot be pickled.
    """

    def __init__(self, objectives: Sequence[Objective], *, cluster: str, count: int | None = None) -> None:
        self._objectives = pickled(objectives)
        self._cluster = cluster
        self._count = count
        self._own = False
        self._stored: Any = None
        self._kind: Any = None
        self._actors: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()

    def open(self) -> int:
        """Connects, unless the caller's program is connected; see WorkerSource."""
        import ray

        if not ray.is_initialized():
            self._connect()
            self._own = True
        resources = ray.cluster_resources()
        count = self._count or max(1, int(resources.get("CPU", 1)))
        gpus = math.floor(1e4 * min(1.0, resources.get("GPU", 0.0) / count)) / 1e4  # Ray counts in steps of 1e-4
        self._stored = ray.put(self._objectives)
        self._kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Evaluator)
        logger.info("Evaluating with %d Ray workers", count)
        return count

    def start(self) -> "RayWorker":
        """A new actor that has the objectives; see WorkerSource."""
        import ray

        with self._lock:
            if self._closed:
                raise WorkerDied("closed")
            actor = self._kind.remote()
            self._actors.append(actor)
        with _deaths():
            prepared = actor.prepare.remote(self._stored)
            ready, _ = ray.wait([prepared], timeout=START_S)
            if not ready:
                ray.kill(actor)
                raise RunError(
                    "A Ray worker", f"must start within {START_S:.0f} s", came="no CPU of the cluster is free"
                )
            error = ray.get(prepared)
        if isinstance(error, BaseException):
            raise error
        return RayWorker(actor)

    def close(self) -> None:
        """Ends the actors and, where it was made here, the connection; see WorkerSource."""
        with self._lock:
            self._closed = True
        if self._kind is None and not self._own:
            return
        import ray

        with contextlib.suppress(ConnectionError, ray.exceptions.RayError):
            for actor in self._actors:
                ray.kill(actor)
        if self._own:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        address = _own_cluster() if self._cluster == "ray" else self._cluster
        if address.startswith("ray://"):
            _require_answer(address)
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise SettingsError(
                f"workers = {self._cluster}",
                "must be a Ray cluster that lets this machine in",
                came=f"Ray says: {_first_line(error)}",
                do="See that Python and Ray are the same there and here, and RAY_AUTH_TOKEN where it asks for a token",
            ) from error


class RayWorker(Worker):
    """One actor.

    Args:
        actor: that is prepared.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def evaluate(self, candidate: Candidate) -> Outcome:
        """See Worker."""
        import ray

        with _deaths():
            outcome: Outcome = ray.get(self._actor.evaluate.remote(candidate))
        return outcome


class _Evaluator:
    """What runs in the cluster."""

    _objectives: Sequence[Objective]

    def prepare(self, objectives: bytes) -> BaseException | None:
        try:
            self._objectives = cloudpickle.loads(objectives)
        except BaseException as error:
            return portable(error)
        return None

    def evaluate(self, candidate: Candidate) -> Outcome:
        return outcome_of(candidate, self._objectives)


@contextlib.contextmanager
def _deaths() -> Iterator[None]:
    """Within, the end of an actor is WorkerDied, and that of the connection a RunError."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        raise RunError("A Ray worker", "must have the same hwnas as here", came=_first_line(error.cause)) from error
    except ray.exceptions.RayError as error:
        raise WorkerDied(type(error).__name__) from error
    except ConnectionError as error:
        raise RunError(
            "The Ray cluster",
            "must stay connected",
            came=f"Ray says: {_first_line(error)}",
            do="Run the same command again: it goes on where it was",
        ) from error


def _own_cluster() -> str:
    """The address of the cluster that this machine belongs to; "local", which starts one, where none answers.

    Ray itself waits for minutes for a cluster that was killed and has left its address behind.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named:
        return named
    left = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    with contextlib.suppress(OSError, ValueError):
        host, _, port = left.read_text(encoding="utf-8").strip().rpartition(":")
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        return f"{host}:{port}"
    return "local"


def _require_answer(address: str) -> None:
    """Raises SettingsError where no gRPC server answers, which Ray itself would wait for a long time."""
    import grpc

    channel = grpc.insecure_channel(address.removeprefix("ray://"))
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
    except grpc.FutureTimeoutError as error:
        raise SettingsError(
            f"workers = {address}",
            "must be the address of a Ray cluster's client server",
            came=f"nothing answers there within {ANSWER_S:.0f} s",
            do="Start one: ray start --head --ray-client-server-port 10001",
        ) from error
    finally:
        channel.close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
