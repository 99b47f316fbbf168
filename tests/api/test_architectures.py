"""Architectures by what they are called."""

import json
import shutil

import pytest

from hwnas.api.architectures import find_architecture
from hwnas.api.run_folder import open_run
from hwnas.errors import ArchitectureError, RunError


def test_architectures_are_found_by_what_they_are_called(finished):
    run = open_run(finished)
    space = run.space
    assert find_architecture(run, "largest") == space.largest()
    assert find_architecture(run, "smallest") == space.smallest()
    assert (
        find_architecture(run, "random:3") == find_architecture(run, "random:3") != find_architecture(run, "random:4")
    )
    first = next(iter(run.load_front())).architecture
    assert find_architecture(run, "front:1") == first
    for separator in (",", " ", "-", ", ", ""):
        assert find_architecture(run, separator.join(map(str, first.choices))) == first


@pytest.mark.parametrize(
    "text", ["larges", "front:x", "1,2,x", "", "winner-1", "random:\u00b2", "front:\u00b2", "1,\u00b2"]
)
def test_a_name_that_means_none_is_an_error(finished, text):
    with pytest.raises(ArchitectureError, match="must be largest, smallest"):
        find_architecture(open_run(finished), text)


def test_choices_that_do_not_exist_are_an_error(finished):
    with pytest.raises(ArchitectureError, match="45 choices"):
        find_architecture(open_run(finished), "0,1,2")
    with pytest.raises(RunError, match="must have a member 999"):
        find_architecture(open_run(finished), "front:999")


def test_the_preferred_one_is_of_the_space_of_the_run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    run = open_run(tmp_path / "run")
    with pytest.raises(RunError, match="must hold a preferred architecture"):
        find_architecture(run, "preferred")
    stored = {"schema_version": 1, "architecture": run.space.smallest().to_json()}
    run.preferred.write_text(json.dumps(stored))
    assert find_architecture(run, "preferred") == run.space.smallest()
    stored["architecture"]["space"] = "fbnet"
    run.preferred.write_text(json.dumps(stored))
    with pytest.raises(ArchitectureError, match="its space is 'fbnet'"):
        find_architecture(run, "preferred")
