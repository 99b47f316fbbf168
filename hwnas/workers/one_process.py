"""Evaluations in the process of the search, one after the other."""

from collections.abc import Iterator, Sequence

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.workers.evaluation import evaluate_candidate
from hwnas.workers.workers import Workers

__all__ = ["OneProcess"]


class OneProcess(Workers):
    """The process of the search itself.

    Args:
        objectives: whose values are wanted.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)

    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Evaluation]]:
        """Evaluates in order, each when it is asked for; see Workers."""
        for index, candidate in enumerate(candidates):
            yield index, evaluate_candidate(candidate, self._objectives)

    def close(self) -> None:
        """Nothing runs."""
