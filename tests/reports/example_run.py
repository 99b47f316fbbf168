"""A made-up run folder with everything that a report can show, written in the formats of a real one.

Three objectives, two devices, two precisions, baselines, rounds of refinement, times. Latencies come from tables, errors
from a smooth function of the network's size with noise, and int8 costs a little accuracy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.devices import Measurement
from hwnas.front import non_dominated
from hwnas.latency import LatencyTable
from hwnas.spaces import Architecture, SearchSpace

DEVICES = ("local-cpu", "rpi4")
PRECISIONS = ("int8", "fp32")
SPEED = {("local-cpu", "fp32"): 0.25, ("local-cpu", "int8"): 0.14, ("rpi4", "fp32"): 2.6, ("rpi4", "int8"): 1.9}
EVALUATIONS = 240
WINNERS = 6
TEST_IMAGES = 2000
BASELINES = (
    ("mobilenet_v2 (width 0.5)", 0.905, 11.0e6, 0.70e6, 0.31),
    ("mobilenet_v3_small", 0.887, 4.1e6, 1.53e6, 0.22),
    ("mobilenet_v3_large", 0.921, 15.4e6, 4.2e6, 0.43),
    ("resnet18 (width 0.25)", 0.914, 35.1e6, 0.70e6, 0.52),
)


@dataclass(frozen=True)
class Example:
    """The folder, and what the report's other arguments are."""

    path: Path
    tables: Mapping[str, Mapping[str, LatencyTable]]
    space: SearchSpace


def write_example(path: Path, space: SearchSpace, table: LatencyTable) -> Example:
    """Writes the run folder; its tables are `table` at other speeds."""
    tables = {device: {precision: _scaled(table, device, precision) for precision in PRECISIONS} for device in DEVICES}
    rng = np.random.default_rng(7)
    records = [_evaluation(one, place, space, tables, rng) for one, place in _drawn(space, rng)]
    values_NM = np.array([list(record["values"].values()) for record in records])
    front = sorted(
        (record for record, kept in zip(records, non_dominated(values_NM), strict=True) if kept),
        key=lambda record: record["values"]["error"],
    )
    path.mkdir(parents=True)
    (path / "run.toml").write_text(
        f'space = "{space.name}"\nprecisions = ["fp32", "int8"]\nevaluations = {EVALUATIONS}\n'
    )
    _write_search(path, space, records, front)
    slowest, fastest = (front[end]["values"]["latency_ms@local-cpu"] for end in (0, -1))
    wanted = np.linspace(slowest, fastest, WINNERS)
    gaps_WN = np.abs(wanted[:, None] - [record["values"]["latency_ms@local-cpu"] for record in front])
    chosen = dict.fromkeys(map(int, gaps_WN.argmin(axis=1)))
    models = [_model(number, front[place], space, tables, rng) for number, place in enumerate(chosen, start=1)]
    environment = {"cpu": "AMD EPYC 9V74", "onnxruntime": "1.31.1", "torch": "2.12.0", "threads": 1}
    _write(path / "verification.json", schema_version=2, device="local-cpu", test_images=TEST_IMAGES,
           environment=environment, models=models)  # fmt: skip
    _write(path / "comparison.json", schema_version=1, device="local-cpu", budget={"epochs": 60, "batch_size": 128},
           baselines=[_baseline(*one, rng=rng) for one in BASELINES])  # fmt: skip
    _write(path / "refinement.json", schema_version=1, rounds=[_round(number) for number in range(4)])
    return Example(path, tables, space)


def _scaled(table: LatencyTable, device: str, precision: str) -> LatencyTable:
    factor = SPEED[device, precision]

    def slower(found: Measurement) -> Measurement:
        low, high = found.ci95_ms
        return Measurement(factor * found.latency_ms, (factor * low, factor * high))

    def cost(operator: Any, found: Measurement) -> Measurement:
        size = int(operator.attributes.get("kernel_size", 3))
        heavier = 1 + (0.16 if device == "rpi4" else 0.02) * (size - 3)
        low, high = found.ci95_ms
        scale = factor * heavier
        return Measurement(scale * found.latency_ms, (scale * low, scale * high))

    networks = tuple(
        replace(
            one,
            found=slower(one.found),
            sum_ms=factor * one.sum_ms,
            predicted_ms=factor * one.predicted_ms,
            again_ms=None,
        )
        for one in table.networks
    )
    calibration = replace(table.calibration, overhead_ms=factor * table.calibration.overhead_ms)
    identity = replace(table.identity, device=device, precision=precision)
    entries = {operator: cost(operator, found) for operator, found in table.entries.items()}
    return replace(table, identity=identity, entries=entries, networks=networks, calibration=calibration, path=None)


def _drawn(space: SearchSpace, rng: np.random.Generator) -> list[tuple[Architecture, int]]:
    """Architectures from small to large, each with a precision."""
    count = len(space.variables)
    choices = []
    for bias in np.linspace(0, 1, EVALUATIONS):
        largest = np.array([len(variable.options) - 1 for variable in space.variables])
        choices.append(np.round(largest * np.clip(rng.beta(1 + 2 * bias, 3 - 2 * bias, count), 0, 1)).astype(int))
    return [(one, int(rng.integers(2))) for one in space.architectures(np.array(choices))]


def _evaluation(
    architecture: Architecture,
    place: int,
    space: SearchSpace,
    tables: Mapping[str, Mapping[str, LatencyTable]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    operators = space.operators(architecture)
    macs = sum(space.counts[operator].macs for operator in operators)
    error = 0.055 + 0.16 * (macs / 1e6) ** -0.75 + 0.006 * abs(rng.normal()) + 0.004 * (1 - place)
    values = {"error": round(float(error), 4)}
    for device in DEVICES:
        values[f"latency_ms@{device}"] = tables[device][PRECISIONS[place]].predict_ms(operators)
    choices = [*architecture.choices, place]
    return {
        "architecture": {"space": space.name, "choices": choices},
        "values": values,
        "seconds": round(float(rng.uniform(0.6, 1.4)), 3),
    }


def _write_search(path: Path, space: SearchSpace, records: Sequence[Any], front: Sequence[Any]) -> None:
    names = ["error", *(f"latency_ms@{device}" for device in DEVICES)]
    units = ["fraction", "ms", "ms"]
    objectives = [
        {"name": name, "unit": unit, "direction": "minimize"} for name, unit in zip(names, units, strict=True)
    ]
    _write(path / "front.json", schema_version=1, objectives=objectives, evaluations=list(front))
    _write_lines(path / "evaluations.jsonl", [{"schema_version": 1, "space": space.name}, *records])
    progress = [
        {
            "generation": number,
            "evaluations": 12 * number,
            "hypervolume": round(0.93 * (1 - 0.75 * 0.8**number), 4),
            "front_size": min(len(front), 6 + 2 * number),
            "seconds": 13.5 * number + 0.2 * number**2,
        }
        for number in range(1, 21)
    ]
    _write_lines(path / "search_log.jsonl", progress)
    stages = {
        "profiling": 410.2,
        "training": 2220.0,
        "searching": 348.0,
        "exporting": 512.5,
        "verifying": 96.0,
        "comparing": 820.0,
    }
    lines: list[dict[str, Any]] = [{"stage": name, "seconds": seconds} for name, seconds in stages.items()]
    lines[2]["images"] = 5000
    _write_lines(path / "stages.jsonl", lines)


def _model(
    number: int,
    record: Mapping[str, Any],
    space: SearchSpace,
    tables: Mapping[str, Mapping[str, LatencyTable]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    *choices, place = record["architecture"]["choices"]
    architecture = space.architecture(choices)
    operators = space.operators(architecture)
    counts = [space.counts[operator] for operator in operators]
    parameters = sum(one.parameters for one in counts)
    accuracy = 1 - record["values"]["error"] + 0.008 + 0.004 * (1 - place)
    files = []
    for precision in PRECISIONS:
        latency: dict[str, Any] = {}
        for device in DEVICES:
            predicted = tables[device][precision].predict_ms(operators)
            measured = predicted * (1 + 0.02 * float(rng.normal()))
            latency[device] = {
                "predicted_ms": predicted,
                "predicted_interval_ms": [0.985 * predicted, 1.015 * predicted],
                "measured_ms": measured,
                "measured_ci95_ms": [0.994 * measured, 1.006 * measured],
                "not_measured": None,
            }
        drop = 0.0 if precision == "fp32" else float(abs(rng.normal(0.003, 0.002)))
        for image_input in (False, True):
            files.append(
                {
                    "file": f"models/winner-{number}/{precision}{'-image' if image_input else ''}.onnx",
                    "precision": precision,
                    "image_input": image_input,
                    "size_bytes": parameters * (4 if precision == "fp32" else 1) + 20_000,
                    "peak_memory_bytes": 38_000_000 + 4 * parameters,
                    "test_accuracy": round(accuracy - drop, 4),
                    "max_abs_difference": 2.4e-6 if precision == "fp32" else 0.31,
                    "same_class": 1.0 if precision == "fp32" else 0.987,
                    "latency": latency,
                }
            )
    return {
        "name": f"winner-{number}",
        "bundle": f"models/winner-{number}",
        "architecture": record["architecture"],
        "description": space.describe(architecture),
        "validation_error": record["values"]["error"],
        "macs": sum(one.macs for one in counts),
        "parameters": parameters,
        "precision": PRECISIONS[place],
        "on_front": number != 4,
        "files": files,
    }


def _baseline(
    name: str, accuracy: float, macs: float, parameters: float, ms: float, *, rng: np.random.Generator
) -> Any:
    latency = {}
    for device, factor in (("local-cpu", 1.0), ("rpi4", float(rng.uniform(9, 13)))):
        latency[device] = {"measured_ms": factor * ms, "measured_ci95_ms": [0.99 * factor * ms, 1.01 * factor * ms]}
    file = f"baselines/{name.split()[0]}.onnx"
    return {"name": name, "file": file, "test_accuracy": accuracy, "macs": macs, "parameters": parameters,
            "size_bytes": 4 * parameters, "latency": latency}  # fmt: skip


def _round(number: int) -> dict[str, Any]:
    errors = {"local-cpu": 0.034 * 0.55**number, "rpi4": 0.081 * 0.45**number}
    outside = {"local-cpu": max(0, 2 - number), "rpi4": max(0, 4 - 2 * number)}
    models = [{"architecture": {"space": "mobilenetv3", "choices": [0]}, "precision": "fp32", "latency": {}}] * 6
    return {"round": number + 1, "evaluations": 240 + 40 * number, "median_error": errors, "outside_interval": outside,
            "models": models}  # fmt: skip


def _write(path: Path, **document: Any) -> None:
    path.write_text(json.dumps(document))


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
