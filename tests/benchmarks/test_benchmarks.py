"""How benchmarks are found, by name and by space."""

from importlib.resources import files
from pathlib import Path

import pytest

from hwnas.benchmarks import BENCHMARKS, find_benchmark, load_benchmark
from hwnas.errors import StoredFileError, UnknownNameError
from hwnas.spaces import MobileNetV3, NASBench201, NASBenchMacro, SearchSpace


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_has_the_name_that_it_is_listed_under(name: str) -> None:
    found = load_benchmark(name)
    assert (found.name, found.data_set) == (name, found.data_sets[0])
    assert "error" in found.records


@pytest.mark.parametrize(
    ("name", "data_set", "said"),
    [
        ("nas_bench_macr", None, r"^benchmark 'nas_bench_macr' does not exist\. Did you mean 'nas_bench_macro'"),
        (
            "nas_bench_201",
            "cifar1000",
            r"data set of nas_bench_201 'cifar1000' does not exist\. Did you mean 'cifar100'",
        ),
        ("nas_bench_macro", "cifar100", "data set of nas_bench_macro 'cifar100' does not exist"),
        ("ofa_mobilenetv3", "cifar10", "data set of ofa_mobilenetv3 'cifar10' does not exist"),
    ],
)
def test_an_unknown_name_names_the_nearest(name: str, data_set: str | None, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        load_benchmark(name, data_set)


@pytest.mark.parametrize("name", ["nas_bench_201", "nas_bench_macro"])
def test_a_table_that_does_not_exist_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match=r"mine\.csv must be a table, but it does not exist"):
        load_benchmark(name, table=tmp_path / "mine.csv")


@pytest.mark.parametrize(
    ("space", "data"),
    [
        (NASBenchMacro(), "CIFAR-10"),
        (NASBench201(), "CIFAR-10"),
        (NASBench201((3, 32, 32), 100), "CIFAR-100"),
        (NASBench201((3, 16, 16), 120), "ImageNet16-120"),
    ],
)
def test_a_benchmark_is_found_for_its_own_space(space: SearchSpace, data: str) -> None:
    found = find_benchmark(space)
    assert found is not None
    assert (found.name, found.data) == (space.name, data)
    assert found.space.identity() == space.identity()


@pytest.mark.parametrize(
    "space",
    [
        NASBenchMacro((3, 28, 28), 10),
        NASBenchMacro((3, 32, 32), 100),
        NASBench201((3, 16, 16), 10),
        NASBench201(cells=4),
        MobileNetV3((3, 32, 32), 10),
        MobileNetV3((3, 224, 224), 1000),  # those of ofa_mobilenetv3 were not trained alone
    ],
)
def test_other_spaces_have_none(space: SearchSpace) -> None:
    assert find_benchmark(space) is None


def test_sources_and_licences_are_told_of_every_file() -> None:
    folder = files("hwnas.benchmarks").joinpath("data")
    told = folder.joinpath("README.md").read_text(encoding="utf-8").splitlines()
    tables = [one.name for one in folder.iterdir() if one.name.endswith(".gz")]
    assert len(tables) == 5
    for name in tables:
        [line] = [line for line in told if line.startswith(f"| `{name}` |")]
        assert "Apache License 2.0" in line or "MIT License" in line
        assert "https://" in line
