"""Ways to find what an operator costs inside a network, compared by how they foretell whole networks.

Usage: python tools/compare_operator_costs.py [--input-shape 3x160x160] [--rounds 40] [--networks 110] [--json FILE]

All models (operators alone, operators between contexts, contexts, networks) are loaded into ONNX Runtime on this machine's
CPU with one thread and visited together in random rounds, loaded anew every few rounds. Of each visit the first run ("cold":
other models have run since) and the later runs ("hot") are kept apart. Per-node profiles come from ONNX Runtime's profiler
on some of the networks. Each way is judged on the last 50 networks, as it is and after a scale and an overhead fitted on 10
others; the ways that fit costs on networks get the same number of carriers.
"""

import argparse
import json
import logging
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.devices import Visited, estimate, find_runtime, fingerprint, pinned
from hwnas.latency import agreement
from hwnas.latency.calibration import calibrate
from hwnas.latency.costing import counts_of, macs_of
from hwnas.latency.models import MeasuredModels, network_name, sides_of
from hwnas.latency.regression import regress_costs
from hwnas.spaces import Architecture, SearchSpace, make_space

FloatArray = npt.NDArray[np.float64]

TESTED: Final = 50
CALIBRATING: Final = 10
PROFILED: Final = 30
PROFILED_RUNS: Final = 30
RELOADED_EVERY: Final = 5


def main() -> None:
    """Runs the comparison."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-shape", default="3x160x160")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--networks", type=int, default=110)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    channels, height, width = map(int, options.input_shape.split("x"))
    space = make_space("mobilenetv3", input_shape=(channels, height, width), num_classes=1000)
    rng = np.random.default_rng(0)
    networks = [space.sample(rng) for _ in range(options.networks)]
    with tempfile.TemporaryDirectory() as folder, pinned(1):
        models = MeasuredModels(space, Path(folder))
        operators = list(space.all_operators())
        paths = {**models.probes(operators), **models.networks(networks), **models.alone(operators)}
        hot, cold, seconds = visit_all(paths, rounds=options.rounds)
        per_node, node_seconds = node_profile(
            space, networks[:PROFILED], {one: paths[network_name(one)] for one in networks}
        )
    seconds["per-node"] = node_seconds
    rows = judge(space, networks, hot, cold, per_node, seconds)
    show(rows)
    if options.json:
        document = {
            "ways": rows,
            "networks": len(networks),
            "rounds": options.rounds,
            "input_shape": options.input_shape,
        }
        document["environment"] = fingerprint(find_runtime("onnxruntime-cpu"), num_threads=1)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def visit_all(paths: dict[str, Path], *, rounds: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """The latency of each model hot and cold, in ms, and the seconds that each kind of model took."""
    runtime = find_runtime("onnxruntime-cpu")
    rng = np.random.default_rng(0)
    names = list(paths)
    seconds: dict[str, float] = defaultdict(float)
    visits: dict[str, list[tuple[Visited, Visited]]] = defaultdict(list)
    sessions: dict[str, Any] = {}
    for number in range(rounds):
        if number % RELOADED_EVERY == 0:
            sessions.clear()
            for place in rng.permutation(len(names)):
                sessions[names[place]] = runtime.load(paths[names[place]], num_threads=1)
                sessions[names[place]].time_ms(2)
        for place in rng.permutation(len(names)):
            name = names[place]
            began = time.monotonic()
            (first,) = sessions[name].time_ms(1)
            later = sessions[name].time_ms(max(3, min(12, int(np.ceil(2 / first)))))
            seconds[kind_of(name)] += time.monotonic() - began
            visits[kind_of(name)].append((Visited(name, number, tuple(later)), Visited(name, number, (first,))))
        print(f"round {number + 1} of {rounds}", end="\r", flush=True)
    hot, cold = (
        {
            name: found.latency_ms
            for kind in visits.values()
            for name, found in estimate([pair[which] for pair in kind]).measurements.items()
        }
        for which in (0, 1)
    )
    return hot, cold, dict(seconds)


def kind_of(name: str) -> str:
    """ "networks", "alone" or "in context": each kind is slowed down in its own way."""
    return "networks" if name.startswith("network ") else "alone" if name.startswith("alone ") else "in context"


def node_profile(
    space: SearchSpace, networks: list[Architecture], paths: dict[Architecture, Path]
) -> tuple[FloatArray, float]:
    """The cost of each operator as the mean over networks of what ONNX Runtime's profiler says of its nodes, in ms."""
    import onnxruntime

    place = {operator: number for number, operator in enumerate(space.all_operators())}
    found: dict[int, list[float]] = defaultdict(list)
    began = time.monotonic()
    for architecture in networks:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(paths[architecture].with_suffix(""))
        session = onnxruntime.InferenceSession(str(paths[architecture]), options, providers=["CPUExecutionProvider"])
        (node,) = session.get_inputs()
        feed = {node.name: np.random.default_rng(0).standard_normal(node.shape).astype(np.float32)}
        for _ in range(PROFILED_RUNS):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        durations: dict[tuple[int, str], list[float]] = defaultdict(list)
        last = 0
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                match = re.search(r"\bp(\d+)/", event["name"])
                last = int(match.group(1)) if match else last  # layout changes have names of their own
                durations[last, event["name"]].append(event["dur"] / 1e3)
        walk = space.operators(architecture)
        total: dict[int, float] = defaultdict(float)
        for (part, _), values in durations.items():
            total[part] += float(np.median(values))
        for part, value in total.items():
            found[place[walk[part]]].append(value)
    whole = float(np.mean([np.mean(values) for values in found.values()]))
    costs = np.array([np.mean(found[number]) if found[number] else whole for number in range(len(place))])
    return costs, time.monotonic() - began


def judge(
    space: SearchSpace,
    networks: list[Architecture],
    hot: dict[str, float],
    cold: dict[str, float],
    per_node: FloatArray,
    seconds: dict[str, float],
) -> list[dict[str, Any]]:
    """Each way with its errors on the last networks and what it cost."""
    operators = list(space.all_operators())
    counts_NO = counts_of(space, networks, operators)
    measured = np.array([hot[network_name(one)] for one in networks])
    context_hot, context_cold = (
        np.array([v[one.key] - sum(v[side] for side in sides_of(one, space)) / 2 for one in operators])
        for v in (hot, cold)
    )
    alone_hot, alone_cold = (np.array([v[f"alone {one.key}"] for one in operators]) for v in (hot, cold))
    macs = np.array([float(space.counts[one].macs) for one in operators])
    weights = np.array([space.counts[one].parameters / 1e6 for one in operators])
    network_seconds = seconds["networks"] / len(networks)
    plain = {
        "MACs alone": (macs * measured.mean() / macs_of(space, networks).mean(), 0.0),
        "alone, hot": (alone_hot, seconds["alone"]),
        "alone, cold": (alone_cold, seconds["alone"]),
        "in context, hot": (context_hot, seconds["in context"]),
        "in context, cold": (context_cold, seconds["in context"]),
        "in context, 0.4 hot + 0.6 cold": (0.4 * context_hot + 0.6 * context_cold, seconds["in context"]),
        "per-node profiles of 30 networks": (per_node, seconds["per-node"]),
    }
    rows = [row(name, costs, counts_NO, measured, cost) for name, (costs, cost) in plain.items()]
    features = {
        "carriers alone (MACs, weights)": (np.stack([macs / 1e8, weights], axis=1), 0.0),
        "alone, hot + carriers (and weights)": (np.stack([alone_hot, weights], axis=1), seconds["alone"]),
        "in context, hot + carriers": (context_hot[:, None], seconds["in context"]),
        "in context, cold + carriers": (context_cold[:, None], seconds["in context"]),
        "in context, hot + carriers (and weights)": (np.stack([context_hot, weights], axis=1), seconds["in context"]),
    }
    for carriers in (16, 32, len(networks) - TESTED - CALIBRATING):
        for name, (columns, cost) in features.items():
            fitted = regress_costs(counts_NO[:carriers], measured[:carriers], np.maximum(columns, 0))
            rows.append(
                row(
                    f"{name}, {carriers} networks",
                    fitted.costs_ms_O,
                    counts_NO,
                    measured,
                    cost + carriers * network_seconds,
                )
            )
    return rows


def row(name: str, costs: FloatArray, counts_NO: FloatArray, measured: FloatArray, seconds: float) -> dict[str, Any]:
    """The errors of a way, as it is and calibrated on the networks before the tested ones."""
    sums = counts_NO @ costs
    some = slice(len(measured) - TESTED - CALIBRATING, len(measured) - TESTED)
    operators_N = counts_NO.sum(axis=1)
    calibration, _, _ = calibrate(sums[some], measured[some], operators_N=operators_N[some], macs_N=sums[some])
    plain = agreement(sums[-TESTED:], measured[-TESTED:])
    fitted = agreement(calibration.apply(sums, operators_N)[-TESTED:], measured[-TESTED:])
    bias = float(np.mean(sums[-TESTED:] / measured[-TESTED:] - 1))
    return {
        "way": name,
        "bias": bias,
        "mean_error": plain.mean_error,
        "calibrated_mean_error": fitted.mean_error,
        "calibrated_within_5": fitted.within_5,
        "spearman": plain.spearman,
        "measuring_seconds": round(seconds, 1),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Prints the rows as a Markdown table."""
    print("| way | bias | error | calibrated error | within 5 % | Spearman | measuring, s |")
    print("|---|---|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one['way']} | {one['bias']:+.1%} | {one['mean_error']:.1%} | {one['calibrated_mean_error']:.2%} | "
            f"{one['calibrated_within_5']:.0%} | {one['spearman']:.4f} | {one['measuring_seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
