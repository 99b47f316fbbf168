"""What comparison.json says: known networks, trained for as long and measured the same way as the run's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwnas.files import read_json
from hwnas.reports.fields import Fields
from hwnas.reports.verifications import LatencyRecord, read_latencies

__all__ = ["BaselineRecord", "ComparisonRecord", "read_comparison"]

SCHEMA_VERSION: Final = 1
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class BaselineRecord:
    """One network to compare with; its `letter` marks it in the drawings."""

    letter: str
    name: str
    file: str
    test_accuracy: float | None
    macs: float | None
    parameters: float | None
    size_bytes: float | None
    latency: Mapping[str, LatencyRecord]

    def latency_on(self, device: str) -> LatencyRecord:
        """The latency on `device`; all None where it was not measured there."""
        return self.latency.get(device, LatencyRecord())


@dataclass(frozen=True)
class ComparisonRecord:
    """The baselines, and the budget that each was trained with."""

    baselines: tuple[BaselineRecord, ...]
    budget: Mapping[str, object]


def read_comparison(path: Path) -> ComparisonRecord | None:
    """Reads comparison.json; None where it is absent. Raises StoredFileError."""
    if not path.exists():
        return None
    fields = Fields(read_json(path, kind="comparison", schema_version=SCHEMA_VERSION), str(path))
    baselines = tuple(_read_baseline(index, one) for index, one in enumerate(fields.objects("baselines")))
    return ComparisonRecord(baselines, fields.object("budget").document)


def _read_baseline(index: int, fields: Fields) -> BaselineRecord:
    round_, place = divmod(index, len(ALPHABET))
    return BaselineRecord(
        letter=ALPHABET[place] + (str(round_ + 1) if round_ else ""),
        name=fields.text("name"),
        file=fields.text("file", ""),
        test_accuracy=fields.number("test_accuracy"),
        macs=fields.number("macs"),
        parameters=fields.number("parameters"),
        size_bytes=fields.number("size_bytes"),
        latency=read_latencies(fields),
    )
