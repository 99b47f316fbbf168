"""The toy space, its models exported once, and a simulated device that takes a known time for every node of a graph."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from hwnas.devices import Device, Measurement, MeasurementPlan
from hwnas.latency import LatencyTable, TableIdentity, profiling
from hwnas.latency.models import MeasuredModels
from hwnas.testing import SimulatedHost, ToySpace

OVERHEAD_MS = 0.5
PLAN = MeasurementPlan(rounds=4, max_rounds=8, warmup_seconds=0)


def latency_of(path: Path) -> float:
    """The truth in ms: a session's overhead, what its ends cost by their shapes, and the cost of each node.

    The cost of a node is its own, whatever stands beside it; those with weights pay for them.
    """
    return latency_of_version(path, path.stat().st_mtime_ns)


@cache
def latency_of_version(path: Path, _: int) -> float:
    graph = onnx.load(path).graph
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    sizes = [
        int(np.prod([size.dim_value for size in value.type.tensor_type.shape.dim]))
        for value in (graph.input[0], graph.output[0])
    ]
    nodes = sum(0.01 + 1e-3 * sum(weights.get(name, 0) for name in node.input) for node in graph.node)
    return OVERHEAD_MS + 2e-3 * sum(sizes) + nodes


def measurement(latency_ms: float, **how) -> Measurement:
    """A made-up one."""
    return Measurement(latency_ms, (latency_ms * 0.99, latency_ms * 1.02), ((latency_ms, latency_ms * 1.1),), **how)


@pytest.fixture
def truth():
    """The truth of a model in a file, in ms."""
    return latency_of


@pytest.fixture
def measurement_of():
    """Makes a measurement."""
    return measurement


@pytest.fixture
def plan() -> MeasurementPlan:
    return PLAN


@pytest.fixture(scope="session")
def space() -> ToySpace:
    return ToySpace()


@pytest.fixture(scope="session")
def exported(space, tmp_path_factory) -> Path:
    """A folder with the operators, probes and networks of `space`; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    models = MeasuredModels(space, folder)
    models.probes(space.all_operators())
    models.networks(space.everything())
    return folder


@pytest.fixture
def device() -> Device:
    return Device("board", "", "local", ("simulated",), 1)


@pytest.fixture
def path(tmp_path, exported) -> Path:
    """Where the table is to be; its models are there already, so that nothing needs to be exported."""
    found = tmp_path / "tables" / "board" / "table.json"
    shutil.copytree(exported, found.with_suffix(".work"))
    return found


@pytest.fixture
def connected(monkeypatch):
    """Makes the simulated device that the next profiling reaches: each call is another day."""

    def connect(truth_ms=latency_of, *, version="1.0", **how) -> SimulatedHost:
        host = SimulatedHost(truth_ms, fingerprint={"cpu": "simulated", "runtime_version": version}, **how)
        monkeypatch.setattr(profiling, "connect", lambda device: host)
        return host

    return connect


@pytest.fixture
def identity() -> TableIdentity:
    return TableIdentity("board", "simulated", "fp32", 1, 1, "toy", (1, 6, 6))


@pytest.fixture
def table(space, identity) -> LatencyTable:
    """A table of made-up measurements, 1, 2, 4 … ms, so that every sum says what it is of."""
    entries = {operator: measurement(float(2**number)) for number, operator in enumerate(space.all_operators())}
    contexts = {"two 1x1 convolutions at 4x4x4": measurement(0.1, flags=("unsettled: a bit",))}
    return LatencyTable(identity, {"cpu": "simulated", "governor": None}, entries, contexts)
