"""Published tables: spaces whose architectures others have trained, with what they recorded, as objectives of a search."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from hwnas.benchmarks.benchmark import Benchmark, Scale
from hwnas.benchmarks.nas_bench_201 import load_nas_bench_201
from hwnas.benchmarks.nas_bench_macro import load_nas_bench_macro
from hwnas.benchmarks.ofa_mobilenetv3 import load_ofa_mobilenetv3
from hwnas.benchmarks.truth import Truth
from hwnas.errors import UnknownNameError
from hwnas.spaces import SearchSpace

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Scale",
    "Truth",
    "find_benchmark",
    "load_benchmark",
    "load_nas_bench_201",
    "load_nas_bench_macro",
    "load_ofa_mobilenetv3",
]

BENCHMARKS: Final[dict[str, Callable[..., Benchmark]]] = {
    "nas_bench_201": load_nas_bench_201,
    "nas_bench_macro": load_nas_bench_macro,
    "ofa_mobilenetv3": load_ofa_mobilenetv3,
}
"""What loads each benchmark."""


def load_benchmark(name: str, data_set: str | None = None, *, table: Path | None = None) -> Benchmark:
    """The benchmark of that name.

    Args:
        name: a key of BENCHMARKS.
        data_set: one of its `data_sets`; None: the first.
        table: a csv, gzipped or not, of the published columns, to be read in place of the published one.

    Raises:
        UnknownNameError: no such benchmark, or no such data set; it names the nearest.
        StoredFileError: `table` cannot be read; it names the line.
    """
    if name not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name](data_set, table=table)


def find_benchmark(space: SearchSpace) -> Benchmark | None:
    """The benchmark whose networks, of exactly this space, input shape and number of classes, were trained alone.

    It has the name of the space; None where there is none.
    """
    if space.name not in BENCHMARKS:
        return None
    every = (load_benchmark(space.name, data_set) for data_set in load_benchmark(space.name).data_sets)
    return next((found for found in every if found.space.identity() == space.identity()), None)
