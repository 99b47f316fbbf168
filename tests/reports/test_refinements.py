import json

import pytest

from hwnas.errors import StoredFileError
from hwnas.reports.refinements import read_refinement


def write(tmp_path, *rounds):
    path = tmp_path / "refinement.json"
    path.write_text(json.dumps({"schema_version": 1, "rounds": list(rounds)}))
    return path


def test_rounds_are_read_in_order(tmp_path):
    document = {"round": 1, "evaluations": 40, "median_error": {"a": 0.1}, "outside_interval": {"a": 2}, "models": [{}]}
    (found,) = read_refinement(write(tmp_path, document))
    assert (found.number, found.evaluations, found.models) == (1, 40, 1)
    assert (found.median_error, found.outside_interval) == ({"a": 0.1}, {"a": 2})


def test_no_file_is_no_round_and_a_damaged_one_a_sentence(tmp_path):
    assert read_refinement(tmp_path / "refinement.json") == ()
    with pytest.raises(StoredFileError, match="must be a number, but it is 'low'"):
        read_refinement(write(tmp_path, {"round": 1, "median_error": {"a": "low"}, "models": []}))
