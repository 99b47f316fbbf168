"""What a reader may choose among: the front's members and the other architectures, with what is known of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hwnas.reports.axes import model_value
from hwnas.reports.documents import EvaluationRecord, Run
from hwnas.reports.networks import Networks
from hwnas.reports.verifications import ModelRecord

__all__ = ["Candidate", "candidates_document", "candidates_of"]

MOST_EVALUATED: Final = 2000
"""Of the architectures off the front; a page of more would be slow to open."""


@dataclass(frozen=True)
class Candidate:
    """An architecture in its precision.

    Attributes:
        key: unique in the page.
        record: what the search has found of it.
        precision: of its model.
        values: objective name -> value: measured where the exported model was, else the search's.
        number: its place on the front from 1, None off the front.
        model: the exported model, None where it was not exported.
        unmeasured: objectives of the model whose values are still the search's.
    """

    key: str
    record: EvaluationRecord
    precision: str
    values: Mapping[str, float]
    number: int | None = None
    model: ModelRecord | None = None
    unmeasured: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What commands call it: "front:3"."""
        return "off the front" if self.number is None else f"front:{self.number}"


def candidates_of(run: Run) -> tuple[Candidate, ...]:
    """The front's members in the front's order, then the other architectures that were scored, the first 2000 of them."""
    members = [_member(run, number, record) for number, record in enumerate(run.front, start=1)]
    on_front = {record.architecture for record in run.front}
    others = [one for one in run.evaluations if one.failure is None and one.architecture not in on_front]
    return (
        *members,
        *(
            Candidate(f"evaluated-{number}", record, run.precision_of(record.architecture), record.values)
            for number, record in enumerate(others[:MOST_EVALUATED], start=1)
        ),
    )


def candidates_document(run: Run, networks: Networks | None) -> dict[str, Any]:
    """All candidates ready for JSON, with the blocks of their networks where `networks` are known.

    Raises:
        ArchitectureError: an architecture of the run is not of the networks' space.
    """
    listed, used = [], set[int]()
    for candidate in candidates_of(run):
        blocks = [] if networks is None else networks.blocks(candidate.record.architecture)
        used.update(blocks)
        listed.append(
            {
                "key": candidate.key,
                "name": candidate.name,
                "number": candidate.number,
                "precision": candidate.precision,
                "model": None if candidate.model is None else candidate.model.number,
                "unmeasured": candidate.unmeasured,
                "description": "" if networks is None else networks.describe(candidate.record.architecture),
                "values": dict(candidate.values),
                "estimates": dict(candidate.record.values),
                "blocks": blocks,
            }
        )
    parts = {"blocks": {}, "overhead": {}} if networks is None else networks.document(used)
    return {"candidates": listed, **parts}


def _member(run: Run, number: int, record: EvaluationRecord) -> Candidate:
    model = run.model_of(record.architecture)
    precision = run.precision_of(record.architecture)
    if model is None:
        return Candidate(f"front-{number}", record, precision, record.values, number)
    found = {objective.name: model_value(model, objective, run) for objective in run.objectives}
    values = {**record.values, **{name: value for name, value in found.items() if value is not None}}
    unmeasured = tuple(name for name, value in found.items() if value is None)
    return Candidate(f"front-{number}", record, precision, values, number, model, unmeasured)
