import csv
import json

import numpy as np
import pytest

SETTINGS = ["gold_6226", "gold_6240", "pixel2", "titan_rtx_1", "titan_rtx_32", "raspi4"]


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_adaptation")


def latencies(structure, settings, *, seed=0):
    rng = np.random.default_rng(seed)
    kinds = rng.gamma(2.0, size=(2, structure.shape[1]))
    costs = rng.dirichlet(np.ones(2), len(settings)) @ kinds
    exact = 1 + structure @ costs.T
    return exact * (1 + 0.02 * rng.normal(size=exact.shape))


def write(path, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_fbnet(folder, settings, *, networks=120):
    choices = np.random.default_rng(1).integers(0, 4, (networks, 6))
    found = latencies(np.eye(4)[choices].reshape(networks, -1), settings)
    columns = {"ops": ["".join(map(str, row)) for row in choices]}
    columns |= {f"lat_{name}_ms": found[:, index] for index, name in enumerate(settings)}
    write(folder / "fbnet_latency.csv", columns)


@pytest.fixture(scope="module")
def document(tool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_fbnet(folder, [*SETTINGS, "new_board"])
    arguments = ["--data", str(folder), "--json", str(folder / "found.json"), "--space", "fbnet"]
    assert tool.main([*arguments, "--networks", "6", "20", "--draws", "2"]) == 0
    return json.loads((folder / "found.json").read_text())


def test_every_column_is_a_device_also_one_that_is_new(document):
    for count in ("6", "20"):
        result = document["spaces"]["fbnet"][count]
        assert set(result["devices"]) == {*SETTINGS, "new_board"}
        spearman = [device["spearman"] for device in result["devices"].values()]
        assert result["mean_spearman"] == pytest.approx(np.mean(spearman))
        assert result["worst_spearman"] == min(spearman)
        assert result["mean_spearman"] > 0.9
        assert 0 < result["median_error"] < 0.1
        assert set(result["methods"]) == {"chosen", "random", "table", "ridge", "mean"}
        assert result["mean_spearman"] == result["methods"]["chosen"]["mean_spearman"]


def test_all_of_a_family_is_left_out(tool, tmp_path, monkeypatch):
    write_fbnet(tmp_path, SETTINGS)
    seen = []

    class Watched(tool.Family):
        def __init__(self, space, known):
            seen.append({space.devices[index] for index in known})
            super().__init__(space, known)

    monkeypatch.setattr(tool, "Family", Watched)
    tool.benchmark(tool.read_fbnet(tmp_path), [5], 1, tool.line_of)
    assert len(seen) == 4
    for family in ({"gold_6226", "gold_6240"}, {"pixel2"}, {"titan_rtx_1", "titan_rtx_32"}, {"raspi4"}):
        assert set(SETTINGS) - family in seen


@pytest.mark.parametrize(
    ("setting", "line", "device"),
    [
        ("titan_rtx_256", "titan_rtx", "titan_rtx"),
        ("titanx_1", "titanx", "titanx"),
        ("1080ti_32", "1080ti", "1080ti"),
        ("pixel3", "pixel", "pixel3"),
        ("raspi4", "raspi", "raspi4"),
        ("gold_6240", "gold", "gold_6240"),
        ("essential_ph_1", "essential_ph", "essential_ph"),
        ("jetson_nano_fp16", "jetson_nano", "jetson_nano"),
        ("i7_8700k", "i7_8700k", "i7_8700k"),
        ("v100_64", "v", "v100"),
        ("123_1", "123", "123"),
    ],
)
def test_families(tool, setting, line, device):
    assert tool.line_of(setting) == line
    assert tool.device_of(setting) == device


def test_nas_bench_201_leaves_out_disconnected_cells_and_knows_unused_operators(tool, tmp_path):
    columns = {"ops": ["300300", "110111", "303100", "333333", "300000"], "connected": [1, 1, 1, 1, 0]}
    write(tmp_path / "nas_bench_201.csv", columns | {"c10_macs_m": range(1, 6), "lat_a_ms": range(1, 6)})
    space = tool.read_nas_bench_201(tmp_path)
    assert len(space.latencies_ms_NK) == 4
    written = np.array([[3, 0, 0, 3, 0, 0], [3, 0, 3, 1, 0, 0], [3, 0, 3, 0, 0, 2], [1, 3, 0, 0, 2, 0]])
    used = [[0, 0, 0, 3, 0, 0], [0, 0, 0, 1, 0, 0], [3, 0, 3, 0, 0, 2], [1, 0, 0, 0, 2, 0]]
    assert tool.without_unused(written).tolist() == used


def test_mobilenetv3_ignores_blocks_beyond_the_depth(tool, tmp_path):
    columns = {"d": ["12", "12"], "ks": ["3535", "3735"], "e": ["6464", "6364"], "r": [128, 128], "lat_a_ms": [1, 2]}
    write(tmp_path / "ofa_mobilenetv3_latency.csv", columns)
    structure = tool.read_ofa_mobilenetv3(tmp_path).readings[0].structure_NF
    np.testing.assert_array_equal(structure[0], structure[1])


def test_absent_data_is_a_clear_error(tool, tmp_path, capsys):
    assert tool.main(["--data", str(tmp_path)]) == 2
    assert "must hold nas_bench_201.csv.gz" in capsys.readouterr().err


def test_an_unknown_space_is_a_clear_error(tool, tmp_path, capsys):
    assert tool.main(["--data", str(tmp_path), "--space", "fbnett"]) == 2
    assert "Did you mean 'fbnet'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ops": ["11", "22"], "lat_a_ms": [1, "?"]}, "row 2 must have a number in lat_a_ms"),
        ({"ops": ["11", "22"], "lat_a_ms": [1, 0]}, "must be positive"),
        ({"ops": ["11", "22"]}, "must have a column lat_<device>_ms"),
        ({"ops": ["11", "2"], "lat_a_ms": [1, 2]}, "equally long strings of digits"),
        ({"ops": ["11", "22"], "lat_a_1_ms": [1, 2], "lat_a_32_ms": [1, 2]}, "devices of two families"),
        ({"ops": ["11", "22"], "lat_a_ms": [1, 2], "lat_b_ms": [1, 2]}, "networks that are not measured"),
        ({"ops": [], "lat_a_ms": []}, "must have rows"),
    ],
)
def test_data_that_cannot_be_used_are_a_clear_error(tool, tmp_path, capsys, columns, message):
    write(tmp_path / "fbnet_latency.csv", columns)
    assert tool.main(["--data", str(tmp_path), "--space", "fbnet"]) == 2
    assert message in capsys.readouterr().err
