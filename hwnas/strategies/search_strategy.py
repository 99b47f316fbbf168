"""SearchStrategy: two verbs hold every search, `ask` and `tell`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hwnas.front import Candidate, Evaluation

__all__ = ["SearchStrategy"]


class SearchStrategy(ABC):
    """Asks for architectures and is told their scores.

    A strategy is made as `Strategy(space, objectives, *, rng, …hyperparameters)` and is a function of its generator and
    of what it is told: told the same, it asks the same, which is how a stopped search is gone on with.
    """

    @abstractmethod
    def ask(self) -> list[Candidate]:
        """The next candidates, none where it has nothing left to ask for; it may ask for one that was evaluated before."""

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """The evaluations of the candidates last asked for, in their order, failed ones included."""
