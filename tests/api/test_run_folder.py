"""Run folders."""

import shutil
from pathlib import Path

import pytest

from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.settings import make_settings
from hwnas.errors import ArchitectureError, RunError, StoredFileError


def folder_of(path: Path, **given: object) -> RunFolder:
    return RunFolder(path, make_settings(given, where="test"))


def test_begin_writes_a_run_toml_that_opens_as_the_same_run(tmp_path: Path) -> None:
    run = folder_of(tmp_path / "a", evaluations=7, bounds={"macs": 5e6})
    run.begin()
    assert open_run(tmp_path / "a").settings == run.settings
    assert open_run(tmp_path / "a" / "run.toml").settings == run.settings


def test_more_evaluations_may_be_asked_for_later(tmp_path: Path) -> None:
    folder_of(tmp_path, evaluations=7).begin()
    folder_of(tmp_path, evaluations=9).begin()
    assert open_run(tmp_path).settings.evaluations == 9


def test_what_changes_results_may_not(tmp_path: Path) -> None:
    folder_of(tmp_path, data="digits").begin()
    with pytest.raises(RunError, match="must be of data = 'cifar10', but it is of data = 'digits'"):
        folder_of(tmp_path, data="cifar10").begin()
    assert open_run(tmp_path).settings.data == "digits"


def test_results_without_a_run_toml_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "evaluations.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match=r"results but no run.toml"):
        folder_of(tmp_path).begin()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it does not exist"):
        open_run(tmp_path / "none")


def test_a_front_of_another_schema_or_space_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "front.json"
    text = path.read_text()
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(StoredFileError, match="schema_version 1, but it has 99"):
        open_run(tmp_path / "run").load_front()
    path.write_text(text.replace('"space": "mobilenetv3"', '"space": "fbnet"'))
    with pytest.raises(ArchitectureError, match="its space is 'fbnet'"):
        open_run(tmp_path / "run").load_front()
