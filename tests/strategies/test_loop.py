"""The loop that runs any strategy: what it evaluates, keeps, and goes on with."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.errors import ArchitectureError, RunError, StoredFileError, TrainingError
from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation, ParetoFront
from hwnas.objectives import Objective, macs, parameters
from hwnas.spaces import Architecture, MobileNetV3
from hwnas.strategies import SearchLoop, SearchStrategy
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import Killed, toy_error
from hwnas.workers import OneProcess

from .toy_evolution import ToyEvolution

SPACE = ToySpace()
EVERYTHING = SPACE.everything()
POPULATION = 10
BUDGET = 37  # in the middle of a generation


class Listed(SearchStrategy):
    """Asks for what it was given, a list a round, then for nothing; keeps what it was told."""

    def __init__(self, rounds: Iterable[Sequence[Architecture]]) -> None:
        self._rounds = iter(rounds)
        self.told: list[list[Evaluation]] = []

    def ask(self) -> list[Candidate]:
        return [Candidate(one) for one in next(self._rounds, ())]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        self.told.append(list(evaluations))

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": len(self.told)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for _ in range(state["rounds"]):
            self.told.append([])
            next(self._rounds)


class Judge:
    """An expensive objective that counts its calls, and can be told to misbehave at one of them."""

    def __init__(self, *, at: int | None = None, misbehave: Callable[[], float] | None = None) -> None:
        self.calls: list[Architecture] = []
        self._at, self._misbehave = at, misbehave
        self._truth = toy_error(SPACE)

    def __call__(self, architectures: Sequence[Architecture]) -> list[float]:
        assert len(architectures) == 1
        if self._misbehave is not None and (self._at is None or len(self.calls) == self._at):
            self.calls.extend(architectures)
            return [self._misbehave()]
        self.calls.extend(architectures)
        return self._truth.evaluate(architectures)


def raising(error: BaseException) -> Callable[[], float]:
    def misbehave() -> float:
        raise error

    return misbehave


def make_loop(
    folder: Path,
    judge: Judge | None = None,
    *,
    strategy: SearchStrategy | None = None,
    seed: int = 0,
    bound: float | None = None,
    identity: dict[str, Any] | None = None,
) -> SearchLoop:
    error = Objective("error", "fraction", judge or Judge())
    objectives = [error, macs(SPACE).bounded(bound)]
    made = strategy or ToyEvolution(SPACE, objectives, rng=np.random.default_rng(seed), batch=POPULATION)
    names = {"objectives": [one.to_json() for one in objectives], "seed": seed}
    return SearchLoop(
        SPACE,
        objectives,
        made,
        JsonLines(folder / "evaluations.jsonl"),
        {**SPACE.identity(), **names, **(identity or {})},
        JsonLines(folder / "search_log.jsonl"),
    )


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def log(folder: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / "search_log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


def summary(front: ParetoFront) -> list[tuple[Architecture, dict[str, float]]]:
    return [(one.architecture, dict(one.values)) for one in front]


# what is evaluated and kept


def test_the_journal_holds_a_header_and_a_line_an_evaluation(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.run(5)
    header, *lines = journal(tmp_path)
    assert header == {"schema_version": 1, **loop.identity}
    assert len(lines) == 5
    for line, (architecture, evaluation) in zip(lines, loop.evaluations.items(), strict=True):
        assert line["architecture"] == architecture.to_json()
        assert line["values"] == evaluation.values
        assert set(line) - {"parent"} == {"architecture", "values", "seconds"}


def test_values_are_those_of_the_objectives(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.run(12)
    for architecture, evaluation in loop.evaluations.items():
        assert list(evaluation.values) == ["error", "macs"]
        for objective in loop.objectives:
            assert evaluation.values[objective.name] == objective.evaluate([architecture])[0]


def test_evaluations_are_appended_as_they_come(tmp_path: Path) -> None:
    """Each is in the file before the next begins."""
    seen: list[int] = []

    def count_lines() -> float:
        seen.append(len((tmp_path / "evaluations.jsonl").read_text().splitlines()))
        return 0.5

    make_loop(tmp_path, Judge(misbehave=count_lines)).run(6)
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("budget", [1, 9, 10, 11, 37, 60])
def test_the_budget_is_kept_exactly(tmp_path: Path, budget: int) -> None:
    judge = Judge()
    loop = make_loop(tmp_path, judge)
    loop.run(budget)
    assert len(judge.calls) == len(set(judge.calls)) == len(loop.evaluations) == budget
    assert log(tmp_path)[-1]["evaluations"] == budget


def test_no_architecture_is_evaluated_twice(tmp_path: Path) -> None:
    """Not within a round and not in a later one; the strategy is told all the same."""
    a, b, c = EVERYTHING[:3]
    strategy, judge = Listed([[a, b, a], [b, c], [a]]), Judge()
    loop = make_loop(tmp_path, judge, strategy=strategy)
    loop.run(10)
    assert judge.calls == [a, b, c]
    assert [[one.architecture for one in told] for told in strategy.told] == [[a, b, a], [b, c], [a]]
    assert strategy.told[2][0] is strategy.told[0][0]


def test_repeated_architectures_do_not_count(tmp_path: Path) -> None:
    """A round in which the budget ends still ends with it, whatever is repeated there."""
    a, b, c, d = EVERYTHING[:4]
    strategy, judge = Listed([[a, b], [a, c, b, d]]), Judge()
    make_loop(tmp_path, judge, strategy=strategy).run(3)
    assert judge.calls == [a, b, c]
    assert len(strategy.told) == 1


def test_progress_is_told(tmp_path: Path) -> None:
    news: list[tuple[str, int, int]] = []
    make_loop(tmp_path).run(4, on_progress=lambda stage, done, total, note="": news.append((stage, done, total)))
    assert news == [("searching", done, 4) for done in (1, 2, 3, 4)]


def test_the_front_is_that_of_all_evaluations_within_bounds(tmp_path: Path) -> None:
    bound = float(np.median(macs(SPACE).evaluate(EVERYTHING)))
    unaware = ToyEvolution(SPACE, [toy_error(SPACE), macs(SPACE)], rng=np.random.default_rng(0))
    loop = make_loop(tmp_path, bound=bound, strategy=unaware)
    front = loop.run(BUDGET)
    within = [one for one in loop.evaluations.values() if one.values["macs"] <= bound]
    assert 0 < len(within) < BUDGET
    best = [
        one
        for one in within
        if not any(
            other.values["error"] <= one.values["error"]
            and other.values["macs"] <= one.values["macs"]
            and other.values != one.values
            for other in within
        )
    ]
    assert {one.architecture for one in front} == {one.architecture for one in best}


# failures


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        (raising(RuntimeError("out of memory")), "RuntimeError: out of memory"),
        (raising(ValueError("a bad shape")), "ValueError: a bad shape"),
        (raising(FloatingPointError("overflow")), "FloatingPointError: overflow"),
        (raising(TrainingError("The loss", "must be finite")), "TrainingError: The loss must be finite."),
        (lambda: float("nan"), "error is nan"),
        (lambda: float("inf"), "error is inf"),
        (lambda: float("-inf"), "error is -inf"),
    ],
)
def test_a_failure_is_recorded_with_its_reason_and_never_given_a_score(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, misbehave: Callable[[], float], reason: str
) -> None:
    judge = Judge(at=3, misbehave=misbehave)
    loop = make_loop(tmp_path, judge)
    front = loop.run(20)
    failed = judge.calls[3]
    line = journal(tmp_path)[4]
    assert line["architecture"] == failed.to_json()
    assert line["failure"] == reason
    assert "values" not in line
    assert loop.evaluations[failed].failure == reason
    assert loop.evaluations[failed].values == {}
    assert failed not in {one.architecture for one in front}
    assert len(judge.calls) == len(set(judge.calls)) == len(loop.evaluations) == 20
    assert [record.message for record in caplog.records] == [f"An evaluation failed: {reason}"]


def test_failures_are_told_to_the_strategy_in_their_place(tmp_path: Path) -> None:
    strategy = Listed([EVERYTHING[:4]])
    make_loop(tmp_path, Judge(at=2, misbehave=raising(RuntimeError("no"))), strategy=strategy).run(10)
    assert [one.failure for one in strategy.told[0]] == [None, None, "RuntimeError: no", None]
    assert [one.architecture for one in strategy.told[0]] == EVERYTHING[:4]


def test_where_everything_fails_the_front_is_empty(tmp_path: Path) -> None:
    judge = Judge(misbehave=raising(RuntimeError("no")))
    front = make_loop(tmp_path, judge).run(25)
    assert len(front) == 0
    assert len(judge.calls) == 25
    assert [entry["hypervolume"] for entry in log(tmp_path)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("error", [Killed(), KeyboardInterrupt(), KeyError("a mistake in the code"), MemoryError()])
def test_what_is_no_failure_of_an_architecture_is_let_through(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        make_loop(tmp_path, Judge(at=2, misbehave=raising(error))).run(5)
    assert len(journal(tmp_path)) == 1 + 2


# going on


@pytest.mark.parametrize("killed_after", [0, 1, 9, 10, 23, 36])
def test_killed_and_run_again_it_goes_on_where_it_was(tmp_path: Path, killed_after: int) -> None:
    unbroken_judge, judge = Judge(), Judge(at=killed_after, misbehave=raising(Killed()))
    unbroken = make_loop(tmp_path / "unbroken", unbroken_judge)
    expected = unbroken.run(BUDGET)
    with pytest.raises(Killed):
        make_loop(tmp_path / "broken", judge).run(BUDGET)
    second = Judge()
    resumed = make_loop(tmp_path / "broken", second)
    found = resumed.run(BUDGET)
    assert judge.calls[:-1] + second.calls == unbroken_judge.calls
    assert list(resumed.evaluations) == list(unbroken.evaluations)
    assert summary(found) == summary(expected)
    assert log(tmp_path / "broken") == log(tmp_path / "unbroken")
    kept = [
        [(line.get("architecture"), line.get("values")) for line in journal(tmp_path / name)]
        for name in ("broken", "unbroken")
    ]
    assert kept[0] == kept[1]


def test_killed_again_and_again(tmp_path: Path) -> None:
    """After every third evaluation: twelve times three and a last one."""
    kills = 0
    for _ in range(20):
        try:
            front = make_loop(tmp_path / "broken", Judge(at=3, misbehave=raising(Killed()))).run(BUDGET)
            break
        except Killed:
            kills += 1
    assert kills == BUDGET // 3
    assert summary(front) == summary(make_loop(tmp_path / "unbroken").run(BUDGET))
    assert log(tmp_path / "broken") == log(tmp_path / "unbroken")


def test_failures_are_remembered(tmp_path: Path) -> None:
    first = Judge(at=3, misbehave=raising(RuntimeError("no")))
    make_loop(tmp_path, first).run(15)
    second = Judge()
    loop = make_loop(tmp_path, second)
    loop.run(25)
    assert len(second.calls) == 10
    assert loop.evaluations[first.calls[3]].failure == "RuntimeError: no"


def test_a_finished_search_evaluates_and_writes_nothing(tmp_path: Path) -> None:
    expected = make_loop(tmp_path).run(BUDGET)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    judge = Judge()
    assert summary(make_loop(tmp_path, judge).run(BUDGET)) == summary(expected)
    assert judge.calls == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_larger_budget_goes_on_from_a_smaller(tmp_path: Path) -> None:
    """As if it had been the budget from the start."""
    straight = make_loop(tmp_path / "straight")
    expected = straight.run(60)
    for budget in (15, 30, 60):
        extended = make_loop(tmp_path / "extended")
        found = extended.run(budget)
    assert summary(found) == summary(expected)
    assert list(extended.evaluations) == list(straight.evaluations)


def test_a_smaller_budget_sees_the_first_evaluations_alone(tmp_path: Path) -> None:
    expected = make_loop(tmp_path / "small").run(15)
    make_loop(tmp_path / "large").run(60)
    before = (tmp_path / "large" / "search_log.jsonl").read_bytes()
    judge = Judge()
    assert summary(make_loop(tmp_path / "large", judge).run(15)) == summary(expected)
    assert judge.calls == []
    assert (tmp_path / "large" / "search_log.jsonl").read_bytes() == before


@pytest.mark.parametrize("torn", ['{"architecture": {"space": "toy", "cho', "{", "\x00\x00", '{"architecture": {}}'])
def test_a_torn_last_line_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: str
) -> None:
    """What a power cut leaves: that evaluation is done again, and no other."""
    expected = make_loop(tmp_path).run(BUDGET)
    path = tmp_path / "evaluations.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:21]) + torn.encode())
    judge = Judge()
    with caplog.at_level(logging.WARNING, logger="hwnas"):
        found = make_loop(tmp_path, judge).run(BUDGET)
    assert "dropped a torn last line" in caplog.text
    assert len(judge.calls) == BUDGET - 20
    assert summary(found) == summary(expected)
    assert len(journal(tmp_path)) == BUDGET + 1


def test_a_torn_header_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "evaluations.jsonl").write_text('{"schema_ver')
    loop = make_loop(tmp_path)
    loop.run(5)
    assert journal(tmp_path)[0] == {"schema_version": 1, **loop.identity}


def test_a_torn_log_is_mended(tmp_path: Path) -> None:
    make_loop(tmp_path).run(BUDGET)
    expected = log(tmp_path)
    path = tmp_path / "search_log.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    make_loop(tmp_path).run(BUDGET)
    assert log(tmp_path) == expected


def test_without_its_evaluations_the_old_log_goes_too(tmp_path: Path) -> None:
    """Deleting the journal is how a search is made anew."""
    make_loop(tmp_path, seed=0).run(60)
    (tmp_path / "evaluations.jsonl").unlink()
    make_loop(tmp_path, seed=1).run(BUDGET)
    make_loop(tmp_path / "fresh", seed=1).run(BUDGET)
    assert log(tmp_path) == log(tmp_path / "fresh")


# what is not gone on with


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1}, "must be of a search with seed = 1, but it is of 0"),
        ({"space": "other"}, "space = 'other'"),
        ({"input_shape": [3, 6, 6]}, "input_shape = "),
        ({"objectives": [{"name": "error"}]}, "objectives = "),
        ({"data": "digits"}, "must be of a search with data = 'digits', but it is of None"),
    ],
)
def test_the_journal_of_another_search_is_refused(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    make_loop(tmp_path).run(12)
    before = (tmp_path / "evaluations.jsonl").read_bytes()
    judge = Judge()
    with pytest.raises(RunError) as caught:
        make_loop(tmp_path, judge, identity=other).run(20)
    assert said in str(caught.value)
    assert str(tmp_path / "evaluations.jsonl") in str(caught.value)
    assert judge.calls == []
    assert (tmp_path / "evaluations.jsonl").read_bytes() == before


def test_other_objectives_are_another_search(tmp_path: Path) -> None:
    make_loop(tmp_path).run(12)
    with pytest.raises(RunError, match="objectives"):
        make_loop(tmp_path, bound=9999.0).run(12)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_journal_of_another_schema_is_refused(tmp_path: Path, version: object) -> None:
    make_loop(tmp_path).run(12)
    header, *lines = journal(tmp_path)
    header["schema_version"] = version
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    with pytest.raises(RunError, match="must have schema_version 1 in its first line"):
        make_loop(tmp_path).run(20)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"values": ...}, RunError),
        ({"values": None}, RunError),
        ({"values": [0.1, 3.0]}, RunError),
        ({"values": {"error": 0.1}}, RunError),
        ({"values": {"error": 0.1, "parameters": 3.0}}, RunError),
        ({"values": {"error": 0.1, "macs": "many"}}, RunError),
        ({"values": {"error": 0.1, "macs": None}}, RunError),
        ({"values": {"error": float("nan"), "macs": 3.0}}, RunError),
        ({"values": {"error": True, "macs": 3.0}}, RunError),
        ({"values": ..., "failure": 3}, RunError),
        ({"architecture": ...}, RunError),
        ({"architecture": [1, 2]}, RunError),
        ({"seconds": "long"}, RunError),
        ({"architecture": {"space": "other", "choices": [0] * 7}}, ArchitectureError),
        ({"architecture": {"space": "toy", "choices": [9] * 7}}, ArchitectureError),
        ({"architecture": {"space": "toy"}}, ArchitectureError),
    ],
)
def test_a_line_that_is_no_evaluation_is_refused(
    tmp_path: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    make_loop(tmp_path).run(12)
    lines = journal(tmp_path)
    lines[5] = {key: value for key, value in {**lines[5], **change}.items() if value is not ...}
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(error) as caught:
        make_loop(tmp_path).run(20)
    if error is RunError:
        assert "line 6" in str(caught.value)


def test_a_broken_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    make_loop(tmp_path).run(12)
    path = tmp_path / "evaluations.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], "{torn\n", *lines[5:]]))
    with pytest.raises(StoredFileError, match="line 5 is not one"):
        make_loop(tmp_path).run(20)


# how far it has come


def test_hypervolume_is_logged_each_generation_and_never_falls(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    front = loop.run(BUDGET)
    entries = log(tmp_path)
    assert [entry["generation"] for entry in entries] == list(range(1, len(entries) + 1))
    evaluated = [entry["evaluations"] for entry in entries]
    assert evaluated == sorted(evaluated)
    assert (evaluated[0], evaluated[-1]) == (POPULATION, BUDGET)
    volumes = [entry["hypervolume"] for entry in entries]
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]
    assert entries[-1]["front_size"] == len(front)
    assert [vars(one) for one in loop.generations] == [
        json.loads(line) for line in (tmp_path / "search_log.jsonl").read_text().splitlines()
    ]


def test_hypervolume_is_in_boxes_of_the_first_generation(tmp_path: Path) -> None:
    """From the best to a tenth beyond the worst, by hand: two corners and a third that joins them later."""
    values = {EVERYTHING[0]: (0.0, 10.0), EVERYTHING[1]: (10.0, 0.0), EVERYTHING[2]: (5.0, 5.0)}
    objectives = [
        Objective(f"o{index}", "x", lambda architectures, index=index: [values[one][index] for one in architectures])
        for index in (0, 1)
    ]
    strategy = Listed([EVERYTHING[:2], EVERYTHING[2:3]])
    logs = JsonLines(tmp_path / "log.jsonl")
    SearchLoop(SPACE, objectives, strategy, JsonLines(tmp_path / "journal.jsonl"), {}, logs).run(3)
    assert [entry["front_size"] for entry in logs.read()[:2]] == [2, 3]
    corners = 2 * 11 * 1 - 1 * 1
    assert [entry["hypervolume"] for entry in logs.read()[:2]] == pytest.approx(
        [corners / 121, (corners + 5 * 5) / 121], rel=1e-9
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 7e9, 1e-9])
@pytest.mark.parametrize("budget", [1, 20])
def test_objectives_that_never_differ_have_a_hypervolume(tmp_path: Path, value: float, budget: int) -> None:
    """The box is empty in that direction, whatever the unit: no division by zero."""
    objectives = [
        Objective("same", "x", lambda architectures: [value for _ in architectures]),
        macs(SPACE),
    ]
    strategy = ToyEvolution(SPACE, objectives, rng=np.random.default_rng(0), batch=POPULATION)
    logs = JsonLines(tmp_path / "log.jsonl")
    SearchLoop(SPACE, objectives, strategy, JsonLines(tmp_path / "journal.jsonl"), {}, logs).run(budget)
    volumes = [entry["hypervolume"] for entry in logs.read()]
    assert all(volume > 0 for volume in volumes)
    assert volumes == sorted(volumes)


def test_a_single_evaluation_of_a_large_network_has_a_hypervolume(tmp_path: Path) -> None:
    """Its millions of MACs are the best and the worst at once."""
    space = MobileNetV3((1, 8, 8), 10, width_mult=0.25)
    objectives = [macs(space), parameters(space)]
    strategy = ToyEvolution(space, objectives, rng=np.random.default_rng(0))
    logs = JsonLines(tmp_path / "log.jsonl")
    SearchLoop(space, objectives, strategy, JsonLines(tmp_path / "journal.jsonl"), {}, logs).run(1)
    assert logs.read()[0]["hypervolume"] == pytest.approx(1.0)


def test_the_log_never_falls_where_a_search_that_ended_early_goes_on(tmp_path: Path) -> None:
    """Its first generation was not whole when the box was measured; the box stays."""
    values = {EVERYTHING[0]: (0.0, 0.0), EVERYTHING[1]: (1.0, 1.0), EVERYTHING[2]: (-100.0, 50.0)}
    objectives = [
        Objective(f"o{index}", "x", lambda architectures, index=index: [values[one][index] for one in architectures])
        for index in (0, 1)
    ]
    logs = JsonLines(tmp_path / "log.jsonl")
    for budget in (2, 3):
        strategy = Listed([EVERYTHING[:3]])
        SearchLoop(SPACE, objectives, strategy, JsonLines(tmp_path / "journal.jsonl"), {}, logs).run(budget)
    assert [entry["evaluations"] for entry in logs.read()] == [2, 3]
    assert [entry["hypervolume"] for entry in logs.read()] == pytest.approx([1.0, 1.0])


def test_a_generation_without_news_is_logged_once(tmp_path: Path) -> None:
    """Stopped in between or not."""
    rounds = [EVERYTHING[:3], EVERYTHING[:2], EVERYTHING[:2], EVERYTHING[:5]]

    def stopped_after(count: int) -> Iterable[Sequence[Architecture]]:
        yield from rounds[:count]
        raise Killed

    make_loop(tmp_path / "straight", strategy=Listed(rounds)).run(5)
    for count in (2, 3):
        with pytest.raises(Killed):
            make_loop(tmp_path / "broken", strategy=Listed(stopped_after(count))).run(5)
    make_loop(tmp_path / "broken", strategy=Listed(rounds)).run(5)
    expected = [(1, 3), (2, 3), (3, 3), (4, 5)]
    for name in ("straight", "broken"):
        assert [(entry["generation"], entry["evaluations"]) for entry in log(tmp_path / name)] == expected


def test_seconds_go_on_counting(tmp_path: Path) -> None:
    make_loop(tmp_path).run(10)
    path = tmp_path / "search_log.jsonl"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "seconds": 1000.0}) + "\n")
    make_loop(tmp_path).run(20)
    seconds = [json.loads(line)["seconds"] for line in path.read_text().splitlines()]
    assert seconds[1] >= 1000.0


# the end


def test_a_strategy_with_nothing_left_ends_the_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hwnas"):
        loop = make_loop(tmp_path, strategy=Listed([EVERYTHING[:3]]))
        assert len(loop.run(100)) >= 1
    assert len(loop.evaluations) == 3
    assert "no new architecture after 3 evaluations" in caplog.text


def test_a_strategy_that_repeats_itself_for_ever_is_stopped(tmp_path: Path) -> None:
    asked: list[int] = []

    def forever() -> Iterable[Sequence[Architecture]]:
        while True:
            asked.append(1)
            yield EVERYTHING[:3]

    loop = make_loop(tmp_path, strategy=Listed(forever()))
    loop.run(100)
    assert len(loop.evaluations) == 3
    assert 2 <= len(asked) <= 30


def test_the_whole_space_is_evaluated_and_no_more(tmp_path: Path) -> None:
    judge = Judge()
    objectives = [Objective("error", "fraction", judge), macs(SPACE)]
    strategy = ToyEvolution(SPACE, objectives, rng=np.random.default_rng(0), batch=100)
    journal_file, logs = JsonLines(tmp_path / "journal.jsonl"), JsonLines(tmp_path / "log.jsonl")
    SearchLoop(SPACE, objectives, strategy, journal_file, {}, logs).run(10_000)
    assert sorted(one.choices for one in judge.calls) == sorted(one.choices for one in EVERYTHING)


def test_a_full_disk_stops_it_with_all_that_was_evaluated_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(tmp_path)
    append = JsonLines.append
    written: list[object] = []

    def until_full(self: JsonLines, document: Any, **keywords: Any) -> None:
        if self.path.name == "evaluations.jsonl" and len(written) == 8:
            raise StoredFileError(
                str(self.path), "could not be written", came="the system says: No space left on device"
            )
        written.append(document)
        append(self, document, **keywords)

    monkeypatch.setattr(JsonLines, "append", until_full)
    with pytest.raises(StoredFileError, match="No space left"):
        loop.run(BUDGET)
    monkeypatch.undo()
    assert len(journal(tmp_path)) == 8
    found = make_loop(tmp_path).run(BUDGET)
    assert summary(found) == summary(make_loop(tmp_path / "other").run(BUDGET))


def test_scores_are_looked_up_by_name_whatever_their_order(tmp_path: Path) -> None:
    """A cheap objective before an expensive one."""
    expensive = Objective("error", "fraction", Judge())
    objectives = [parameters(SPACE), expensive, macs(SPACE)]
    strategy = Listed([EVERYTHING[:4]])
    loop = SearchLoop(SPACE, objectives, strategy, JsonLines(tmp_path / "a"), {}, JsonLines(tmp_path / "b"))
    loop.run(4)
    for architecture, evaluation in loop.evaluations.items():
        assert evaluation.values == {one.name: replace(one).evaluate([architecture])[0] for one in objectives}
        assert list(evaluation.values) == ["parameters", "error", "macs"]


# cheap objectives with gaps, parents, and workers


def test_what_a_cheap_objective_lacks_is_a_failure_and_nothing_expensive_is_run_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gap, judge = EVERYTHING[1], Judge()

    def score(choices_NV: np.ndarray) -> np.ndarray:
        return np.array([np.nan if tuple(row) == gap.choices else 1.0 for row in choices_NV.tolist()])

    recorded = Objective("recorded", "ms", lambda architectures: [1.0 for _ in architectures], score=score)
    objectives = [Objective("error", "fraction", judge), recorded]
    strategy = Listed([EVERYTHING[:3]])
    loop = SearchLoop(SPACE, objectives, strategy, JsonLines(tmp_path / "a.jsonl"), {}, JsonLines(tmp_path / "b.jsonl"))
    front = loop.run(3)
    assert judge.calls == [EVERYTHING[0], EVERYTHING[2]]
    assert [one.failure for one in strategy.told[0]] == [None, "recorded is nan", None]
    assert list(loop.evaluations) == EVERYTHING[:3]
    assert gap not in {one.architecture for one in front}
    assert caplog.messages == ["An evaluation failed: recorded is nan"]


def test_cheap_objectives_alone_need_no_workers(tmp_path: Path) -> None:
    objectives = [macs(SPACE), parameters(SPACE)]
    journal_file, logs = JsonLines(tmp_path / "a.jsonl"), JsonLines(tmp_path / "b.jsonl")
    loop = SearchLoop(SPACE, objectives, Listed([EVERYTHING]), journal_file, {}, logs, Backwards(objectives))
    loop.run(len(EVERYTHING))
    for architecture, evaluation in loop.evaluations.items():
        assert evaluation.values == {one.name: one.evaluate([architecture])[0] for one in objectives}


def test_a_parent_reaches_the_objective_and_the_journal(tmp_path: Path) -> None:
    seen: list[tuple[Architecture, Architecture | None]] = []

    def evaluate_child(architecture: Architecture, parent: Architecture | None) -> float:
        seen.append((architecture, parent))
        return 0.5

    class Related(Listed):
        def ask(self) -> list[Candidate]:
            return [replace(one, parent=EVERYTHING[0]) if number else one for number, one in enumerate(super().ask())]

    objectives = [Objective("error", "fraction", Judge(), evaluate_child=evaluate_child)]
    for budget in (3, 4):
        journal_file, logs = JsonLines(tmp_path / "evaluations.jsonl"), JsonLines(tmp_path / "b.jsonl")
        strategy = Related([EVERYTHING[1:5]])
        loop = SearchLoop(SPACE, objectives, strategy, journal_file, {}, logs)
        loop.run(budget)
    assert seen == [(EVERYTHING[1], None), *((one, EVERYTHING[0]) for one in EVERYTHING[2:5])]
    assert [line.get("parent") for line in journal(tmp_path)[1:]] == [None, *[list(EVERYTHING[0].choices)] * 3]
    assert [one.candidate.parent for one in strategy.told[0]] == [None, *[EVERYTHING[0]] * 3]


class Backwards(OneProcess):
    """Workers that evaluate the last candidate first, and may die after some."""

    def __init__(self, objectives: Sequence[Objective], *, dies_after: int = 1000) -> None:
        super().__init__(objectives)
        self._left = dies_after

    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Evaluation]]:
        assert not all(one.cost == "cheap" for one in self._objectives)
        for index, evaluation in super().evaluate(candidates[::-1]):
            if self._left == 0:
                raise Killed
            self._left -= 1
            yield len(candidates) - 1 - index, evaluation


@pytest.mark.parametrize("dies_after", [0, 1, 7, 10, 23])
def test_evaluations_are_in_the_order_of_asking_whatever_the_order_they_come_in(
    tmp_path: Path, dies_after: int
) -> None:
    straight = make_loop(tmp_path / "straight")
    expected = straight.run(BUDGET)
    for dies in (dies_after, 1000):
        loop = make_loop(tmp_path / "mixed")
        workers = Backwards(loop.objectives[:1], dies_after=dies)
        loop = replace(loop, workers=workers)
        if dies == dies_after:
            with pytest.raises(Killed):
                loop.run(BUDGET)
            assert len(journal(tmp_path / "mixed")) == 1 + dies
    found = loop.run(BUDGET)
    assert summary(found) == summary(expected)
    assert list(loop.evaluations) == list(straight.evaluations)
    kept = [line["architecture"] for line in journal(tmp_path / "mixed")[1:]]
    assert kept[0] == list(straight.evaluations)[POPULATION - 1].to_json()
    assert log(tmp_path / "mixed") == log(tmp_path / "straight")


def test_evaluations_of_an_earlier_search_are_told_first(tmp_path: Path) -> None:
    """Also where the strategy would not have asked for them; stopped and gone on with, it comes to the same."""
    journal = JsonLines(tmp_path / "evaluations.jsonl")
    known, asked = EVERYTHING[:3], [EVERYTHING[4:6], [EVERYTHING[1], EVERYTHING[7]]]
    judge = Judge()
    objectives = [Objective("error", "fraction", judge), macs(SPACE)]
    identity = {"seed": 0, "told_first": 3}
    journal.append({"schema_version": 1, **identity})
    for one in known:
        values = {"error": 0.5, "macs": macs(SPACE).evaluate([one])[0]}
        journal.append({"architecture": one.to_json(), "values": values, "seconds": 0.0})

    def run(budget: int) -> tuple[SearchLoop, Listed]:
        strategy = Listed([*asked, []])
        loop = SearchLoop(SPACE, objectives, strategy, journal, identity, JsonLines(tmp_path / "log.jsonl"))
        loop.run(budget)
        return loop, strategy

    loop, strategy = run(6)
    assert [[one.architecture for one in told] for told in strategy.told] == [known, *asked]
    assert judge.calls == [*asked[0], EVERYTHING[7]]
    assert list(loop.evaluations) == [*known, *asked[0], EVERYTHING[7]]
    assert [one.evaluations for one in loop.generations] == [3, 5, 6]
    again, _ = run(6)
    assert again.evaluations == loop.evaluations
    assert len(judge.calls) == 3
    loop.state_path.unlink()
    again, strategy = run(6)
    assert again.evaluations == loop.evaluations
    assert [one.architecture for one in strategy.told[0]] == known
    assert len(judge.calls) == 3
