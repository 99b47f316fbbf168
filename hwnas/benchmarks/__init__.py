"""Published tables: spaces whose architectures others have trained, with what they recorded."""

from collections.abc import Callable
from typing import Final

from hwnas.benchmarks.benchmark import Benchmark
from hwnas.benchmarks.nas_bench_macro import load_nas_bench_macro
from hwnas.spaces import SearchSpace

__all__ = ["BENCHMARKS", "Benchmark", "find_benchmark", "load_nas_bench_macro"]

BENCHMARKS: Final[dict[str, Callable[[], Benchmark]]] = {
    "nas_bench_macro": load_nas_bench_macro,
}
"""What loads each benchmark, by the name of its space."""


def find_benchmark(space: SearchSpace) -> Benchmark | None:
    """The benchmark of exactly this space, its input shape and number of classes included; None where there is none."""
    load = BENCHMARKS.get(space.name)
    benchmark = None if load is None else load()
    return benchmark if benchmark is not None and benchmark.space.identity() == space.identity() else None
