"""The record of what each stage takes."""

from pathlib import Path

import pytest

from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import make_settings
from hwnas.api.stages import STAGES, stage
from hwnas.files import read_json_lines


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", make_settings({}, where="a test"))


def test_each_stage_adds_a_line(run: RunFolder) -> None:
    with stage(run, "profiling"):
        pass
    with stage(run, "searching", images=360):
        pass
    first, second = read_json_lines(run.path / STAGES)
    assert first["stage"] == "profiling"
    assert first["seconds"] >= 0
    assert "images" not in first
    assert (second["stage"], second["images"]) == ("searching", 360)


def test_a_stage_that_is_interrupted_has_taken_time_too(run: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt), stage(run, "training"):
        raise KeyboardInterrupt
    assert [line["stage"] for line in read_json_lines(run.path / STAGES)] == ["training"]


def test_a_whole_run_has_recorded_all_its_stages(finished: Path) -> None:
    lines = read_json_lines(finished / STAGES)
    assert {line["stage"] for line in lines} == {"profiling", "training", "searching", "exporting", "verifying"}
    assert [line["images"] for line in lines if line["stage"] == "searching"] == [359]
