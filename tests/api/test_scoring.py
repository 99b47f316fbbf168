"""The objectives of a run, and the latency tables that they need."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.api.run_folder import open_run
from hwnas.api.scoring import Leniency, check_quality, latency_table, make_objectives
from hwnas.errors import TableError, TableQualityError
from hwnas.latency import load_table, save_table
from hwnas.progress import silent


def test_objectives_of_a_run_without_its_table_are_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    text = (folder / "run.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("tables"))
    (folder / "run.toml").write_text(text.replace(line, f'tables = "{tmp_path / "none"}"'))
    with pytest.raises(Exception, match="does not exist"):
        make_objectives(open_run(folder))


def test_a_table_with_rows_missing_says_how_many(finished: Path, tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.copytree(tables, tmp_path / "tables")
    path = next((tmp_path / "tables").rglob("*.json"))
    table = load_table(path)
    save_table(replace(table, entries=dict(list(table.entries.items())[5:])), path)
    run = open_run(folder)
    run.settings = run.settings.model_copy(update={"tables": str(tmp_path / "tables")})
    with pytest.raises(TableError, match=r"5 are missing.*hwnas profile local-cpu"):
        make_objectives(run)


def test_objectives_are_those_of_the_settings_in_their_order(finished: Path) -> None:
    run = open_run(finished)
    names = [one.name for one in make_objectives(run)]
    assert names == ["error", "macs", "latency_ms@local-cpu"]
    assert [one.name for one in make_objectives(run, measured=False)] == names[:2]


def test_a_table_that_is_whole_is_not_measured_again(finished: Path) -> None:
    run = open_run(finished)
    path = next(Path(run.settings.tables).rglob("*.json"))
    before = path.read_bytes()
    for lenient in (False, True):
        assert latency_table(run, "local-cpu", "fp32", Leniency(False, lenient), silent).entries
    assert path.read_bytes() == before


def test_a_table_of_low_quality_is_refused_unless_forced(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = latency_table(open_run(finished), "local-cpu", "fp32", Leniency(False, False), silent)
    check_quality(replace(table, quality=None), Leniency(False, False))
    assert table.quality is not None
    low = replace(table.quality, networks=10, calibrated=replace(table.quality.calibrated, spearman=0.4))
    poor = replace(table, quality=low)
    with pytest.raises(TableQualityError, match=r"Spearman 0\.40, below 0\.8.*--force"):
        check_quality(poor, Leniency(False, False))
    with caplog.at_level(logging.WARNING, logger="hwnas"):
        check_quality(poor, Leniency(True, False))
    assert "Spearman 0.40" in caplog.text
