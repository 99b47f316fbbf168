"""A benchmark of made-up records of the toy space."""

from dataclasses import replace

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark, Scale
from hwnas.errors import ArchitectureError, SettingsError, UnknownNameError
from hwnas.objectives import choices_of, parameters, score_choices
from hwnas.spaces import Architecture


def test_values_are_those_of_the_architectures(benchmark: Benchmark) -> None:
    members = benchmark.space.architectures(benchmark.choices_NV)
    assert benchmark.values("error", [members[7], members[3], members[7]]).tolist() == [0.07, 0.03, 0.07]
    assert benchmark.values("macs", members).tolist() == benchmark.records["macs"].tolist()
    assert benchmark.values("error", []).tolist() == []


def test_positions_are_those_of_the_rows(benchmark: Benchmark) -> None:
    order = np.random.default_rng(1).permutation(len(benchmark.choices_NV))
    np.testing.assert_array_equal(benchmark.positions(benchmark.choices_NV[order].astype(np.int8)), order)
    assert benchmark.positions(choices_of([benchmark.space.largest()])).tolist() == [-1]


def test_an_error_is_expensive_and_a_latency_cheap(benchmark: Benchmark) -> None:
    objectives = benchmark.objectives(["error", "latency:board", "latency@slow_board", "macs", "train_seconds"])
    assert [(one.name, one.unit, one.cost) for one in objectives] == [
        ("error", "fraction", "expensive"),
        ("latency_ms@board", "ms", "cheap"),
        ("latency_ms@slow_board", "ms", "cheap"),
        ("macs", "MACs", "cheap"),
        ("train_seconds", "s", "expensive"),
    ]
    rows = [5, 1, 60]
    members = benchmark.space.architectures(benchmark.choices_NV[rows])
    for objective in objectives:
        assert objective.evaluate(members) == benchmark.records[objective.name][rows].tolist()
        assert objective.evaluate([]) == []
    cheap = score_choices(benchmark.space, objectives, benchmark.choices_NV[rows])
    assert {name: values.tolist() for name, values in cheap.items()} == {
        name: benchmark.records[name][rows].tolist() for name in ("latency_ms@board", "latency_ms@slow_board", "macs")
    }


def test_what_was_not_recorded_is_an_error_or_no_number(benchmark: Benchmark) -> None:
    error, latency = benchmark.objectives(["error", "latency:board"])
    largest, third, fifth = benchmark.space.largest(), *benchmark.space.architectures(benchmark.choices_NV[[2, 4]])
    with pytest.raises(ArchitectureError, match=f"one of the 83 of toy that were recorded, but .*{largest.choices[0]}"):
        error.evaluate([largest])
    with pytest.raises(ArchitectureError, match="one of the 83 of toy"):
        error.evaluate([Architecture("another", benchmark.space.smallest().choices)])
    with pytest.raises(
        ArchitectureError, match=r"^The architecture k.* must have a recorded error in toys, but there is"
    ):
        error.evaluate([fifth, third])
    np.testing.assert_array_equal(
        latency.evaluate([third, fifth, largest]), [*latency.evaluate([third]), np.nan, np.nan]
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("eror", r"objective of toys 'eror' does not exist\. Did you mean 'error'"),
        ("latency:bord", r"device of toys 'bord' does not exist\. Did you mean 'board'\? Known: board, slow_board"),
        ("latency@", "device of toys '' does not exist"),
        ("latency", r"objective of toys 'latency' does not exist\. .*latency:board"),
        ("test_accuracy", "objective of toys 'test_accuracy' does not exist"),
        ("", "objective of toys '' does not exist"),
    ],
)
def test_an_unknown_objective_names_the_nearest(benchmark: Benchmark, name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        benchmark.objectives(["error", name])


def test_an_unknown_record_names_the_nearest(benchmark: Benchmark) -> None:
    with pytest.raises(UnknownNameError, match=r"record of toys 'eror' does not exist\. Did you mean 'error'"):
        benchmark.values("eror", [])


@pytest.mark.parametrize(
    ("names", "came"),
    [([], "none came"), (["latency:board", "error", "latency@board"], "latency_ms@board comes twice")],
)
def test_objectives_are_one_or_more_each_once(benchmark: Benchmark, names: list[str], came: str) -> None:
    with pytest.raises(SettingsError, match=f"The objectives on toys must be one or more, each once, but {came}"):
        benchmark.objectives(names)


def test_devices_are_named(benchmark: Benchmark) -> None:
    assert benchmark.devices == ("board", "slow_board")


def test_only_complete_rows_are_considered(benchmark: Benchmark) -> None:
    def left_out(*names: str) -> list[int]:
        return np.flatnonzero(~benchmark.considered(benchmark.objectives(names))).tolist()

    last = [78, 79, 80, 81, 82]
    assert left_out("error") == [2, *last]
    assert left_out("error", "latency:board") == [2, 4, *last]
    assert left_out("latency:slow_board") == last
    everything = replace(benchmark, considered_N=None)
    assert everything.considered(everything.objectives(["macs"])).all()


def test_values_are_scaled_over_what_is_considered(benchmark: Benchmark) -> None:
    objectives = benchmark.objectives(["error", "macs"])
    scaled_NM = benchmark.scale(objectives)(benchmark.values_NM(objectives))
    np.testing.assert_allclose(scaled_NM[[0, 77, 82], 0], [0.0, 1.0, 82 / 77])
    assert (scaled_NM[:, 1] == 0.0).all()


def test_a_constant_objective_is_scaled_to_0() -> None:
    scale = Scale.over(np.array([[3.0, 1.0], [3.0, 2.0]]))
    assert scale(np.array([[3.0, 1.5]])).tolist() == [[0.0, 0.5]]


def test_nothing_to_consider_is_an_error(benchmark: Benchmark) -> None:
    nothing = replace(benchmark, records={**benchmark.records, "macs": np.full(83, np.nan)})
    with pytest.raises(
        SettingsError, match="table of toys on toy data must have architectures with a recorded error, macs"
    ):
        nothing.scale(nothing.objectives(["error", "macs"]))


def test_a_computed_objective_goes_before_a_record(benchmark: Benchmark) -> None:
    exact = parameters(benchmark.space)
    both = replace(benchmark, computed={"parameters": exact, "macs": replace(exact, name="macs")})
    first, second = both.objectives(["parameters", "macs"])
    assert first is exact
    members = both.space.architectures(both.choices_NV)
    np.testing.assert_array_equal(both.values_NM([first, second]), np.array([exact.evaluate(members)] * 2).T)
