"""Predictors of what a search has evaluated."""

import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from hwnas.api import assess_predictor, fit_predictor, open_run, search
from hwnas.api.foretelling import ENOUGH
from hwnas.errors import RunError
from hwnas.predictors import PredictorQuality

from .conftest import SETTINGS


@pytest.fixture(scope="module")
def searched(finished: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, searched on to 32 evaluations."""
    folder = tmp_path_factory.mktemp("runs") / "longer"
    shutil.copytree(finished, folder)
    search(output=folder, tables=tables, **{**SETTINGS, "evaluations": 32})
    return folder


def errors_of(folder: Path) -> dict[tuple[int, ...], float]:
    lines = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()[1:]]
    return {tuple(one["architecture"]["choices"]): one["values"]["error"] for one in lines}


def test_a_search_of_enough_evaluations_keeps_the_predictors_quality(searched: Path, finished: Path) -> None:
    found = PredictorQuality.load(searched / "predictor.json")
    assert {one.choices: one.error for one in found.networks} == errors_of(searched)
    assert len(found.networks) == 32 >= ENOUGH
    assert found.folds == 10
    assert all(one.low <= one.high for one in found.networks)
    assert not (finished / "predictor.json").exists()  # 20 evaluations are too few
    assert assess_predictor(open_run(finished)) is None


def test_what_is_known_is_not_found_again(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (searched / "predictor.json").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("validated again")

    monkeypatch.setattr("hwnas.api.foretelling.cross_validate", fail)
    assert assess_predictor(open_run(searched)) == PredictorQuality.load(searched / "predictor.json")
    assert (searched / "predictor.json").read_bytes() == before


def test_a_damaged_or_older_file_is_made_anew(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    (folder / "predictor.json").write_text("{")
    lines = (searched / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (folder / "evaluations.jsonl").write_text("".join(lines[:31]))
    found = assess_predictor(open_run(folder))
    assert found is not None
    assert len(found.networks) == 30
    assert PredictorQuality.load(folder / "predictor.json") == found


def test_failed_evaluations_are_left_out(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    lines = [json.loads(line) for line in (searched / "evaluations.jsonl").read_text().splitlines()]
    lines[5] = {"architecture": lines[5]["architecture"], "failure": "loss became NaN", "seconds": 0.1}
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = assess_predictor(open_run(folder))
    assert found is not None
    assert len(found.networks) == 31


def test_a_predictor_is_fitted_from_the_evaluations_alone(searched: Path, tmp_path: Path) -> None:
    """On errors that follow from the MACs alone it is far better than their mean, which is off by 0.8 of their spread."""
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    lines = [json.loads(line) for line in (searched / "evaluations.jsonl").read_text().splitlines()]
    most = max(line["values"]["macs"] for line in lines[1:])
    for line in lines[1:]:
        line["values"]["error"] = 0.5 - 0.4 * line["values"]["macs"] / most
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "supernet.pt").unlink()
    errors = errors_of(folder)
    mean_N, std_N = fit_predictor(folder).predict(np.array(list(errors)))
    found = np.array(list(errors.values()))
    assert np.abs(mean_N - found).mean() < 0.2 * found.std()
    assert (std_N > 0).all()


def test_the_example_of_the_documentation_runs(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- a test runs this -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found, "the page has lost its example"
    (tmp_path / "example.py").write_text(found.group(1), encoding="utf-8")
    shutil.copytree(searched, tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    assert re.search(r": error \d+\.\d% ± \d+\.\d%$", capsys.readouterr().out)


def test_a_run_without_errors_is_refused(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "run")
    (tmp_path / "run" / "evaluations.jsonl").unlink()
    with pytest.raises(RunError, match="must hold evaluations of the error"):
        fit_predictor(tmp_path / "run")


def test_a_broken_line_is_named(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "run")
    lines = (searched / "evaluations.jsonl").read_text().splitlines(keepends=True)
    lines[3] = '{"architecture": {"space": "mobilenetv3"}, "values": {"error": 0.5}}\n'
    (tmp_path / "run" / "evaluations.jsonl").write_text("".join(lines))
    with pytest.raises(RunError, match="line 4 must hold an evaluation"):
        fit_predictor(tmp_path / "run")
