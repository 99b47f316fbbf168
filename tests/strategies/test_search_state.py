"""The state as a file. When it counts and when it does not stands in test_exact_resume.py."""

import hashlib
import json
from pathlib import Path

import pytest

from hwnas.errors import SettingsError, StoredFileError
from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import macs
from hwnas.strategies.journal import Journal
from hwnas.strategies.search_state import SearchState, told_line
from hwnas.testing import ToySpace

SPACE = ToySpace()
EVALUATIONS = [Evaluation(Candidate(one), {"macs": 0.1 * n}, 0.5) for n, one in enumerate(SPACE.everything()[:5])]
IDENTITY = {"seed": 0, "shape": (1, 2)}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(JsonLines(tmp_path / "journal.jsonl"), identity=IDENTITY, space=SPACE, objectives=[macs(SPACE)])
    made.read()
    for evaluation in EVALUATIONS:
        made.add(evaluation)
    return made


def state_of(order: list[int], strategy: dict[str, object] | None = None) -> SearchState:
    digest = hashlib.sha256(b"".join(told_line(EVALUATIONS[place]) for place in order)).hexdigest()
    return SearchState(order, digest, 3, 1, [[0.0, 1.0]], strategy or {"rng": 2**100})  # type: ignore[list-item]


def test_a_state_survives_its_file(tmp_path: Path, journal: Journal) -> None:
    state = state_of([2, 0, 1], {"rng": 2**127 + 1, "crowding": float("inf"), "value": 0.1 + 0.2})
    state.save(tmp_path / "state.json", identity=IDENTITY)
    assert SearchState.load(tmp_path / "state.json", journal) == state
    assert json.loads((tmp_path / "state.json").read_text())["identity"] == {"seed": 0, "shape": [1, 2]}


@pytest.mark.parametrize("order", [[0, 1, 3], [1, 0, 2], [0, 1]])
def test_a_state_of_other_evaluations_does_not_follow_from_the_journal(
    tmp_path: Path, journal: Journal, order: list[int]
) -> None:
    """Others, the same in another order, or fewer."""
    state_of([0, 1, 2]).save(tmp_path / "state.json", identity=IDENTITY)
    document = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**document, "order": order}))
    with pytest.raises(StoredFileError, match="must follow from the journal"):
        SearchState.load(tmp_path / "state.json", journal)


def test_a_strategy_whose_state_is_no_json_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"state_dict of a strategy must give JSON.*set"):
        state_of([0], {"seen": {1, 2}}).save(tmp_path / "state.json", identity=IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_every_part_of_an_evaluation_counts() -> None:
    one = EVALUATIONS[0]
    others = [
        Evaluation(Candidate(one.architecture, EVALUATIONS[1].architecture), one.values, one.seconds),
        Evaluation(one.candidate, {"macs": 1e-300}, one.seconds),
        Evaluation(one.candidate, {}, one.seconds, "no"),
        EVALUATIONS[1],
    ]
    assert len({told_line(each) for each in (one, *others)}) == 5
