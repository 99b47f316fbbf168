"""The journal of a search: every evaluation, kept as it comes, from which a stopped search goes on."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hwnas.errors import RunError
from hwnas.files import JsonLines, first_difference, write_text
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, choices_of, score_choices
from hwnas.spaces import Architecture, SearchSpace

__all__ = ["EVALUATIONS_SCHEMA", "TOLD_FIRST", "Journal", "rescore", "to_json"]

EVALUATIONS_SCHEMA: Final = 1
TOLD_FIRST: Final = "told_first"
"""In the first line: how many evaluations a strategy is told before it is asked anything."""
SYNC_S: Final = 1.0
"""What a power cut may cost; a killed process loses nothing."""


class Journal:
    """The evaluations of one search in the order in which they came, as lines of a file.

    Args:
        lines: the file; its first line says what it is of.
        identity: what it must be of.
        space: of the architectures.
        objectives: whose values an evaluation has.
    """

    def __init__(
        self, lines: JsonLines, *, identity: Mapping[str, Any], space: SearchSpace, objectives: Sequence[Objective]
    ) -> None:
        self.path = lines.path
        self.identity = identity
        self._lines = lines
        self._space = space
        self._names = {objective.name for objective in objectives}
        self._evaluations: dict[Architecture, Evaluation] = {}
        self._positions: dict[Architecture, int] = {}
        self._synced = 0.0

    def __len__(self) -> int:
        return len(self._evaluations)

    def __contains__(self, architecture: Architecture) -> bool:
        return architecture in self._evaluations

    def __getitem__(self, architecture: Architecture) -> Evaluation:
        return self._evaluations[architecture]

    @property
    def evaluations(self) -> list[Evaluation]:
        """All of them, in the order in which they came."""
        return list(self._evaluations.values())

    def position(self, architecture: Architecture) -> int:
        """The place of an architecture's evaluation in `evaluations`."""
        return self._positions[architecture]

    def read(self) -> None:
        """Reads the file, or begins it.

        Raises:
            RunError: it is of another search, or a line is no evaluation of it.
            ArchitectureError: an evaluation is of another space.
            StoredFileError: it is broken or could not be written.
        """
        lines = self._lines.repair()
        header = {"schema_version": EVALUATIONS_SCHEMA, **self.identity}
        if not lines:
            self._lines.append(header)
            return
        self._check_header(lines[0], header)
        for number, line in enumerate(lines[1:], start=2):
            self._take(self._from_json(line, number))

    def add(self, evaluation: Evaluation) -> None:
        """Keeps an evaluation. Raises StoredFileError where the disk is full."""
        now = time.monotonic()
        sync = now - self._synced >= SYNC_S
        self._lines.append(to_json(evaluation), sync=sync)
        if sync:
            self._synced = now
        self._take(evaluation)

    def _take(self, evaluation: Evaluation) -> None:
        self._positions.setdefault(evaluation.architecture, len(self._positions))
        self._evaluations[evaluation.architecture] = evaluation

    def _check_header(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        if found.get("schema_version") != EVALUATIONS_SCHEMA:
            raise RunError(
                str(self.path),
                f"must have schema_version {EVALUATIONS_SCHEMA} in its first line",
                came=f"it has {found.get('schema_version')!r}",
                do="Choose another output folder",
            )
        different = first_difference(found, wanted)
        if different is not None:
            key, old, new = different
            raise RunError(
                str(self.path),
                f"must be of a search with {key} = {new!r}",
                came=f"it is of {old!r}",
                do="Choose another output folder",
            )

    def _from_json(self, line: Mapping[str, Any], number: int) -> Evaluation:
        values, failure, seconds = line.get("values") or {}, line.get("failure"), line.get("seconds", 0.0)
        sound = isinstance(values, dict) and set(values) == self._names and all(map(_is_finite, values.values()))
        outcome = sound if failure is None else isinstance(failure, str)
        parent = line.get("parent")
        related = parent is None or isinstance(parent, list)
        if not (outcome and related and isinstance(line.get("architecture"), dict) and _is_finite(seconds)):
            raise RunError(
                f"{self.path}, line {number}",
                f"must hold an architecture and its {', '.join(sorted(self._names))}",
                came=f"it holds {', '.join(line) or 'nothing'}",
                do="Choose another output folder, or delete the file to evaluate anew",
            )
        architecture = self._space.from_json(line["architecture"])
        candidate = Candidate(architecture, None if parent is None else self._space.architecture(parent))
        return Evaluation(candidate, values if failure is None else {}, float(seconds), failure)


def rescore(
    lines: JsonLines, *, identity: Mapping[str, Any], space: SearchSpace, objectives: Sequence[Objective]
) -> None:
    """Gives the evaluations of a journal the values that cheap objectives have by now, and a new identity.

    What was expensive to find stays. The first line then says how many evaluations there were: a search that goes on is
    told these first. It is written whole or not at all.

    Args:
        lines: the journal's file.
        identity: what it is of from now on.
        space: of the architectures.
        objectives: of which the cheap ones are scored anew.

    Raises:
        RunError, ArchitectureError, StoredFileError: as `Journal.read`.
    """
    header = {key: value for key, value in lines.read()[0].items() if key != "schema_version"}
    journal = Journal(lines, identity=header, space=space, objectives=objectives)
    journal.read()
    known = journal.evaluations
    scores = score_choices(space, objectives, choices_of([one.architecture for one in known])) if known else {}
    rescored = []
    for row, one in enumerate(known):
        cheap = {name: float(values[row]) for name, values in scores.items()} if one.failure is None else {}
        rescored.append(to_json(replace(one, values={**one.values, **cheap})))
    first = {"schema_version": EVALUATIONS_SCHEMA, **identity, TOLD_FIRST: len(known)}
    write_text(lines.path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in [first, *rescored]))


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The line of an evaluation."""
    parent = evaluation.candidate.parent
    related = {} if parent is None else {"parent": list(parent.choices)}
    outcome = {"values": dict(evaluation.values)} if evaluation.failure is None else {"failure": evaluation.failure}
    return {"architecture": evaluation.architecture.to_json(), **related, **outcome, "seconds": evaluation.seconds}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
