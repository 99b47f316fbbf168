"""What stages.jsonl says: how long each stage of the run has taken, every command's share on a line of its own."""

from dataclasses import dataclass
from pathlib import Path

from hwnas.files import read_json_lines
from hwnas.reports.fields import Fields

__all__ = ["StageRecord", "read_stages"]


@dataclass(frozen=True)
class StageRecord:
    """One stage of one command: its name ("profiling"), the seconds it took, and the images that it scored on, if any."""

    name: str
    seconds: float
    images: int | None = None


def read_stages(path: Path) -> tuple[StageRecord, ...]:
    """Reads stages.jsonl; none where it is absent. Raises StoredFileError."""
    records = []
    for number, line in enumerate(read_json_lines(path), start=1):
        fields = Fields(line, f"{path} line {number}")
        images = fields.number("images")
        records.append(
            StageRecord(fields.text("stage"), fields.number("seconds") or 0.0, None if images is None else int(images))
        )
    return tuple(records)
