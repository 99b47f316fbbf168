"""What all workers keep, wherever they run."""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hwnas.errors import TrainingError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import Architecture
from hwnas.testing import ToySpace
from hwnas.workers import Workers

SPACE = ToySpace()
EVERYTHING = SPACE.everything()
SOUND = [Candidate(one) for one in EVERYTHING[20:30]]
KINDS = ("runtime", "value", "own", "nan", "key", "odd", "dies once", "prints")
KIND_OF = dict(zip(EVERYTHING, KINDS, strict=False))


def candidate(kind: str, *, parent: Architecture | None = None) -> Candidate:
    return Candidate(EVERYTHING[KINDS.index(kind)], parent)


def fickle(folder: Path) -> Objective:
    """An objective whose architectures do what can go wrong. Defined here, so that no other process can import it."""
    kinds = {one.choices: kind for one, kind in KIND_OF.items()}

    class Odd(Exception):  # noqa: N818
        def __init__(self, first: str, second: str) -> None:
            super().__init__(f"{first} and {second}")

    def act(kind: str) -> float:
        with (folder / "pids").open("a") as stream:
            stream.write(f"{kind} {os.getpid()}\n")
        if kind == "runtime":
            raise RuntimeError("out of memory")
        if kind == "value":
            raise ValueError("a bad shape")
        if kind == "own":
            raise TrainingError("The loss", "must be finite")
        if kind == "key":
            raise KeyError("a mistake")
        if kind == "odd":
            raise Odd("this", "that")
        if kind == "dies once" and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "prints":
            print("printed" * 100_000, flush=True)  # noqa: T201
            return float(len(sys.stdin.read()))
        return float("nan")

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        return [act(kinds[one.choices]) if one.choices in kinds else sum(one.choices) / 7 for one in architectures]

    return Objective("error", "fraction", evaluate)


def acted(folder: Path, kind: str) -> list[int]:
    """The processes that evaluated an architecture of this kind."""
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "pids").read_text().splitlines()
        return [int(line.split()[-1]) for line in lines if line.rpartition(" ")[0] == kind]
    return []


def inherited() -> Objective:
    """An objective whose networks take over weights."""

    def evaluate_child(architecture: Architecture, parent: Architecture | None) -> float:
        return sum(architecture.choices) + (100.0 if parent is None else 1000.0 * sum(parent.choices))

    return Objective(
        "inherited", "x", lambda architectures: [0.0 for _ in architectures], evaluate_child=evaluate_child
    )


def in_order(workers: Workers, candidates: Sequence[Candidate]) -> list[Evaluation]:
    found = dict(workers.evaluate(candidates))
    assert sorted(found) == list(range(len(candidates)))
    return [found[index] for index in range(len(candidates))]


class WorkersContract:
    """Override the fixtures: `folder`, and `workers` of the objectives fickle(folder) and inherited()."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("workers")

    def test_each_candidate_is_evaluated_once(self, workers: Workers) -> None:
        for batch in (SOUND, SOUND[:1], SOUND[3:]):
            for asked, found in zip(batch, in_order(workers, batch), strict=True):
                assert found.candidate == asked
                total = sum(asked.architecture.choices)
                assert found.values == {"error": total / 7, "inherited": total + 100.0}
                assert found.failure is None
                assert 0 <= found.seconds < 60

    def test_no_candidates_are_no_evaluations(self, workers: Workers) -> None:
        assert list(workers.evaluate([])) == []

    def test_a_child_is_evaluated_with_its_parent(self, workers: Workers) -> None:
        child = Candidate(SOUND[0].architecture, SOUND[5].architecture)
        (found,) = in_order(workers, [child])
        assert found.candidate == child
        expected = sum(child.architecture.choices) + 1000.0 * sum(SOUND[5].architecture.choices)
        assert found.values["inherited"] == expected

    def test_failures_say_the_same_everywhere(self, workers: Workers) -> None:
        kinds = ("runtime", "value", "own", "nan")
        found = in_order(workers, [*map(candidate, kinds), SOUND[0]])
        assert [one.failure for one in found] == [
            "RuntimeError: out of memory",
            "ValueError: a bad shape",
            "TrainingError: The loss must be finite.",
            "error is nan",
            None,
        ]
        assert [dict(one.values) for one in found[:4]] == [{}] * 4

    def test_a_mistake_in_the_code_is_raised_and_ends_no_worker(self, workers: Workers) -> None:
        with pytest.raises(KeyError, match="a mistake"):
            list(workers.evaluate([candidate("key"), *SOUND]))
        assert len(in_order(workers, SOUND)) == len(SOUND)

    def test_a_batch_that_is_given_up_does_not_mix_with_the_next(self, workers: Workers) -> None:
        evaluations = workers.evaluate(SOUND)
        next(evaluations)
        evaluations.close()  # type: ignore[attr-defined]
        found = in_order(workers, SOUND[::-1])
        assert [one.candidate for one in found] == SOUND[::-1]


class MortalWorkersContract(WorkersContract):
    """Of workers that are processes of their own."""

    def test_a_dead_worker_is_replaced_and_its_evaluation_given_to_another(
        self, workers: Workers, folder: Path
    ) -> None:
        found = in_order(workers, [candidate("dies once"), *SOUND])
        assert found[0].failure == "error is nan"  # what the second worker found
        assert len(set(acted(folder, "dies once"))) == 2
        assert [one.failure for one in found[1:]] == [None] * len(SOUND)

    def test_what_cannot_be_sent_back_is_said(self, workers: Workers) -> None:
        with pytest.raises(RuntimeError, match=r"^Odd: this and that$"):
            list(workers.evaluate([candidate("odd")]))
