"""What int8 costs and gains over the winners of a run, and how long exporting, verifying and measuring them takes.

The run is copied first. Its winners are exported in both precisions, trained as run.toml says, which is not timed; then
their model files are deleted, and exporting them again, without a training, and verifying them is timed. A winner's int8 is
compared with its own fp32: accuracies of the files on the test part, latencies measured in turns within one call.

Example: python tools/benchmark_bundles.py runs/my --winners 10 --json bundles.json
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas import export, verify
from hwnas.api.run_folder import open_run
from hwnas.devices.environment import cpu_name

PRECISIONS: Final = ("fp32", "int8")
GAIN: Final = 1.3
"""Where the table says that int8 is faster by this factor, it is to be measured."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder that was searched")
    parser.add_argument("--winners", type=int, default=10)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def measure(run: Path, winners: int) -> dict[str, Any]:
    """Seconds of exporting and of verifying, and the rows of `compare_precisions`, in a copy of `run`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy)
        bundles = export(copy, winners=winners, precisions=PRECISIONS)
        for path in (file for bundle in bundles for file in bundle.glob("*.onnx")):
            path.unlink()
        began = time.perf_counter()
        export(copy, winners=winners, precisions=PRECISIONS)
        exported = time.perf_counter()
        verification = verify(copy)
        verified = time.perf_counter()
        test_images = len(open_run(copy).data.test)
    return {
        "run": run.name,
        "winners": len(bundles),
        "test_images": test_images,
        "exporting_seconds": exported - began,
        "verifying_and_measuring_seconds": verified - exported,
        "precisions": compare_precisions(verification),
        "environment": {"cpu": cpu_name(), "machine": platform.machine(), "python": platform.python_version()},
    }


def compare_precisions(verification: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each winner and device what int8 costs in accuracy (points) and gains in latency, foretold and measured."""
    rows = []
    for model in verification["models"]:
        files = {one["precision"]: one for one in model["files"] if one["file"].endswith(f"/{one['precision']}.onnx")}
        if not set(PRECISIONS) <= files.keys():
            continue
        fp32, int8 = (files[precision] for precision in PRECISIONS)
        for device in fp32["latency"].keys() & int8["latency"].keys():
            float_ms, int_ms = (one["latency"][device] for one in (fp32, int8))
            if float_ms["measured_ms"] is None or int_ms["measured_ms"] is None:
                continue
            foretold = float_ms["predicted_ms"] is not None and int_ms["predicted_ms"] is not None
            rows.append(
                {
                    "name": model["name"],
                    "device": device,
                    "fp32_accuracy": fp32["test_accuracy"],
                    "drop_points": 100 * (fp32["test_accuracy"] - int8["test_accuracy"]),
                    "fp32_same_class": fp32["same_class"],
                    "fp32_ms": float_ms["measured_ms"],
                    "int8_ms": int_ms["measured_ms"],
                    "gain": float_ms["measured_ms"] / int_ms["measured_ms"],
                    "foretold_gain": float_ms["predicted_ms"] / int_ms["predicted_ms"] if foretold else None,
                    "errors": [one["predicted_ms"] / one["measured_ms"] - 1 for one in (float_ms, int_ms)]
                    if foretold
                    else None,
                }
            )
    return rows


def summary(found: Mapping[str, Any]) -> list[str]:
    """The figures in sentences."""
    rows = found["precisions"]
    said = [
        f"{found['winners']} winners in {' and '.join(PRECISIONS)}: exporting {found['exporting_seconds']:.0f} s, "
        f"verifying on {found['test_images']} test images and measuring {found['verifying_and_measuring_seconds']:.0f} s"
    ]
    if not rows:
        return said
    drops = np.array([row["drop_points"] for row in rows])
    said.append(
        f"int8 drops at most 0.5 points in {np.mean(drops <= 0.5):.0%} of {len(rows)}: "
        f"median {np.median(drops):.2f}, worst {drops.max():.2f}"
    )
    gaining = [row for row in rows if row["foretold_gain"] is not None and row["foretold_gain"] >= GAIN]
    if gaining:
        kept = sum(row["gain"] >= GAIN for row in gaining)
        said.append(
            f"where the tables say at least {GAIN} times faster, it is in {kept} of {len(gaining)}: "
            f"{min(row['gain'] for row in gaining):.2f} to {max(row['gain'] for row in gaining):.2f} times"
        )
    errors = np.array([row["errors"] for row in rows if row["errors"] is not None])
    if len(errors):
        for precision, column in zip(PRECISIONS, np.abs(errors).T, strict=True):
            said.append(
                f"{precision} latencies are foretold within {column.mean():.1%} on average, {column.max():.1%} at worst"
            )
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    given = parse(arguments)
    found = measure(given.run, given.winners)
    print("\n".join(summary(found)))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
