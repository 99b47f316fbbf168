"""A search that was stopped, at whatever moment, and gone on with is the search that was not, to the last bit."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwnas.strategies.search_state
from hwnas.files import JsonLines, write_text
from hwnas.objectives import Objective, macs
from hwnas.spaces import Architecture
from hwnas.strategies import STRATEGIES, SearchLoop, SearchStrategy, make_strategy
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import Killed, toy_error

from .toy_evolution import ToyEvolution

SPACE = ToySpace()
BATCH = 4
BUDGET = 14  # in the middle of the fourth batch
MOMENTS = ("before", "while", "after")


class Search:
    """One search in a folder, its evaluations counted."""

    def __init__(self, folder: Path, strategy: str | None = None) -> None:
        self.calls: list[Architecture] = []
        truth = toy_error(SPACE)

        def evaluate(architectures: Any) -> list[float]:
            self.calls.extend(architectures)
            if sum(architectures[0].choices) % 5 == 4:
                raise RuntimeError("no")
            return truth.evaluate(architectures)

        objectives = [Objective("error", "fraction", evaluate), macs(SPACE)]
        self.strategy: SearchStrategy = (
            ToyEvolution(SPACE, objectives, rng=np.random.default_rng(0), batch=BATCH)
            if strategy is None
            else make_strategy(strategy, SPACE, objectives, seed=0)
        )
        journal, log = JsonLines(folder / "evaluations.jsonl"), JsonLines(folder / "search_log.jsonl")
        self.loop = SearchLoop(SPACE, objectives, self.strategy, journal, {"seed": 0}, log)

    def run(self, budget: int) -> "Search":
        self.front = self.loop.run(budget)
        return self

    def found(self) -> dict[str, Any]:
        """All that the search has come to, but for how long it took."""
        return {
            "evaluations": [(one.candidate, one.values, one.failure) for one in self.loop.evaluations.values()],
            "front": [(one.candidate, one.values) for one in self.front],
            "log": [{**vars(one), "seconds": 0.0} for one in self.loop.generations],
            "asks next": self.loop._asked or self.loop.strategy.ask(),
            "strategy": json.loads(json.dumps(self.loop.strategy.state_dict())),
        }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    budgets = (BUDGET, 2 * BUDGET)
    return {budget: Search(tmp_path_factory.mktemp("unbroken")).run(budget).found() for budget in budgets}


class Writes:
    """Counts the writes of a search, and kills it before, while or after the one of a number."""

    def __init__(self) -> None:
        self.arm(None)

    def arm(self, number: int | None, moment: str = "") -> None:
        self.count, self._number, self._moment = 0, number, moment

    def do(self, path: Path, text: str, write: Callable[[], None]) -> None:
        moment = self._moment if self.count == self._number else ""
        self.count += 1
        if moment == "before":
            raise Killed
        if moment == "while":  # a state is renamed into its place, but a power cut may tear it all the same
            before = path.read_text() if path.exists() and path.suffix == ".jsonl" else ""
            path.parent.mkdir(exist_ok=True)
            path.write_text(before + text[: len(text) // 2])
            raise Killed
        write()
        if moment == "after":
            raise Killed


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    counted, append = Writes(), JsonLines.append

    def append_counted(self: JsonLines, document: Any, *, sync: bool = True) -> None:
        counted.do(self.path, json.dumps(dict(document)), lambda: append(self, document, sync=sync))

    def write_counted(path: Path, text: str, *, sync: bool = True) -> None:
        counted.do(path, text, lambda: write_text(path, text, sync=sync))

    monkeypatch.setattr(JsonLines, "append", append_counted)
    monkeypatch.setattr(hwnas.strategies.search_state, "write_text", write_counted)
    return counted


def kinds_of_writes() -> Iterator[str]:
    """What an unbroken search of BUDGET writes: a header, and for each batch its lines, the log's and the state."""
    yield "header"
    for batch in (BATCH,) * (BUDGET // BATCH):
        yield from ("evaluation",) * batch
        yield from ("log", "state")
    yield from ("evaluation",) * (BUDGET % BATCH)
    yield "log"


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_write(tmp_path: Path, writes: Writes, unbroken: dict[int, dict[str, Any]], moment: str) -> None:
    """Going on evaluates nothing again but what was lost with its line, and never tells what the state knows."""
    for number, kind in enumerate(kinds_of_writes()):
        folder = tmp_path / f"{number}"
        writes.arm(number, moment)
        first = Search(folder)
        with pytest.raises(Killed):
            first.run(BUDGET)
        writes.arm(None)
        second = Search(folder).run(BUDGET)
        lost = kind == "evaluation" and moment != "after"
        assert len(first.calls) + len(second.calls) == BUDGET + lost, (number, kind)
        told = second.strategy.tells
        assert second.found() == unbroken[BUDGET], (number, kind)
        stored = list(kinds_of_writes())[: number + (moment == "after")].count("state")
        torn = kind == "state" and moment == "while"
        assert told == BUDGET // BATCH - (0 if torn else stored), (number, kind)
        third = Search(folder).run(2 * BUDGET)
        assert third.found() == unbroken[2 * BUDGET], (number, kind)
        assert len(third.calls) == BUDGET


def test_the_writes_are_those_that_the_test_kills_at(tmp_path: Path, writes: Writes) -> None:
    Search(tmp_path).run(BUDGET)
    assert writes.count == len(list(kinds_of_writes()))


@pytest.mark.parametrize("first", [1, 3, 4, 8, 13, 14, 20])
def test_stopped_by_its_budget_and_gone_on_with(
    tmp_path: Path, unbroken: dict[int, dict[str, Any]], first: int
) -> None:
    """A batch that was cut is asked for again, and only what is missing of it is evaluated."""
    begun = Search(tmp_path).run(first)
    resumed = Search(tmp_path).run(2 * BUDGET)
    assert len(begun.calls) == first
    assert len(resumed.calls) == 2 * BUDGET - first
    assert resumed.found() | {"log": []} == unbroken[2 * BUDGET] | {"log": []}
    assert resumed.strategy.tells == 2 * BUDGET // BATCH - first // BATCH


@pytest.mark.parametrize("first", [3, 4, 14])
def test_gone_on_with_in_the_same_process(tmp_path: Path, unbroken: dict[int, dict[str, Any]], first: int) -> None:
    search = Search(tmp_path).run(first).run(2 * BUDGET)
    assert len(search.calls) == 2 * BUDGET
    assert search.found()["evaluations"] == unbroken[2 * BUDGET]["evaluations"]
    assert search.found()["front"] == unbroken[2 * BUDGET]["front"]


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path: Path, *, lines: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))


def changed(path: Path) -> None:
    """Other values of the first evaluation: the state is of what they were before."""
    lines = path.read_text().splitlines(keepends=True)
    first = json.loads(lines[1])
    lines[1] = json.dumps({**first, "seconds": 77.0}) + "\n"
    path.write_text("".join(lines))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "strategy_state.json").unlink(), "it does not exist"),
        (lambda folder: (folder / "strategy_state.json").write_text(""), "in JSON"),
        (lambda folder: (folder / "strategy_state.json").write_text("[]"), "must be a state of a search"),
        (lambda folder: (folder / "strategy_state.json").write_text('{"schema_version": 1}'), "KeyError"),
        (lambda folder: edited(folder / "strategy_state.json", schema_version=2), "it has 2"),
        (lambda folder: edited(folder / "strategy_state.json", identity={"seed": 1}), "it is of another"),
        (lambda folder: edited(folder / "strategy_state.json", order=[0]), "it has other evaluations"),
        (lambda folder: edited(folder / "strategy_state.json", order=["first"]), "TypeError"),
        (lambda folder: edited(folder / "strategy_state.json", digest="0" * 64), "it has other evaluations"),
        (lambda folder: edited(folder / "strategy_state.json", more=1), "TypeError"),
        (lambda folder: edited(folder / "strategy_state.json", generation="3"), "TypeError"),
        (lambda folder: edited(folder / "strategy_state.json", strategy={}), "must hold a state of the strategy"),
        (lambda folder: cut(folder / "evaluations.jsonl", lines=7), "IndexError"),
        (lambda folder: changed(folder / "evaluations.jsonl"), "it has other evaluations"),
        (lambda folder: (folder / "search_log.jsonl").unlink(), "must hold the generations"),
        (lambda folder: cut(folder / "search_log.jsonl", lines=2), "must hold the generations"),
    ],
)
def test_without_a_sound_state_the_journal_is_told_anew(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    unbroken: dict[int, dict[str, Any]],
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    Search(tmp_path).run(BUDGET)
    spoil(tmp_path)
    with caplog.at_level(logging.INFO, logger="hwnas"):
        resumed = Search(tmp_path).run(2 * BUDGET)
    assert any(
        text.startswith("Telling the strategy all evaluations anew") and said in text for text in caplog.messages
    )
    assert resumed.found() == unbroken[2 * BUDGET]
    again = Search(tmp_path).run(2 * BUDGET)  # whose state is sound once more
    assert again.strategy.tells == 0
    assert again.found() == unbroken[2 * BUDGET]


def test_a_state_that_was_half_taken_up_leaves_no_trace(tmp_path: Path, unbroken: dict[int, dict[str, Any]]) -> None:
    """The generator of the strategy was set before its history turned out to be broken."""
    Search(tmp_path).run(BUDGET)
    path = tmp_path / "strategy_state.json"
    strategy = json.loads(path.read_text())["strategy"]
    edited(path, strategy={**strategy, "history": {"choices": [[1]]}})
    assert Search(tmp_path).run(2 * BUDGET).found()["evaluations"] == unbroken[2 * BUDGET]["evaluations"]


def test_evaluations_that_came_in_another_order_are_taken_up_as_they_were_asked_for(
    tmp_path: Path, unbroken: dict[int, dict[str, Any]]
) -> None:
    """As several workers write them."""
    Search(tmp_path).run(BUDGET)
    path = tmp_path / "evaluations.jsonl"
    header, *lines = path.read_text().splitlines(keepends=True)
    mixed = [*lines[:4][::-1], *lines[4:8][::-1], *lines[8:12][::-1], *lines[12:]]
    path.write_text("".join([header, *mixed]))
    state = tmp_path / "strategy_state.json"
    edited(state, order=[place // 4 * 4 + 3 - place % 4 for place in range(12)])
    resumed = Search(tmp_path).run(2 * BUDGET)
    assert resumed.strategy.tells == 2 * BUDGET // BATCH - 3
    assert resumed.found() == unbroken[2 * BUDGET]


def test_a_smaller_budget_leaves_the_state_of_the_larger(tmp_path: Path, unbroken: dict[int, dict[str, Any]]) -> None:
    Search(tmp_path).run(2 * BUDGET)
    before = (tmp_path / "strategy_state.json").read_bytes()
    small = Search(tmp_path).run(BUDGET)
    assert small.found() == unbroken[BUDGET]
    assert (tmp_path / "strategy_state.json").read_bytes() == before


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_goes_on_from_its_state(tmp_path: Path, strategy: str) -> None:
    straight = Search(tmp_path / "straight", strategy).run(60)
    for budget in (3, 30, 60):
        resumed = Search(tmp_path / "resumed", strategy).run(budget)
    assert list(resumed.loop.evaluations) == list(straight.loop.evaluations)
    assert [one.values for one in resumed.front] == [one.values for one in straight.front]
    assert (tmp_path / "resumed" / "strategy_state.json").exists()
