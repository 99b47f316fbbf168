"""SearchStrategy: two verbs hold every search, `ask` and `tell`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hwnas.front import Candidate, Evaluation

__all__ = ["SearchStrategy"]


class SearchStrategy(ABC):
    """Asks for architectures and is told their scores.

    A strategy is made as `Strategy(space, objectives, *, rng, …hyperparameters)` and is a function of its generator and
    of what it is told: told the same, it asks the same. Its state says where it stands after a `tell`, so that a stopped
    search need not tell it everything again.
    """

    @abstractmethod
    def ask(self) -> list[Candidate]:
        """The next candidates, none where it has nothing left to ask for; it may ask for one that was evaluated before."""

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """The evaluations of the candidates last asked for, in their order, failed ones included.

        Before it is asked anything it may be told those of an earlier search.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that it will ask follows from, its generator's state included, as JSON; to be called after a `tell`."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a state of a strategy that was made alike; it then asks what that one would have asked.

        Raises KeyError, TypeError or ValueError where `state` is none of such a strategy.
        """
