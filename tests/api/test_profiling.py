"""The verb `profile`."""

import logging
from pathlib import Path

import pytest

from hwnas.api import profile
from hwnas.devices import MeasurementPlan
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.latency import load_table
from hwnas.spaces import MobileNetV3


def test_the_table_of_the_run_has_every_operator_with_all_samples(finished: Path, tables: Path) -> None:
    table = load_table(next(tables.rglob("*.json")))
    space = MobileNetV3((1, 8, 8), 10, width_mult=0.1)
    assert table.missing(space.all_operators()) == []
    assert all(len(found.samples_ms) >= 5 for found in table.entries.values())
    assert table.quality is not None
    assert table.quality.networks == sum(one.role == "calibration" for one in table.networks) == 3
    assert table.fingerprint["runtime"] == "onnxruntime-cpu"
    assert table.fingerprint["num_threads"] == 1
    assert not list(tables.rglob("*.work"))


def test_what_is_there_is_not_measured_again(finished: Path, tables: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = next(tables.rglob("*.json")).read_bytes()
    with caplog.at_level(logging.INFO, logger="hwnas"):
        table = profile(
            "local-cpu", input_shape=(1, 8, 8), num_classes=10, space_options={"width_mult": 0.1}, tables=tables
        )
    assert "Nothing to measure" in caplog.text
    assert table.path is not None
    assert table.path.read_bytes() == before


def test_another_number_of_classes_measures_only_the_classifier(tables: Path, finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tables, tmp_path / "tables")
    before = load_table(next((tmp_path / "tables").rglob("*.json")))
    table = profile(
        "local-cpu",
        MobileNetV3((1, 8, 8), 7, width_mult=0.1),
        tables=tmp_path / "tables",
        measurement=MeasurementPlan(rounds=5, max_rounds=5),
    )
    assert len(table.entries) == len(before.entries) + 1
    assert all(table.entries[operator] == found for operator, found in before.entries.items())


def test_unknown_names_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'local-cpu'"):
        profile("localcpu", tables=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenetv3'"):
        profile("local-cpu", "mobilenet-v3", tables=tmp_path)
    with pytest.raises(SettingsError, match="input_shape"):
        profile("local-cpu", input_shape=(3, 2, 2), tables=tmp_path)
    with pytest.raises(SettingsError, match="batch_size must be from 1 to 4096"):
        profile("local-cpu", batch_size=0, tables=tmp_path)
    with pytest.raises(SettingsError, match="seed must be from 0"):
        profile("local-cpu", seed=-1, tables=tmp_path)
    assert list(tmp_path.iterdir()) == []
