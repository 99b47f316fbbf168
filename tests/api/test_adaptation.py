"""The verb `adapt`."""

import logging
from pathlib import Path

import pytest

from hwnas.api import adapt
from hwnas.devices import MeasurementPlan
from hwnas.errors import SettingsError, TableMismatchError, UnknownNameError
from hwnas.latency import load_table, save_table
from hwnas.spaces import MobileNetV3

PLAN = MeasurementPlan(rounds=3, seconds=0)


@pytest.fixture(scope="module")
def space() -> MobileNetV3:
    return MobileNetV3((1, 8, 8), 10, width_mult=0.1)


def test_a_table_is_adapted_from_those_in_the_folder(
    finished: Path, tables: Path, space: MobileNetV3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = load_table(next(tables.rglob("*.json")))
    save_table(known, tmp_path / "other" / "known.json")
    (tmp_path / "other" / "broken.json").write_text("{")
    with caplog.at_level(logging.INFO, logger="hwnas"):
        table = adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)
    assert "Left out" in caplog.text
    assert table.path is not None
    assert load_table(table.path) == table
    assert table.missing(space.all_operators()) == []
    assert table.source == "adapted from local-cpu (onnxruntime-cpu, fp32) by 6 networks"
    assert table.quality is not None
    assert table.quality.networks == len(table.networks) == 6
    assert not list(tmp_path.rglob("*.work"))
    with pytest.raises(TableMismatchError, match="Move the file away"):
        adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)


def test_without_a_known_table_it_goes_by_macs_and_parameters(space: MobileNetV3, tmp_path: Path) -> None:
    table = adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)
    assert table.source == "adapted from MACs and parameters by 6 networks"
    measured = {one.choices: one.found.latency_ms for one in table.networks}
    for choices, latency_ms in measured.items():
        predicted = table.predict_ms(space.operators(space.architecture(choices)))
        assert predicted == pytest.approx(latency_ms, rel=0.5)


def test_mistakes_are_refused_before_anything_is_measured(space: MobileNetV3, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="networks must be at least 3"):
        adapt("local-cpu", space, networks=2, tables=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'local-cpu'"):
        adapt("locl-cpu", space, tables=tmp_path)
    with pytest.raises(UnknownNameError, match="runtime 'onnxruntime-cup'"):
        adapt("local-cpu", space, runtime="onnxruntime-cup", tables=tmp_path)
    assert list(tmp_path.iterdir()) == []
