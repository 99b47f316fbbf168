"""The published table of NAS-Bench-Macro: what is known of it, and tables like it."""

from pathlib import Path

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark, Truth, load_nas_bench_macro
from hwnas.errors import StoredFileError


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


def test_the_true_front_is_known(published: Benchmark) -> None:
    truth = Truth(published, published.objectives(["error", "macs", "parameters"]))
    assert len(truth.front) == 118
    assert truth.hypervolume == pytest.approx(0.8828473380541019, abs=1e-9)
    assert truth.considered_N.all()
    best = truth.front.evaluations[0]
    assert best.architecture.choices == (2, 2, 2, 1, 2, 2, 0, 2)


def test_another_table_may_have_devices_and_gaps(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("arch,mean_acc,lat_board_ms\n00000001,64,3\n22212202,93,\n00000000,,1\n")
    found = load_nas_bench_macro(table=tmp_path / "mine.csv")
    assert found.choices_NV.tolist() == [[0] * 7 + [1], [2, 2, 2, 1, 2, 2, 0, 2], [0] * 8]
    objectives = found.objectives(["error", "latency:board"])
    np.testing.assert_allclose(found.values_NM(objectives), [[0.36, 3.0], [0.07, np.nan], [np.nan, 1.0]])
    assert found.considered(objectives).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("arch,acc\n00000001,64\n", "must have the column mean_acc"),
        ("arch,mean_acc\n00000003,64\n", "line 2 must name an architecture by 8 digits from 0 to 2 in arch"),
        ("ops,mean_acc\n000001,64\n", "must begin with a line of different column names, arch among them"),
        ("arch,mean_acc\n00000001,high\n", "line 2 must have a number from 0 to 100 in mean_acc"),
    ],
)
def test_what_is_wrong_in_a_table_is_said(table: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(table)
    with pytest.raises(StoredFileError, match=rf"mine\.csv,? {said}"):
        load_nas_bench_macro(table=tmp_path / "mine.csv")
