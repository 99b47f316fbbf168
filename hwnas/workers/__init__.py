"""Where evaluations run: in the process of the search, in several of this machine, or on a Ray cluster."""

from collections.abc import Sequence

from hwnas.objectives import Objective
from hwnas.workers.address import WorkersAddress, parse_workers
from hwnas.workers.evaluation import missing_value
from hwnas.workers.one_process import OneProcess
from hwnas.workers.pool import WorkerPool
from hwnas.workers.processes import WorkerProcesses
from hwnas.workers.ray_cluster import RayCluster
from hwnas.workers.workers import Workers

__all__ = ["OneProcess", "Workers", "WorkersAddress", "make_workers", "missing_value", "parse_workers"]


def make_workers(workers: int | str, objectives: Sequence[Objective]) -> Workers:
    """The workers that a setting asks for; they start with the first batch.

    Args:
        workers: as `parse_workers` reads it.
        objectives: the expensive ones, which they evaluate.

    Raises:
        SettingsError: `workers` means nothing or does not answer, or the objectives cannot be sent.
    """
    address = parse_workers(workers)
    address.require()
    if not objectives or address == WorkersAddress(1):
        return OneProcess(objectives)
    if address.cluster is None:
        return WorkerPool(WorkerProcesses(objectives, count=address.count or 1))
    return WorkerPool(RayCluster(objectives, cluster=address.cluster, count=address.count))
