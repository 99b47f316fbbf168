"""NAS-Bench-Macro's published accuracies (Su et al., CVPR 2021): the truth to hold a supernet's ranking against.

The table is NAS-Bench-Macro's, Copyright 2021 Xiu Su, Apache License 2.0; data/README.md tells its source.
"""

import csv
import gzip
import io
from importlib.resources import files
from typing import Final

import numpy as np

from hwnas.benchmarks.benchmark import Benchmark
from hwnas.spaces import NASBenchMacro

__all__ = ["load_nas_bench_macro"]

RUNS: Final = ("acc_run0", "acc_run1", "acc_run2")


def load_nas_bench_macro() -> Benchmark:
    """All 6,561 architectures of nas_bench_macro in the order of their names, trained alone on CIFAR-10.

    Its records are the test accuracies of three trainings ("test_accuracy_1" to "test_accuracy_3"), their mean
    ("test_accuracy"), one less that ("error"), "parameters" and "macs".
    """
    packed = files("hwnas.benchmarks").joinpath("data/nas_bench_macro.csv.gz").read_bytes()
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode("ascii"))))
    accuracy_3N = np.array([[float(row[run]) for row in rows] for run in RUNS]) / 100
    records = {f"test_accuracy_{number}": accuracy_N for number, accuracy_N in enumerate(accuracy_3N, start=1)}
    records["test_accuracy"] = accuracy_3N.mean(axis=0)
    records["error"] = 1 - records["test_accuracy"]
    for record, column in (("parameters", "params"), ("macs", "macs")):
        records[record] = np.array([float(row[column]) for row in rows])
    choices_NV = np.array([[int(digit) for digit in row["arch"]] for row in rows], dtype=np.int64)
    return Benchmark("nas_bench_macro", "CIFAR-10", NASBenchMacro(), choices_NV, records)
