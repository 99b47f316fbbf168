"""NAS-Bench-Macro's published accuracies (Su et al., CVPR 2021): the truth to hold a supernet's ranking against.

The table is NAS-Bench-Macro's, Copyright 2021 Xiu Su, Apache License 2.0; data/README.md tells its source.
"""

from pathlib import Path
from typing import Final

from hwnas.benchmarks.benchmark import LATENCY, Benchmark
from hwnas.benchmarks.table import Table, require_data_set
from hwnas.spaces import NASBenchMacro

__all__ = ["load_nas_bench_macro"]

DATA_SETS: Final = ("cifar10",)
RUNS: Final = (1, 2, 3)


def load_nas_bench_macro(data_set: str | None = None, *, table: Path | None = None) -> Benchmark:
    """All 6,561 architectures of nas_bench_macro in the order of their names, trained alone on CIFAR-10.

    Its records are the test accuracies of three trainings ("test_accuracy_1" to "test_accuracy_3"), their mean
    ("test_accuracy"), one less that ("error"), "parameters" and "macs".

    Args:
        data_set: "cifar10", the only one.
        table: a csv of the published columns, of which `arch` and `mean_acc` must be there, to be read in place of the
            published one; it may have fewer rows, missing values, and latencies of devices in columns lat_<device>_ms.

    Raises:
        UnknownNameError: no such data set.
        StoredFileError: `table` cannot be read; it names the line.
    """
    chosen = require_data_set("nas_bench_macro", data_set, DATA_SETS)
    rows = Table.packed("nas_bench_macro", key="arch") if table is None else Table.read(table, key="arch")
    space = NASBenchMacro()
    columns = {f"test_accuracy_{run}": f"acc_run{run - 1}" for run in RUNS if f"acc_run{run - 1}" in rows}
    accuracies = {"test_accuracy": "mean_acc", **columns}
    records = {record: rows.numbers(column, high=100) / 100 for record, column in accuracies.items()}
    records["error"] = 1 - records["test_accuracy"]
    counts = {"parameters": "params", "macs": "macs"}
    records |= {record: rows.numbers(column) for record, column in counts.items() if column in rows}
    records |= {LATENCY + device: rows.numbers(column) for device, column in rows.devices.items()}
    choices_NV = rows.digits(variables=8, options=3)
    return Benchmark("nas_bench_macro", "CIFAR-10", space, choices_NV, records, chosen, DATA_SETS)
