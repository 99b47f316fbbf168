"""A small run folder that each test may bend before it is read."""

import copy
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.latency import LatencyTable
from hwnas.predictors import HeldOut, PredictorQuality
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.ranking import rank_agreement
from hwnas.spaces import Architecture, SearchSpace

OBJECTIVES = [
    {"name": "error", "unit": "fraction", "direction": "minimize"},
    {"name": "macs", "unit": "MACs", "direction": "minimize"},
    {"name": "parameters", "unit": "parameters", "direction": "minimize"},
    {"name": "latency_ms@local-cpu", "unit": "ms", "direction": "minimize"},
    {"name": "latency_ms@rpi4", "unit": "ms", "direction": "minimize"},
]
# error, MACs, parameters, ms on local-cpu, ms on rpi4; the fourth is dominated by the second, the fifth failed
SCORES = [
    (0.16, 2_000_000, 90_000, 0.10, 1.9),
    (0.08, 6_000_000, 150_000, 0.17, 3.1),
    (0.02, 18_000_000, 430_000, 0.30, 5.8),
    (0.11, 7_000_000, 160_000, 0.19, 3.4),
]


class RunFolder:
    """The documents of a run folder, as plain data to change, and `write` to put them on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: str | None = 'space = "mobilenetv3"\nseed = 1\n'
        self.objectives = copy.deepcopy(OBJECTIVES)
        records = [self._record(number, scores) for number, scores in enumerate(SCORES)]
        self.front = copy.deepcopy(records[:3])
        failed = {"architecture": _architecture(4), "failure": "loss became NaN", "seconds": 0.1}
        header = {"schema_version": 1, "space": "mobilenetv3"}
        self.evaluations: list[dict[str, Any]] | None = [header, *records, failed]
        self.progress: list[dict[str, Any]] | None = [
            {"generation": 0, "evaluations": 2, "hypervolume": 0.61, "front_size": 2, "seconds": 1.0},
            {"generation": 1, "evaluations": 5, "hypervolume": 0.87, "front_size": 3, "seconds": 2.0},
        ]
        self.verification: dict[str, Any] | None = {
            "schema_version": 2,
            "models": [_model(number, record) for number, record in enumerate(self.front, start=1)],
            "test_images": 360,
            "device": "local-cpu",
            "environment": {"cpu": "AMD EPYC", "onnxruntime": "1.31.1", "threads": 1},
        }

    @property
    def models(self) -> list[dict[str, Any]]:
        assert self.verification is not None
        return self.verification["models"]  # type: ignore[no-any-return]

    @property
    def files(self) -> list[dict[str, Any]]:
        """Each model's own file."""
        return [model["files"][0] for model in self.models]

    def keep_objectives(self, *names: str) -> None:
        """Drops every other objective, from the values too; the order is that of `names`."""
        by_name = {objective["name"]: objective for objective in self.objectives}
        self.objectives = [by_name[name] for name in names]
        for record in [*self.front, *(self.evaluations or [])]:
            if "values" in record:
                record["values"] = {name: record["values"][name] for name in names}

    def write(self) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        front = {"schema_version": 1, "objectives": self.objectives, "evaluations": self.front}
        (self.path / "front.json").write_text(json.dumps(front))
        if self.settings is not None:
            (self.path / "run.toml").write_text(self.settings)
        for name, lines in (("evaluations.jsonl", self.evaluations), ("search_log.jsonl", self.progress)):
            if lines is not None:
                (self.path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        if self.verification is not None:
            (self.path / "verification.json").write_text(json.dumps(self.verification))
        return self.path

    def _record(self, number: int, scores: tuple[float, ...]) -> dict[str, Any]:
        names = [objective["name"] for objective in self.objectives]
        values = dict(zip(names, scores, strict=True))
        return {"architecture": _architecture(number), "values": values, "seconds": 0.2}


def _architecture(number: int) -> dict[str, Any]:
    return {"space": "mobilenetv3", "choices": [number, 0, 2]}


def _model(number: int, record: dict[str, Any]) -> dict[str, Any]:
    values = record["values"]
    latency = {}
    for device in ("local-cpu", "rpi4"):
        predicted = values[f"latency_ms@{device}"]
        measured = predicted * (1 + 0.02 * number)
        interval = [measured * 0.99, measured * 1.01]
        latency[device] = {"predicted_ms": predicted, "measured_ms": measured, "measured_ci95_ms": interval}
    file = {
        "file": f"models/winner-{number}/fp32.onnx",
        "precision": "fp32",
        "image_input": False,
        "size_bytes": 4 * values["parameters"],
        "peak_memory_bytes": 30_000_000 + number,
        "test_accuracy": 1 - values["error"] + 0.005,
        "max_abs_difference": 3.1e-6 * number,
        "same_class": 1.0,
        "latency": latency,
    }
    return {
        "name": f"winner-{number}",
        "bundle": f"models/winner-{number}",
        "architecture": record["architecture"],
        "description": f"depths 2-3-{number}",
        "validation_error": values["error"],
        "macs": values["macs"],
        "parameters": values["parameters"],
        "precision": "fp32",
        "on_front": True,
        "files": [file],
    }


@pytest.fixture(scope="session")
def example(
    tmp_path_factory: pytest.TempPathFactory,
    small_space: SearchSpace,
    proven_table: LatencyTable,
    audit: RankAudit,
    foretold: PredictorQuality,
) -> Any:
    """A run folder with everything in it, see example_run.py: its path, tables and space."""
    spec = importlib.util.spec_from_file_location("example_run", Path(__file__).with_name("example_run.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["example_run"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.write_example(tmp_path_factory.mktemp("runs") / "two-devices", small_space, proven_table)
    audit.save(made.path / "audit.json")
    foretold.save(made.path / "predictor.json")
    return made


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "digits")


@pytest.fixture(scope="session")
def audit() -> RankAudit:
    """24 networks that a supernet ranks nearly as they are when trained alone; its first pick is not the best."""
    rng = np.random.default_rng(0)
    alone = 0.05 + 0.1 * rng.random(24)
    supernet = alone + 0.2 + 0.02 * rng.normal(size=24)
    supernet[alone.argsort()[2]] = supernet.min() - 0.01
    macs = 1e6 * (20 - 80 * alone + rng.normal(size=24))
    entries = [
        AuditEntry(Architecture("mobilenetv3", (number,)), f"<b>k3 e{number}", int(macs[number]), *map(float, errors))
        for number, errors in enumerate(zip(supernet, alone, strict=True))
    ]
    return RankAudit.of(entries, source="trained", data="digits", epochs=5)


@pytest.fixture(scope="session")
def foretold() -> PredictorQuality:
    """40 networks held out, foretold within about a point."""
    rng = np.random.default_rng(1)
    errors = 0.05 + 0.1 * rng.random(40)
    predicted = errors + 0.01 * rng.normal(size=40)
    networks = [
        HeldOut((number, 1), float(error), float(mean), float(mean) - 0.016, float(mean) + 0.017)
        for number, (error, mean) in enumerate(zip(errors, predicted, strict=True))
    ]
    inside = np.mean([one.low <= one.error <= one.high for one in networks])
    ranking, macs = rank_agreement(predicted, errors), rank_agreement(errors + 0.05 * rng.random(40), errors)
    off = float(np.abs(predicted - errors).mean())
    return PredictorQuality("gaussian_process", 10, ranking, macs, off, float(inside), tuple(networks))
