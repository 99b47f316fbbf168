"""Whether the tables of several runtimes rank them as whole networks do.

Usage: python tools/benchmark_runtimes.py [--runtimes onnxruntime-cpu openvino-cpu] [--json FILE]

Profiles a space on one device with each runtime, then measures the same unseen networks with each, and says for how many
networks the table names the faster runtime, and how far the predicted ratio of latencies is from the measured one.
"""

import argparse
import itertools
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_latency import choose_unseen, measured_ms

from hwnas.devices import MeasurementPlan, connect, load_device
from hwnas.latency import TableIdentity, profile_space, table_path
from hwnas.latency.models import MeasuredModels
from hwnas.spaces import make_space


def main() -> None:
    """Runs the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime-cpu", "openvino-cpu"])
    parser.add_argument("--device", default="local-cpu")
    parser.add_argument("--input-shape", default="3x160x160")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    channels, height, width = map(int, options.input_shape.split("x"))
    space = make_space("mobilenetv3", input_shape=(channels, height, width), num_classes=1000)
    plan = MeasurementPlan(seconds=options.seconds)
    tables, measured, predicted = {}, {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.runtimes:
            device = load_device(options.device).with_runtime(name)
            path = table_path(Path(scratch), TableIdentity.of(device, space), space)
            tables[name] = profile_space(device, space, path=path, calibration_networks=10, plan=plan)
        known = {one.choices for table in tables.values() for one in table.networks}
        networks = choose_unseen(space, options.networks, known, seed=0)
        for name, table in tables.items():
            with connect(load_device(options.device).with_runtime(name)) as host:
                models = MeasuredModels(space, Path(scratch) / "models")
                measured[name] = measured_ms(host, space, table, models, networks, plan, seed=1)
            predicted[name] = np.array([table.predict_ms(space.operators(one)) for one in networks])
    document: dict[str, Any] = {"networks": len(networks), "pairs": {}}
    for first, second in itertools.combinations(options.runtimes, 2):
        foretold, found = predicted[first] / predicted[second], measured[first] / measured[second]
        document["pairs"][f"{first} / {second}"] = {
            "measured_ratio": float(np.median(found)),
            "predicted_ratio": float(np.median(foretold)),
            "same_runtime_named_faster": float(np.mean((foretold > 1) == (found > 1))),
            "mean_error_of_ratio": float(np.mean(np.abs(foretold / found - 1))),
            "ratios_measured": [float(found.min()), float(found.max())],
        }
    print(json.dumps(document, indent=2))
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
