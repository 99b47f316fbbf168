"""How true a latency table is: profiles a space, calibrates, then measures networks that the table has never seen.

Prints what it found, and writes it as JSON. The measured latency of a test network is the mean of two measurements that
are minutes apart; `noise_ceiling` is how far these two are from each other.
"""

import argparse
import json
import logging
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.devices import Host, MeasurementPlan, connect, load_device, measure
from hwnas.latency import LatencyTable, TableIdentity, agreement, load_table, profile_space, table_path
from hwnas.latency.costing import macs_of
from hwnas.latency.models import SENTINELS, MeasuredModels, network_name, sentinel_networks
from hwnas.spaces import Architecture, SearchSpace, make_space


def main() -> None:
    """Runs the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _options()
    device = load_device(options.device)
    device = replace(device, num_threads=options.num_threads)
    if options.runtime:
        device = replace(device, runtimes=(options.runtime,))
    shape = tuple(int(size) for size in options.input_shape.split("x"))
    space = make_space(options.space, input_shape=(shape[0], shape[1], shape[2]), num_classes=options.num_classes)
    plan = MeasurementPlan(seconds=options.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.tables or scratch)
        identity = TableIdentity.of(device, space, precision=options.precision)
        path = table_path(folder, identity, space)
        began = time.monotonic()
        table = profile_space(
            device,
            space,
            path=path,
            precision=options.precision,
            carriers=options.carriers,
            calibration_networks=options.calibration_networks,
            plan=plan,
            seed=options.seed,
        )
        seconds = time.monotonic() - began
        known = {one.choices for one in load_table(path).networks}
        unseen = choose_unseen(space, options.test_networks, known, seed=options.seed)
        with connect(device) as host:
            models = MeasuredModels(
                space, Path(scratch) / "models", precision=options.precision, symmetric=host.symmetric_int8
            )
            measured = [measured_ms(host, space, table, models, unseen, plan, seed=seed) for seed in (1, 2)]
            environment = host.fingerprint()
    found = compare(table, space, unseen, *measured)
    document = {"seconds": round(seconds, 1), **found, "options": vars(options), "environment": environment}
    for key, value in document.items():
        print(f"{key:28s} {value}")
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def choose_unseen(space: SearchSpace, count: int, known: set[tuple[int, ...]], *, seed: int) -> list[Architecture]:
    """Uniformly random networks that are not among `known`."""
    rng = np.random.default_rng([seed, 2])
    drawn = dict.fromkeys(space.sample(rng) for _ in range(20 * count))
    sentinels = sentinel_networks(space, SENTINELS)
    return [one for one in drawn if one.choices not in known and one not in sentinels][:count]


def measured_ms(
    host: Host,
    space: SearchSpace,
    table: LatencyTable,
    models: MeasuredModels,
    networks: list[Architecture],
    plan: MeasurementPlan,
    *,
    seed: int,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The latencies of `networks` at the speed that the table was measured at."""
    sentinels = sentinel_networks(space, SENTINELS)
    found = measure(
        host,
        models.networks([*sentinels, *networks]),
        plan=plan,
        sentinels=[network_name(one) for one in sentinels],
        references_ms=table.sentinels_ms,
        seed=seed,
    )
    for flag in found.flags:
        logging.warning("test networks: %s", flag)
    return np.array([found.measurements[network_name(one)].latency_ms for one in networks])


def compare(
    table: LatencyTable,
    space: SearchSpace,
    networks: list[Architecture],
    first_ms: np.ndarray[Any, np.dtype[np.float64]],
    second_ms: np.ndarray[Any, np.dtype[np.float64]],
) -> dict[str, Any]:
    """The figures of `table` on networks that it has not seen."""
    measured = (first_ms + second_ms) / 2
    walks = [space.operators(one) for one in networks]
    predicted = np.array([table.predict_ms(walk) for walk in walks])
    sums = np.array([sum(table.entries[operator].latency_ms for operator in walk) for walk in walks])
    alone = np.array(
        [sum(table.entries[one].conditions.get("between_contexts_ms", np.nan) for one in walk) for walk in walks]
    )
    intervals = [table.interval_ms(walk, level=0.9) for walk in walks]
    covered = [low <= value <= high for value, (low, high) in zip(measured, filter(None, intervals), strict=False)]
    calibrated, raw = agreement(predicted, measured), agreement(sums, measured)
    ceiling = agreement(first_ms, second_ms)
    return {
        "networks": len(networks),
        "mean_error": calibrated.mean_error,
        "within_5": calibrated.within_5,
        "within_10": calibrated.within_10,
        "spearman": calibrated.spearman,
        "kendall": calibrated.kendall,
        "bias": float(np.mean(predicted / measured - 1)),
        "uncalibrated_mean_error": raw.mean_error,
        "uncalibrated_spearman": raw.spearman,
        "interval_coverage": float(np.mean(covered)) if covered else None,
        "interval_half_width": table.calibration.half_width(0.9),
        "noise_ceiling": ceiling.mean_error,
        "noise_ceiling_spearman": ceiling.spearman,
        "macs_spearman": agreement(macs_of(space, networks), measured).spearman,
        "in_context_mean_error": agreement(alone, measured).mean_error,
        "in_context_spearman": agreement(alone, measured).spearman,
        "measured_ms_range": [float(measured.min()), float(np.median(measured)), float(measured.max())],
        "calibration": asdict(table.calibration),
        "weights": dict(table.weights),
        "flags": list(table.flags),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", default=None, help="file to write the figures to")
    parser.add_argument("--device", default="local-cpu", help="device")
    parser.add_argument("--space", default="mobilenetv3", help="search space")
    parser.add_argument("--input-shape", default="3x160x160", help="channels x height x width")
    parser.add_argument("--num-classes", type=int, default=1000, help="number of logits")
    parser.add_argument("--runtime", default=None, help="runtime; default: the device's preferred one")
    parser.add_argument("--precision", default="fp32", help="fp32, fp16 or int8")
    parser.add_argument("--num-threads", type=int, default=1, help="threads of one inference")
    parser.add_argument("--carriers", type=int, default=40, help="networks that costs are fitted on")
    parser.add_argument("--calibration-networks", type=int, default=10, help="networks that calibrate the table")
    parser.add_argument("--test-networks", type=int, default=50, help="unseen networks")
    parser.add_argument("--seconds", type=float, default=50.0, help="of each phase of measurement, at most")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--tables", default=None, help="folder that keeps the table; default: none is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
