"""How many random architectures a second are scored by the cheap objectives: MACs, parameters and latency together.

Usage: python tools/benchmark_scoring.py [--architectures 1000000] [--repeats 5] [--json FILE]

One core. The latency costs are random numbers in a table of the right size: scoring does not look at their values. Prints
JSON: the fastest and the median of the repeats, with and without drawing the architectures.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from hwnas import objectives
from hwnas.devices.environment import cpu_name
from hwnas.spaces import make_space


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    space = make_space("mobilenetv3")
    rng = np.random.default_rng(0)
    cheap = [
        objectives.macs(space),
        objectives.parameters(space),
        objectives.Objective("latency_ms@random", "ms", lambda _: [], rng.random(len(space.all_operators()))),
    ]
    scoring, with_drawing = [], []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        choices_NV = space.sample_choices(arguments.architectures, rng=rng)
        drawn = time.perf_counter()
        objectives.score_choices(space, cheap, choices_NV)
        end = time.perf_counter()
        scoring.append(end - drawn)
        with_drawing.append(end - start)
    count = arguments.architectures
    result = {
        "space": space.name,
        "architectures": count,
        "objectives": [objective.name for objective in cheap],
        "architectures_per_second": count / statistics.median(scoring),
        "architectures_per_second_best": count / min(scoring),
        "architectures_per_second_with_drawing": count / statistics.median(with_drawing),
        "repeats": arguments.repeats,
        "cpu": cpu_name(),
        "cores_used": 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
