"""Where a search stands after a tell: what lets it go on without telling its strategy everything again.

The state is a shortcut, never a second truth: it counts only if it follows from the journal, line for line. Where it does
not, the journal is told to the strategy from its beginning, which comes to the same.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hwnas.errors import SettingsError, StoredFileError
from hwnas.files import read_json, write_text
from hwnas.front import Evaluation
from hwnas.strategies.generation_log import Reference
from hwnas.strategies.journal import Journal, to_json

__all__ = ["SearchState", "told_line"]

STATE_SCHEMA: Final = 1


@dataclass(frozen=True)
class SearchState:
    """Where a search stands.

    Attributes:
        order: of the evaluations that the strategy was told, in the order of asking, the places in the journal.
        digest: of those evaluations.
        generation: how many asks and tells there were.
        stale: how many of the last ones brought no new architecture.
        reference: the box of the hypervolumes.
        strategy: its `state_dict`.
    """

    order: Sequence[int]
    digest: str
    generation: int
    stale: int
    reference: Reference
    strategy: Mapping[str, Any]

    def save(self, path: Path, *, identity: Mapping[str, Any]) -> None:
        """Writes it atomically. Infinities and NaN in the strategy's state are allowed: only Python reads it.

        Args:
            path: the file.
            identity: what the search is of.

        Raises:
            SettingsError: the strategy's state is no JSON.
            StoredFileError: the disk is full.
        """
        try:
            text = json.dumps({"schema_version": STATE_SCHEMA, "identity": dict(identity), **vars(self)})
        except (TypeError, ValueError) as error:
            raise SettingsError("state_dict of a strategy", "must give JSON", came=f"json says: {error}") from error
        write_text(path, text + "\n", sync=False)

    @classmethod
    def load(cls, path: Path, journal: Journal) -> "SearchState":
        """Reads what `save` wrote.

        Raises:
            StoredFileError: absent, torn, of another schema or search, or it does not follow from `journal`.
        """
        document = read_json(path, kind="state of a search", schema_version=STATE_SCHEMA)
        try:
            if document.pop("identity") != json.loads(json.dumps(dict(journal.identity))):
                raise StoredFileError(str(path), "must be of this search", came="it is of another")
            del document["schema_version"]
            state = cls(**document)
            if not (isinstance(state.generation, int) and isinstance(state.stale, int)):
                raise TypeError("generation and stale are counts")
            evaluations = journal.evaluations
            lines = b"".join(told_line(evaluations[place]) for place in state.order)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise StoredFileError(
                str(path), "must be the state of a search", came=f"reading it says: {error!r}"
            ) from error
        if hashlib.sha256(lines).hexdigest() != state.digest:
            raise StoredFileError(str(path), "must follow from the journal", came="it has other evaluations")
        return state


def told_line(evaluation: Evaluation) -> bytes:
    """What an evaluation adds to the digest."""
    return (json.dumps(to_json(evaluation)) + "\n").encode()
