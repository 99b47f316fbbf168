import csv
import gzip
import itertools
import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_predictor")


def write(path, columns):
    rows = [[*columns], *zip(*columns.values(), strict=True)]
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All 729 chains of six blocks: larger ones are better, early ones matter more, and MACs say half of it."""
    folder = tmp_path_factory.mktemp("data")
    choices = np.array(list(itertools.product(range(3), repeat=6)))
    errors = 5 + 20 * np.exp(-choices @ np.linspace(0.5, 0.1, 6) + 0.02 * np.random.default_rng(0).normal(size=729))
    macs = 1e6 * (1 + choices @ np.linspace(0.2, 1.0, 6))
    columns = {"arch": ["".join(map(str, row)) for row in choices], "mean_acc": 100 - errors}
    write(folder / "nas_bench_macro.csv.gz", columns | {"macs": macs, "params": macs / 7})
    return folder


def test_methods_are_compared_on_the_same_networks(tool, folder, tmp_path):
    arguments = ["--json", str(tmp_path / "found.json"), "--space", "nas_bench_macro", "--draws", "2"]
    wanted = ["gaussian_process", "ridge", "macs"]
    assert tool.main([str(folder), *arguments, "--networks", "20", "60", "700", "--method", *wanted]) == 0
    document = json.loads((tmp_path / "found.json").read_text())
    by_count = document["spaces"]["nas_bench_macro"]
    assert list(by_count) == ["20", "60"]  # 700 would leave 29 to foretell
    for found in by_count.values():
        assert list(found) == wanted
        assert found["gaussian_process"]["kendall"] > found["macs"]["kendall"] + 0.1
        assert 0 < found["ridge"]["mean_absolute_error"] < 0.1
        assert found["gaussian_process"]["kendall_worst"] <= found["gaussian_process"]["kendall"]
        assert found["gaussian_process"]["coverage_50"] < found["gaussian_process"]["coverage_90"] <= 1
    assert {"cpu", "numpy", "scipy", "scikit-learn", "python", "draws", "seconds"} <= set(document)


def test_sub_networks_are_canonical_and_each_comes_once(tool, tmp_path):
    columns = {
        "d": ["22222", "22222", "42222"],
        "ks": ["33" + "57" + "3333" * 4, "33" + "77" + "3333" * 4, "7" * 20],
        "e": ["3" * 20, "33" + "66" + "3333" * 4, "6" * 20],
        "top1": [75.0, 75.0, 77.0],
    }
    write(tmp_path / "ofa_mobilenetv3_accuracy.csv.gz", columns | {"macs": [1, 1, 2], "params": [1, 1, 2]})
    space = tool.read_ofa_mobilenetv3(tmp_path)
    assert len(space.errors_N) == 2  # the first two differ in blocks that are not there
    assert sorted(space.errors_N) == pytest.approx([0.23, 0.25])
    assert (space.choices_NV[~space.present_NV] == 0).all()
    assert space.present_NV.sum(axis=1).tolist() == [5 + 2 * 10, 5 + 2 * 12]


def test_disconnected_cells_are_left_out(tool, tmp_path):
    columns = {"ops": ["000000", "321033"], "connected": [0, 1], "c100_val200_mean": [1.0, 60.0]}
    write(tmp_path / "nas_bench_201.csv.gz", columns | {"c100_macs_m": [1, 2], "c100_params_m": [1, 2]})
    space = tool.read_nas_bench_201(tmp_path)
    assert space.choices_NV.tolist() == [[3, 2, 1, 0, 3, 3]]
    assert space.errors_N.tolist() == pytest.approx([0.4])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "must hold nas_bench_macro.csv.gz"),
        (["--space", "nas_bench_macr"], "Did you mean 'nas_bench_macro'"),
        (["--method", "rigde"], "Did you mean 'ridge'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tool, tmp_path, capsys, arguments, said):
    assert tool.main([str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_column_without_numbers_is_one_sentence(tool, tmp_path, capsys):
    write(tmp_path / "nas_bench_macro.csv.gz", {"arch": ["00"], "mean_acc": ["good"], "macs": [1], "params": [1]})
    assert tool.main([str(tmp_path), "--space", "nas_bench_macro"]) == 2
    assert "must have numbers in mean_acc" in capsys.readouterr().err
