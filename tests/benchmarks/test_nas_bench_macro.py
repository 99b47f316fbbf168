"""The published table of NAS-Bench-Macro, and how benchmarks are found."""

from importlib.resources import files

import numpy as np
import pytest

from hwnas.benchmarks import BENCHMARKS, Benchmark, find_benchmark, load_nas_bench_macro
from hwnas.spaces import MobileNetV3, NASBenchMacro


@pytest.fixture(scope="module")
def published() -> Benchmark:
    return load_nas_bench_macro()


def test_every_architecture_is_there_in_the_order_of_its_choices(published: Benchmark) -> None:
    every = np.indices((3,) * 8).reshape(8, -1).T
    np.testing.assert_array_equal(published.choices_NV, every)
    assert {record: values.shape for record, values in published.records.items()} == dict.fromkeys(
        ["test_accuracy_1", "test_accuracy_2", "test_accuracy_3", "test_accuracy", "error", "parameters", "macs"],
        (6561,),
    )


def test_the_best_is_the_published_one(published: Benchmark) -> None:
    """22212202 at 93.13 %."""
    best = published.records["test_accuracy"].argmax()
    assert published.choices_NV[best].tolist() == [2, 2, 2, 1, 2, 2, 0, 2]
    assert published.records["test_accuracy"][best] == pytest.approx(0.9313, abs=5e-5)
    assert published.records["error"].argmin() == best


def test_an_architecture_has_its_own_record(published: Benchmark) -> None:
    """The second row of the published file."""
    architecture = published.space.architecture([0, 0, 0, 0, 0, 0, 0, 1])
    recorded = {record: published.values(record, [architecture])[0] for record in published.records}
    assert recorded == pytest.approx(
        {
            "test_accuracy_1": 0.6434,
            "test_accuracy_2": 0.6421,
            "test_accuracy_3": 0.6412,
            "test_accuracy": 0.642233,
            "error": 0.357767,
            "parameters": 791_594,
            "macs": 14_115_328,
        },
        rel=1e-5,
    )


def test_a_benchmark_is_found_for_its_own_space_alone() -> None:
    found = find_benchmark(NASBenchMacro())
    assert found is not None
    assert (found.name, found.data) == ("nas_bench_macro", "CIFAR-10")
    assert find_benchmark(NASBenchMacro((3, 28, 28), 10)) is None
    assert find_benchmark(NASBenchMacro((3, 32, 32), 100)) is None
    assert find_benchmark(MobileNetV3((3, 32, 32), 10)) is None


@pytest.mark.parametrize("name", BENCHMARKS)
def test_its_source_and_licence_are_told(name: str) -> None:
    told = files("hwnas.benchmarks").joinpath("data/README.md").read_text(encoding="utf-8")
    assert any(f"`{name}.csv.gz`" in line and "Apache" in line for line in told.splitlines())
    assert BENCHMARKS[name]().space.name == name
