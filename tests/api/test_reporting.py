"""The verb `report`."""

import shutil
from pathlib import Path

import pytest

from hwnas.api import report
from hwnas.errors import RunError


def test_the_page_links_every_model(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    files = sorted(path.name for path in (finished / "models").glob("*.onnx"))
    assert files
    assert all(f'href="models/{name}"' in page for name in files)


def test_a_run_that_was_not_exported_has_a_page_too(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "verification.json").unlink()
    page = report(tmp_path / "run").read_text()
    assert "hwnas export" in page


def test_a_run_without_a_front_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "front.json").unlink()
    with pytest.raises(RunError):
        report(tmp_path / "run")
