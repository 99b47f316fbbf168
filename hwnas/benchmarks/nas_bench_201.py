"""NAS-Bench-201's published accuracies (Dong & Yang, ICLR 2020), and latencies of its networks on 21 devices.

Accuracies by way of NATS-Bench and its redistributions, latencies measured for HELP (Lee et al., NeurIPS 2021) and, on the
Raspberry Pi and two accelerators, for HW-NAS-Bench (Li et al., ICLR 2021); data/README.md tells sources and licences.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from hwnas.benchmarks.benchmark import LATENCY, Benchmark, FloatArray
from hwnas.benchmarks.table import Records, Table, require_data_set
from hwnas.spaces import NASBench201
from hwnas.spaces.nas_bench_201 import OPTIONS

__all__ = ["load_nas_bench_201"]


@dataclass(frozen=True)
class DataSet:
    """What the networks were trained on: its name for a person, the columns' prefix, the images, and how many times as long
    as on CIFAR-10 each training took (so published, to the last digit)."""

    title: str
    prefix: str
    input_shape: tuple[int, int, int]
    num_classes: int
    times: float


DATA_SETS: Final = {
    "cifar10": DataSet("CIFAR-10", "c10", (3, 32, 32), 10, 1.0),
    "cifar100": DataSet("CIFAR-100", "c100", (3, 32, 32), 100, 2.0),
    "imagenet16-120": DataSet("ImageNet16-120", "in16", (3, 16, 16), 120, 6.068),
}
DIGITS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""What the digits of the column `ops` stand for."""
MAX_ERROR: Final = 0.6
"""From which on an architecture is not considered: it has hardly learned."""
NOTES: Final = (
    "An error is one less the mean validation accuracy of two or three trainings of 200 epochs; train_seconds are of one",
    "The 341 cells that lead nothing to their output, and architectures with an error of 0.6 or more, are not considered",
    "essential_ph_1, pixel2 and samsung_s7 are timed in whole milliseconds; eyeriss and fpga look computed, not measured",
)


def load_nas_bench_201(data_set: str | None = None, *, table: Path | None = None) -> Benchmark:
    """All 15,625 architectures of nas_bench_201 in the order of the table, trained alone on one of three data sets.

    Its records are the validation error after 200 epochs ("error"), those after 12 of a training of 12 epochs on the
    validation part and on the test part ("error_12_epochs", "error_12_epochs_test"), "train_seconds", "parameters", "macs",
    and the latencies of 21 devices.

    Args:
        data_set: "cifar10" (the default), "cifar100" or "imagenet16-120".
        table: a csv of the published columns, of which `ops` and the accuracy after 200 epochs on that data set must be
            there, to be read in place of the published one; it may have fewer rows, missing values, and other devices in
            columns lat_<device>_ms.

    Raises:
        UnknownNameError: no such data set.
        StoredFileError: `table` cannot be read; it names the line.
    """
    chosen = require_data_set("nas_bench_201", data_set, tuple(DATA_SETS))
    data = DATA_SETS[chosen]
    rows = Table.packed("nas_bench_201", key="ops") if table is None else Table.read(table, key="ops")
    space = NASBench201(data.input_shape, data.num_classes)
    choices_NV = np.array([OPTIONS.index(name) for name in DIGITS])[rows.digits(variables=6, options=len(DIGITS))]
    columns = {"error": "val200_mean", "error_12_epochs": "val12", "error_12_epochs_test": "test12"}
    makers: dict[str, Callable[[], FloatArray]] = {
        record: partial(_error, rows, f"{data.prefix}_{column}")
        for record, column in columns.items()
        if record == "error" or f"{data.prefix}_{column}" in rows
    }
    counts = {"parameters": f"{data.prefix}_params_m", "macs": f"{data.prefix}_macs_m"}
    makers |= {record: partial(_count, rows, column) for record, column in counts.items() if column in rows}
    if "c10_train_time_s" in rows:
        makers["train_seconds"] = lambda: data.times * rows.numbers("c10_train_time_s")
    makers |= {LATENCY + device: partial(rows.numbers, column) for device, column in rows.devices.items()}
    records: Mapping[str, FloatArray] = Records(makers)
    if table is not None:
        records = dict(records)  # so that what is wrong in it is said now
    considered_N = space.is_connected(choices_NV) & (records["error"] < MAX_ERROR)
    return Benchmark(
        "nas_bench_201", data.title, space, choices_NV, records, chosen, tuple(DATA_SETS), considered_N, notes=NOTES
    )


def _error(rows: Table, column: str) -> FloatArray:
    """The errors of a column of accuracies in percent, as fractions."""
    error_N: FloatArray = 1 - rows.numbers(column, high=100) / 100
    return error_N


def _count(rows: Table, column: str) -> FloatArray:
    """The whole numbers that a column of millions was rounded from."""
    count_N: FloatArray = np.round(1e6 * rows.numbers(column))
    return count_N
