import pytest

from hwnas.errors import StoredFileError
from hwnas.reports.stages import StageRecord, read_stages


def test_stages_are_read_line_by_line(tmp_path):
    path = tmp_path / "stages.jsonl"
    assert read_stages(path) == ()
    path.write_text('{"stage": "profiling", "seconds": 1.5}\n{"stage": "searching", "seconds": 2, "images": 360}\n')
    assert read_stages(path) == (StageRecord("profiling", 1.5), StageRecord("searching", 2.0, 360))
    path.write_text('{"seconds": 1.5}\n')
    with pytest.raises(StoredFileError, match="line 1: 'stage' must be a string"):
        read_stages(path)
