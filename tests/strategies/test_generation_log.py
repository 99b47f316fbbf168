"""The log of hypervolumes. What a search makes of it stands in test_loop.py and test_exact_resume.py."""

from pathlib import Path

import numpy as np
import pytest

from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation, hypervolume, pareto_front
from hwnas.objectives import Objective
from hwnas.strategies.generation_log import HypervolumeLog
from hwnas.testing import ToySpace

EVERYTHING = ToySpace().everything()
OBJECTIVES = [Objective(name, "x", lambda architectures: [0.0]) for name in ("a", "b")]


def random_evaluations(count: int) -> list[Evaluation]:
    rng = np.random.default_rng(0)
    made = []
    for architecture in EVERYTHING[:count]:
        a, b = rng.integers(0, 30, size=2).tolist()  # with repeats
        failed = rng.random() < 0.2
        values = {} if failed else {"a": float(a), "b": float(b)}
        made.append(Evaluation(Candidate(architecture), values, failure="no" if failed else None))
    return made


def make_log(path: Path) -> HypervolumeLog:
    log = HypervolumeLog(JsonLines(path), OBJECTIVES)
    log.read()
    return log


def test_the_front_that_grows_is_that_of_all(tmp_path: Path) -> None:
    evaluations = random_evaluations(60)
    log = make_log(tmp_path / "log.jsonl")
    for count in range(4, 61, 4):
        log.add(evaluations[:count])
        assert log.front == pareto_front(evaluations[:count], OBJECTIVES)
        best, worst = np.array(log.reference).T
        expected = hypervolume((log.front.values_NM - best) / (worst - best), [1.0, 1.0])
        assert log.generations[-1].hypervolume == expected
    assert [one.evaluations for one in log.generations] == list(range(4, 61, 4))


def test_taken_up_it_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    evaluations = random_evaluations(40)
    straight = make_log(tmp_path / "straight.jsonl")
    for count in (10, 20, 30, 40):
        straight.add(evaluations[:count])
    first = make_log(tmp_path / "stopped.jsonl")
    for count in (10, 20, 25):  # the third was cut by the budget
        first.add(evaluations[:count])
    second = make_log(tmp_path / "stopped.jsonl")
    assert second.holds(2, 20)
    second.take_up(2, evaluations[:20], straight.reference)
    for count in (30, 40):
        second.add(evaluations[:count])
    untimed = [[{**vars(one), "seconds": 0} for one in log.generations] for log in (straight, second)]
    assert untimed[0] == untimed[1]
    assert second.front == straight.front
    third = make_log(tmp_path / "stopped.jsonl")
    assert third.holds(4, 40)
    third.take_up(4, evaluations, straight.reference)
    assert [(one.generation, one.evaluations) for one in third.generations] == [(1, 10), (2, 20), (3, 30), (4, 40)]


@pytest.mark.parametrize(("count", "evaluations"), [(2, 19), (3, 20), (2, 0)])
def test_a_log_of_other_generations_is_not_taken_up(tmp_path: Path, count: int, evaluations: int) -> None:
    log = make_log(tmp_path / "log.jsonl")
    for done in (10, 20):
        log.add(random_evaluations(done))
    assert not make_log(tmp_path / "log.jsonl").holds(count, evaluations)


def test_a_front_that_does_not_change_is_not_found_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is new is held against the front, so a long search costs no more a generation than a short one."""
    sizes: list[int] = []

    def counted(evaluations: list[Evaluation], objectives: list[Objective]) -> object:
        sizes.append(len(evaluations))
        return pareto_front(evaluations, objectives)

    monkeypatch.setattr("hwnas.strategies.generation_log.pareto_front", counted)
    evaluations = random_evaluations(60)
    log = make_log(tmp_path / "log.jsonl")
    for count in (59, 59, 60):
        log.add(evaluations[:count])
    assert sizes[0] == 59
    assert len(sizes) == 2
    assert sizes[1] < 30
