"""The examples of README and docs run as they stand."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def example(page: str = "README.md") -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(r"<!-- a test runs this -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found, f"{page} has lost its example"
    return found.group(1)


def test_the_example_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 15


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "example.py").write_text(example())
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "example.py"))
    said = capsys.readouterr().out
    assert said.count("models/winner-") >= 1
    assert (tmp_path / "runs" / "digits" / "report.html").exists()


def test_the_example_of_published_tables_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "example.py").write_text(example("docs/search.md"))
    runpy.run_path(str(tmp_path / "example.py"))
    members, share = capsys.readouterr().out.split()
    assert int(members) == 71
    assert 0.7 < float(share) < 1
