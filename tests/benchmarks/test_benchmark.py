"""A benchmark of made-up records of the toy space."""

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark
from hwnas.errors import ArchitectureError, UnknownNameError
from hwnas.objectives import choices_of
from hwnas.spaces import Architecture
from hwnas.testing import ToySpace


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    space = ToySpace()
    choices_NV = choices_of(space.everything())[:-1]
    return Benchmark(
        "toys", "toy data", space, choices_NV, {"error": np.arange(len(choices_NV)) / 100, "other": -choices_NV[:, 0]}
    )


def test_values_are_those_of_the_architectures(benchmark: Benchmark) -> None:
    members = benchmark.space.architectures(benchmark.choices_NV)
    assert benchmark.values("error", [members[7], members[3], members[7]]).tolist() == [0.07, 0.03, 0.07]
    assert benchmark.values("other", members).tolist() == benchmark.records["other"].tolist()
    assert benchmark.values("error", []).tolist() == []


def test_a_record_is_an_objective(benchmark: Benchmark) -> None:
    objective = benchmark.objective("error", unit="fraction")
    members = benchmark.space.architectures(benchmark.choices_NV[:3])
    assert objective.evaluate(members) == [0.0, 0.01, 0.02]
    assert (objective.name, objective.unit, objective.cost) == ("error", "fraction", "expensive")


def test_what_was_not_recorded_is_an_error(benchmark: Benchmark) -> None:
    largest = benchmark.space.largest()
    with pytest.raises(ArchitectureError, match=f"one of the 83 of toy that were recorded, but .*{largest.choices[0]}"):
        benchmark.values("error", [largest])
    with pytest.raises(ArchitectureError, match="one of the 83 of toy"):
        benchmark.values("error", [Architecture("another", benchmark.space.smallest().choices)])


def test_an_unknown_record_names_the_nearest(benchmark: Benchmark) -> None:
    with pytest.raises(UnknownNameError, match=r"record of toys 'eror' does not exist\. Did you mean 'error'"):
        benchmark.objective("eror", unit="fraction")
