"""A tiny space, a table of it, and a simulated runtime that takes a known time for every node of a graph."""

import itertools
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from hwnas.devices import RUNTIMES, Device, Measurement, Runtime, Session
from hwnas.errors import MissingRuntimeError
from hwnas.latency import LatencyTable, TableIdentity
from hwnas.latency.probes import export_probes
from hwnas.layers import Classifier, ConvBNAct, MBConv
from hwnas.spaces import Chain, Operator, SearchSpace, Slot, Variable

OVERHEAD_MS = 0.5


class TinySpace(SearchSpace):
    """A stem, a block, a second block that may be left out, a classifier: six operators, six architectures."""

    name: ClassVar = "tiny"
    layers: ClassVar = {"conv_bn_act": ConvBNAct, "mbconv": MBConv, "classifier": Classifier}

    def __init__(self, input_shape=(1, 8, 8), num_classes=3, *, width_mult=1.0, stem="conv") -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.arguments = {"width_mult": width_mult, "stem": stem}
        variables = [
            Variable("block1.kernel_size", (3, 5)),
            Variable("depth", (1, 2)),
            Variable("block2.kernel_size", (3, 5)),
        ]
        _, height, width = input_shape
        middle, last = (4, height // 2, width // 2), (6, height // 4, width // 4)
        stem_of = {"out_channels": 4, "kernel_size": 3, "stride": 2, "activation": "hard_swish"}
        hidden = {"num_classes": num_classes, "last_channels": 8, "hidden_features": 8}
        slots = [
            Slot((Operator("conv_bn_act", input_shape, stem_of),)),
            Slot(tuple(_block(middle, kernel, 2, 0) for kernel in variables[0].options), (0,)),
            Slot(tuple(_block(last, kernel, 1, 8) for kernel in variables[2].options), (2,), 1, 1),
            Slot((Operator("classifier", last, hidden),)),
        ]
        self.chain = Chain(variables, slots)

    @property
    def options(self):
        return self.arguments

    @property
    def variables(self):
        return self.chain.variables

    def operators(self, architecture):
        return self.chain.operators(architecture)

    def all_operators(self):
        return self.chain.all_operators

    def canonicalize(self, choices_NV):
        return self.chain.canonicalize(choices_NV)

    def supernet(self):
        raise NotImplementedError

    def describe(self, architecture):
        return str(architecture.choices)

    def everything(self):
        choices = itertools.product(*(range(count) for count in self.num_options_V))
        return list(dict.fromkeys(self.architectures(np.array(list(choices)))))


def _block(shape, kernel_size, stride, se_channels):
    attributes = {
        "out_channels": 6,
        "mid_channels": 2 * shape[0],
        "kernel_size": kernel_size,
        "stride": stride,
        "se_channels": se_channels,
        "activation": "relu",
    }
    return Operator("mbconv", shape, attributes)


@dataclass
class Machine:
    """The simulated machine: what it has been asked, and after how many visits it is killed."""

    calls: list[tuple[str, int]] = field(default_factory=list)
    loaded: list[tuple[Path, int]] = field(default_factory=list)
    killed_after: float = math.inf
    noise: float = 0.0
    version: str | None = "1.0"
    rng: Any = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def visits(self) -> list[tuple[str, int]]:
        """(model, runs) of each whole visit: what follows its one discarded run."""
        return [call for before, call in itertools.pairwise(self.calls) if before == (call[0], 1)]

    def time_ms(self, name: str, latency_ms: float, runs: int) -> list[float]:
        if runs > 1 and self.calls[-1:] == [(name, 1)] and len(self.visits) == self.killed_after:
            raise KeyboardInterrupt
        self.calls.append((name, runs))
        return [latency_ms * (1 + self.noise * self.rng.exponential()) for _ in range(runs)]


def latency_of(model: onnx.ModelProto) -> float:
    """The truth in ms: a session's overhead, what its ends cost by their shapes, and the cost of each node.

    The cost of a node is its own, whatever stands beside it; those with weights pay for them.
    """
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    (given,), (returned,) = model.graph.input, model.graph.output
    sizes = [int(np.prod([size.dim_value for size in value.type.tensor_type.shape.dim])) for value in (given, returned)]
    nodes = sum(0.01 + 1e-3 * sum(weights.get(name, 0) for name in node.input) for node in model.graph.node)
    return OVERHEAD_MS + 2e-3 * sizes[0] + 5e-3 * sizes[1] + nodes


class SimulatedSession(Session):
    def __init__(self, machine: Machine, onnx_path: Path) -> None:
        self.machine, self.name = machine, onnx_path.stem
        self.latency_ms = latency_of(onnx.load(onnx_path))

    def run(self, inputs):
        raise NotImplementedError

    def time_ms(self, runs):
        return self.machine.time_ms(self.name, self.latency_ms, runs)


class SimulatedRuntime(Runtime):
    name = "simulated"
    install_hint = "nothing to install"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @property
    def version(self):
        return self.machine.version

    def load(self, onnx_path, *, num_threads):
        if self.version is None:
            raise MissingRuntimeError("Runtime simulated", "must be installed", do=self.install_hint)
        self.machine.loaded.append((onnx_path, num_threads))
        return SimulatedSession(self.machine, onnx_path)


@pytest.fixture
def truth():
    """The truth of a model in ms."""
    return latency_of


@pytest.fixture
def machine(monkeypatch) -> Machine:
    """The simulated machine, behind the runtime "simulated"."""
    machine = Machine()
    monkeypatch.setitem(RUNTIMES, "simulated", lambda: SimulatedRuntime(machine))
    return machine


@pytest.fixture
def restarted(monkeypatch):
    """Call it for a machine that knows nothing of what was measured before: another process, another day."""

    def restart(**how) -> Machine:
        machine = Machine(**how)
        monkeypatch.setitem(RUNTIMES, "simulated", lambda: SimulatedRuntime(machine))
        return machine

    return restart


@pytest.fixture
def device(machine) -> Device:
    return Device("simulated-board", "", "local", ("simulated",), 1)


@pytest.fixture(scope="session")
def make_space():
    """The class TinySpace."""
    return TinySpace


@pytest.fixture(scope="session")
def space() -> TinySpace:
    return TinySpace()


@pytest.fixture(scope="session")
def probes(space, tmp_path_factory) -> dict[str, Path]:
    """The exported probes of all operators of `space`; not to be changed."""
    return export_probes(space.all_operators(), space, tmp_path_factory.mktemp("probes"))


@pytest.fixture
def identity() -> TableIdentity:
    return TableIdentity("simulated-board", "simulated", "fp32", 1, 1, "tiny", (1, 8, 8))


@pytest.fixture
def table(space, identity) -> LatencyTable:
    """A whole table of made-up measurements: 1, 2, 4 … ms, so that every sum says what it is of."""
    entries = {
        operator: Measurement(
            float(2**number), (2**number - 0.25, 2**number + 0.5), ((1.5, 2.0), (2.5,)), {"load_average": 0.1}
        )
        for number, operator in enumerate(space.all_operators())
    }
    contexts = {"two 1x1 convolutions at 4x4x4": Measurement(0.1, (0.05, 0.2), ((0.1,),), {})}
    return LatencyTable(identity, {"cpu": "simulated", "cores": os.cpu_count(), "governor": None}, entries, contexts)
