"""The journal. What a search makes of it stands in test_loop.py and test_exact_resume.py."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.errors import RunError
from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective, macs
from hwnas.strategies.journal import TOLD_FIRST, Journal, rescore
from hwnas.testing import ToySpace

SPACE = ToySpace()
EVERYTHING = SPACE.everything()


def make_journal(path: Path) -> Journal:
    journal = Journal(JsonLines(path), identity={"seed": 0}, space=SPACE, objectives=[macs(SPACE)])
    journal.read()
    return journal


@pytest.fixture
def kept() -> list[Evaluation]:
    return [
        Evaluation(Candidate(EVERYTHING[0]), {"macs": 0.1 + 0.2}, 1.5),
        Evaluation(Candidate(EVERYTHING[1], EVERYTHING[0]), {"macs": 3.0}, 0.1),
        Evaluation(Candidate(EVERYTHING[2], EVERYTHING[1]), {}, 0.2, "macs is nan"),
    ]


def test_what_is_read_is_what_was_kept(tmp_path: Path, kept: list[Evaluation]) -> None:
    first = make_journal(tmp_path / "journal.jsonl")
    for evaluation in kept:
        first.add(evaluation)
    again = make_journal(tmp_path / "journal.jsonl")
    for journal in (first, again):
        assert journal.evaluations == kept
        assert len(journal) == 3
        assert [journal.position(one.architecture) for one in kept] == [0, 1, 2]
        assert journal[EVERYTHING[1]] == kept[1]
        assert EVERYTHING[2] in journal
        assert EVERYTHING[3] not in journal


def test_a_parent_is_its_choices(tmp_path: Path, kept: list[Evaluation]) -> None:
    journal = make_journal(tmp_path / "journal.jsonl")
    for evaluation in kept:
        journal.add(evaluation)
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert lines[0] == {"schema_version": 1, "seed": 0}
    assert "parent" not in lines[1]
    assert lines[2]["parent"] == list(EVERYTHING[0].choices)


@pytest.mark.parametrize("parent", [3, "0", {"choices": []}])
def test_a_parent_that_is_none_is_refused(tmp_path: Path, kept: list[Evaluation], parent: object) -> None:
    journal = make_journal(tmp_path / "journal.jsonl")
    journal.add(kept[0])
    header, line = journal.path.read_text().splitlines()
    journal.path.write_text(header + "\n" + json.dumps({**json.loads(line), "parent": parent}) + "\n")
    with pytest.raises(RunError, match="line 2"):
        make_journal(journal.path)


def test_many_quick_evaluations_do_not_each_wait_for_the_disk(
    tmp_path: Path, kept: list[Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But those that take longer than a second do."""
    journal = make_journal(tmp_path / "journal.jsonl")
    clock, synced = [100.0], []
    monkeypatch.setattr("hwnas.strategies.journal.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(clock[0]))
    for seconds in (0.0, 0.3, 0.3, 0.5, 2.0, 0.1):
        clock[0] += seconds
        journal.add(kept[0])
    assert synced == pytest.approx([100.0, 101.1, 103.1])


def test_rescored_evaluations_keep_what_was_expensive(tmp_path: Path, kept: list[Evaluation]) -> None:
    path = tmp_path / "evaluations.jsonl"
    error = Objective("error", "fraction", lambda _: [])
    objectives = [error, macs(SPACE)]
    journal = Journal(JsonLines(path), identity={"seed": 0}, space=SPACE, objectives=objectives)
    journal.read()
    failed = Evaluation(Candidate(EVERYTHING[5]), seconds=2.0, failure="it is odd")
    for number, one in enumerate(kept):
        if one.failure is None:
            journal.add(replace(one, values={"error": 0.25 + number / 8, "macs": 1.0}))
    journal.add(failed)
    before = journal.evaluations
    rescore(JsonLines(path), identity={"seed": 1}, space=SPACE, objectives=objectives)
    identity = {"seed": 1, TOLD_FIRST: len(before)}
    again = Journal(JsonLines(path), identity=identity, space=SPACE, objectives=objectives)
    again.read()
    assert [one.candidate for one in again.evaluations] == [one.candidate for one in before]
    assert again.evaluations[-1] == failed
    expected = macs(SPACE).evaluate([one.architecture for one in before])
    for one, old, value in zip(again.evaluations[:-1], before, expected, strict=False):
        assert one.values == {"error": old.values["error"], "macs": value}
        assert one.seconds == old.seconds
