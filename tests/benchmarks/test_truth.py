"""The true front and hypervolume, against counting by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark, Truth
from hwnas.errors import InfeasibleError, SettingsError
from hwnas.objectives import choices_of, macs


def area(points: np.ndarray) -> float:
    """Of what points (N, 2) dominate up to (1, 1), by its steps."""
    total, height = 0.0, 1.0
    for x, y in sorted(map(tuple, points)):
        total += (1 - x) * max(0.0, height - y)
        height = min(height, y)
    return total


@pytest.fixture(scope="module")
def truth(benchmark: Benchmark) -> Truth:
    return Truth(benchmark, benchmark.objectives(["error", "latency:board"]))


def considered(benchmark: Benchmark) -> list[int]:
    return [row for row in range(78) if row not in (2, 4)]


def test_the_front_is_what_nothing_dominates(benchmark: Benchmark, truth: Truth) -> None:
    values = {row: (row / 100, float(benchmark.records["latency_ms@board"][row])) for row in considered(benchmark)}
    front = [
        row
        for row, (error, latency) in values.items()
        if not any(e < error and ms <= latency for e, ms in values.values())
    ]
    assert len(front) > 10
    assert [one.values for one in truth.front] == [
        {"error": values[row][0], "latency_ms@board": values[row][1]} for row in front
    ]
    members = benchmark.space.architectures(benchmark.choices_NV[front])
    assert [one.architecture for one in truth.front] == members


def test_the_hypervolume_is_the_area_of_its_steps(benchmark: Benchmark, truth: Truth) -> None:
    values_NM = truth.values_NM[considered(benchmark)]
    scaled_NM = (values_NM - values_NM.min(axis=0)) / np.ptp(values_NM, axis=0)
    assert truth.hypervolume == pytest.approx(area(scaled_NM))
    for count in (1, 7, 30):
        assert truth.share(benchmark.choices_NV[considered(benchmark)[-count:]]) == pytest.approx(
            area(scaled_NM[-count:]) / area(scaled_NM)
        )


def test_shares_are_from_0_to_1(benchmark: Benchmark, truth: Truth) -> None:
    """What is not considered or not recorded adds nothing, however good it is."""
    assert truth.share(benchmark.choices_NV) == 1.0
    assert truth.share(choices_of([one.architecture for one in truth.front])) == pytest.approx(1.0)
    assert truth.share(benchmark.choices_NV[:0]) == 0.0
    assert truth.share(benchmark.choices_NV[[2, 4, 78, 82]]) == 0.0
    assert truth.share(choices_of([benchmark.space.largest()])) == 0.0
    shares = [truth.share(benchmark.choices_NV[:count]) for count in range(83)]
    assert all(first <= second for first, second in itertools.pairwise(shares))


def test_bounds_narrow_the_front_and_keep_the_scale(benchmark: Benchmark, truth: Truth) -> None:
    error, latency = truth.objectives
    bounded = Truth(benchmark, [error, latency.bounded(40.0)])
    assert {one.architecture for one in bounded.front} == {
        one.architecture for one in truth.front if one.values["latency_ms@board"] <= 40
    }
    assert bounded.hypervolume < truth.hypervolume
    np.testing.assert_array_equal(bounded.scale.span_M, truth.scale.span_M)
    with pytest.raises(
        InfeasibleError, match=r"bounds latency_ms@board <= 9 ms must be met by an architecture of toys"
    ):
        Truth(benchmark, [error, latency.bounded(9.0)])


def test_a_constant_objective_changes_no_share(benchmark: Benchmark, truth: Truth) -> None:
    more = Truth(benchmark, benchmark.objectives(["error", "macs", "latency:board"]))
    assert len(more.front) == len(truth.front)
    assert more.hypervolume == pytest.approx(truth.hypervolume)


def test_a_single_architecture_is_the_whole_truth(benchmark: Benchmark) -> None:
    one = replace(benchmark, considered_N=np.arange(83) == 7)
    truth = Truth(one, one.objectives(["error", "latency:board"]))
    assert (len(truth.front), truth.hypervolume) == (1, 1.0)
    assert (truth.share(benchmark.choices_NV[7:8]), truth.share(benchmark.choices_NV[8:])) == (1.0, 0.0)


def test_two_ends_without_volume_are_found_or_not(benchmark: Benchmark) -> None:
    """Each is the worst in one objective, so neither dominates the reference point."""
    latency_N = benchmark.records["latency_ms@board"].copy()
    latency_N[[7, 9]] = 20.0, 10.0
    two = replace(
        benchmark,
        considered_N=np.isin(np.arange(83), [7, 9]),
        records={**benchmark.records, "latency_ms@board": latency_N},
    )
    truth = Truth(two, two.objectives(["error", "latency:board"]))
    assert truth.hypervolume == 0.0
    assert [truth.share(two.choices_NV[rows]) for rows in ([7], [9], [8])] == [1.0, 1.0, 0.0]


def test_what_is_foretold_has_no_truth(benchmark: Benchmark) -> None:
    foretold = replace(benchmark, computed={"macs": macs(benchmark.space)})
    with pytest.raises(SettingsError, match="The benchmark toys must have recorded all architectures of its space"):
        Truth(foretold, foretold.objectives(["error", "macs"]))
