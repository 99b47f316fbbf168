"""The published table of NAS-Bench-201: what is known of it, and tables like it."""

import csv
import gzip
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark, Truth, load_benchmark, load_nas_bench_201
from hwnas.errors import StoredFileError, UnknownNameError

DATA_SETS = ("cifar10", "cifar100", "imagenet16-120")


@pytest.fixture(scope="module")
def published() -> Benchmark:
    return load_nas_bench_201("cifar100")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The first rows of the table, and 30 that are not alike."""
    packed = files("hwnas.benchmarks").joinpath("data/nas_bench_201.csv.gz").read_bytes()
    every = list(csv.DictReader(gzip.decompress(packed).decode("ascii").splitlines()))
    return every[::521]


def stored(rows: list[dict[str, str]], folder: Path) -> Path:
    path = folder / "table.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_architecture_is_there_once(published: Benchmark) -> None:
    assert len(np.unique(published.choices_NV, axis=0)) == len(published.choices_NV) == 5**6
    assert all(values.shape == (5**6,) and np.isfinite(values).all() for values in published.records.values())
    assert len(published.devices) == 21
    assert published.data_sets == DATA_SETS
    assert set(published.records) - {f"latency_ms@{device}" for device in published.devices} == {
        *("error", "error_12_epochs", "error_12_epochs_test", "train_seconds", "parameters", "macs")
    }


@pytest.mark.parametrize(
    ("data_set", "title", "accuracy", "name"),
    [
        (
            "cifar10",
            "CIFAR-10",
            91.6067,
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        ),
        (
            "cifar100",
            "CIFAR-100",
            73.4933,
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        ),
        (
            "imagenet16-120",
            "ImageNet16-120",
            46.7333,
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        ),
    ],
)
def test_the_best_is_the_published_one(data_set: str, title: str, accuracy: float, name: str) -> None:
    found = load_nas_bench_201(data_set)
    assert (found.data, found.data_set) == (title, data_set)
    best = int(found.records["error"].argmin())
    assert 100 * (1 - found.records["error"][best]) == pytest.approx(accuracy)
    assert found.space.describe(found.space.architectures(found.choices_NV[[best]])[0]) == name


def test_an_architecture_has_its_own_record(published: Benchmark) -> None:
    """The first of the official order, |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+…, digits 421211."""
    architecture = published.space.architecture([2, 3, 1, 3, 1, 1])
    names = ["error", "error_12_epochs", "macs", "parameters", "train_seconds", "latency_ms@titan_rtx_1"]
    assert [published.values(name, [architecture])[0] for name in names] == pytest.approx(
        [0.473, 0.6816, 15_653_120, 135_156, 2888.46, 5.55665], rel=1e-5
    )


def test_disconnected_cells_and_those_that_hardly_learned_are_not_considered(published: Benchmark) -> None:
    considered_N = published.considered(published.objectives(["error"]))
    assert considered_N.sum() == 14_964
    assert published.records["error"][considered_N].max() < 0.6
    assert published.space.is_connected(published.choices_NV[considered_N]).all()
    rest = np.flatnonzero(~considered_N)
    connected_N = published.space.is_connected(published.choices_NV[rest])
    assert (~connected_N).sum() == 341
    assert published.records["error"][rest[connected_N]].min() >= 0.6


@pytest.mark.parametrize(
    ("objectives", "members", "hypervolume"),
    [
        (["error", "latency:titan_rtx_1", "macs"], 71, 0.850937449578751),
        (["error", "latency:raspi4"], 46, 0.9392067547040752),
        (["error", "latency:gold_6226", "latency:titan_rtx_1"], 88, 0.8098928353734361),
        (["error", "latency:titan_rtx_1", "macs", "parameters"], 71, 0.8250470066086055),
    ],
)
def test_the_true_front_is_known(published: Benchmark, objectives: list[str], members: int, hypervolume: float) -> None:
    truth = Truth(published, published.objectives(objectives))
    assert len(truth.front) == members
    assert truth.hypervolume == pytest.approx(hypervolume, abs=1e-9)
    assert truth.share(published.choices_NV) == 1.0


def test_the_area_of_two_objectives_is_that_of_its_steps(published: Benchmark) -> None:
    truth = Truth(published, published.objectives(["error", "latency:raspi4"]))
    scaled_NM = truth.scale(truth.values_NM)[truth.considered_N]
    ordered_NM = scaled_NM[np.argsort(scaled_NM[:, 0])]
    height_N = np.minimum.accumulate(ordered_NM[:, 1])
    assert truth.hypervolume == pytest.approx(np.diff(ordered_NM[:, 0], append=1.0) @ (1 - height_N))


def test_another_table_may_have_fewer_rows_other_devices_and_gaps(rows: list[dict[str, str]], tmp_path: Path) -> None:
    changed = [{**row, "lat_my_board_ms": str(3 + number)} for number, row in enumerate(reversed(rows))]
    changed[4]["lat_my_board_ms"], changed[5]["c100_val200_mean"], changed[6]["c100_val200_mean"] = "", "nan", "98.5"
    found = load_benchmark("nas_bench_201", "cifar100", table=stored(changed, tmp_path))
    assert len(found.choices_NV) == len(rows)
    assert "my_board" in found.devices
    objectives = found.objectives(["error", "latency:my_board", "macs"])
    values_NM = found.values_NM(objectives)
    assert np.argwhere(np.isnan(values_NM)).tolist() == [[4, 1], [5, 0]]
    assert values_NM[6, 0] == pytest.approx(0.015)
    assert Truth(found, objectives).share(found.choices_NV[6:7]) > 0.5
    original = load_nas_bench_201("cifar100")
    members = found.space.architectures(found.choices_NV)
    np.testing.assert_array_equal(values_NM[:, 2], original.values("macs", members))


def test_columns_that_are_not_needed_may_be_absent(rows: list[dict[str, str]], tmp_path: Path) -> None:
    few = [{"ops": row["ops"], "in16_val200_mean": row["in16_val200_mean"], "lat_x_ms": "1"} for row in rows]
    found = load_nas_bench_201("imagenet16-120", table=stored(few, tmp_path))
    assert set(found.records) == {"error", "latency_ms@x"}
    with pytest.raises(UnknownNameError, match="objective of nas_bench_201 'macs' does not exist"):
        found.objectives(["error", "macs"])
    with pytest.raises(StoredFileError, match="must have the column c100_val200_mean"):
        load_nas_bench_201("cifar100", table=stored(few, tmp_path))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("ops", "000005", "line 3 must name an architecture by 6 digits from 0 to 4 in ops, but it has '000005'"),
        ("ops", "000000", "line 3 must be the only row of its architecture, but '000000' stands in line 2 too"),
        ("c100_val200_mean", "good", "line 3 must have a number from 0 to 100 in c100_val200_mean, or nothing, but"),
        ("c100_val200_mean", "101", "line 3 must have a number from 0 to 100 in c100_val200_mean"),
        ("lat_raspi4_ms", "-3", "line 3 must have a number from 0 up in lat_raspi4_ms, or nothing, but it has '-3'"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_line(
    rows: list[dict[str, str]], column: str, value: str, said: str, tmp_path: Path
) -> None:
    changed = [rows[0], {**rows[1], column: value}]
    with pytest.raises(StoredFileError, match=rf"table\.csv, {said}"):
        load_nas_bench_201("cifar100", table=stored(changed, tmp_path))
