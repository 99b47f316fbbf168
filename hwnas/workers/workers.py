"""Workers: where evaluations run. A search hands over a batch and takes the evaluations back as they come."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from hwnas.front import Candidate, Evaluation

__all__ = ["Workers"]


class Workers(ABC):
    """Evaluates batches of candidates; a context manager, which ends whatever runs.

    An evaluation depends on its candidate and the objectives alone, so a batch comes to the same with any workers.
    """

    @abstractmethod
    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Evaluation]]:
        """Evaluates each of `candidates`, whose architectures are distinct.

        Yields:
            The place of a candidate in `candidates` and its evaluation, a failed one included, as they come.

        Raises:
            HwnasError: nothing can be evaluated there.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends whatever runs, in the middle of an evaluation too. Harmless when called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
