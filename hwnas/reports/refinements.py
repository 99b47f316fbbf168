"""What refinement.json says: how predictions and measurements come together, round by round."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwnas.files import read_json
from hwnas.reports.fields import Fields

__all__ = ["RoundRecord", "read_refinement"]

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class RoundRecord:
    """One round: how many evaluations came before it, and by device the median relative error of the predictions of the
    models measured in it, and how many lay outside their interval."""

    number: int
    evaluations: int
    median_error: Mapping[str, float]
    outside_interval: Mapping[str, float]
    models: int


def read_refinement(path: Path) -> tuple[RoundRecord, ...]:
    """Reads refinement.json; no rounds where it is absent. Raises StoredFileError."""
    if not path.exists():
        return ()
    fields = Fields(read_json(path, kind="refinement", schema_version=SCHEMA_VERSION), str(path))
    return tuple(
        RoundRecord(
            number=int(one.number("round") or 0),
            evaluations=int(one.number("evaluations") or 0),
            median_error=one.numbers("median_error"),
            outside_interval=one.numbers("outside_interval"),
            models=len(one.objects("models")),
        )
        for one in fields.objects("rounds")
    )
