"""The verb `adapt`."""

import logging
from pathlib import Path

import pytest

from hwnas.api import adapt
from hwnas.devices import Device, Measurement, MeasurementPlan
from hwnas.errors import SettingsError, TableMismatchError, UnknownNameError
from hwnas.latency import LatencyTable, TableIdentity, load_table, save_table
from hwnas.testing import ToySpace

PLAN = MeasurementPlan(rounds=3, max_rounds=3, warmup_seconds=0)


@pytest.fixture
def space() -> ToySpace:
    return ToySpace()


def test_a_table_is_adapted_from_those_in_the_folder(
    space: ToySpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phone = Device("phone", "", "local", ("onnxruntime-cpu",), 1)
    rows = {}
    for operator in space.all_operators():
        cost = space.counts[operator].macs / 1e6 + 0.01
        rows[operator] = Measurement(cost, (cost, cost))
    save_table(LatencyTable(TableIdentity.of(phone, space), {}, rows), tmp_path / "phone" / "known.json")
    (tmp_path / "phone" / "broken.json").write_text("{")
    with caplog.at_level(logging.INFO, logger="hwnas"):
        table = adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)
    assert "Left out" in caplog.text
    assert table.path is not None
    assert load_table(table.path) == table
    assert table.missing(space.all_operators()) == []
    assert table.source == "adapted from phone (onnxruntime-cpu, fp32) by 6 networks"
    assert table.quality is not None
    assert table.quality.networks == len(table.networks) == 6
    assert not list(tmp_path.rglob("*.work"))
    with pytest.raises(TableMismatchError, match="Move the file away"):
        adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)


def test_without_a_known_table_it_goes_by_macs_and_parameters(space: ToySpace, tmp_path: Path) -> None:
    table = adapt("local-cpu", space, networks=6, tables=tmp_path, measurement=PLAN)
    assert table.source == "adapted from MACs and parameters by 6 networks"
    for one in table.networks:
        predicted = table.predict_ms(space.operators(space.architecture(one.choices)))
        assert predicted == pytest.approx(one.found.latency_ms, rel=0.5)


def test_mistakes_are_refused_before_anything_is_measured(space: ToySpace, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="networks must be at least 3"):
        adapt("local-cpu", space, networks=2, tables=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'local-cpu'"):
        adapt("locl-cpu", space, tables=tmp_path)
    with pytest.raises(UnknownNameError, match="runtime 'onnxruntime-cup'"):
        adapt("local-cpu", space, runtime="onnxruntime-cup", tables=tmp_path)
    assert list(tmp_path.iterdir()) == []
