"""Random search: the baseline that every other strategy has to beat (Li & Talwalkar, UAI 2019)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import SearchSpace
from hwnas.strategies.hyperparameters import require_count
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["RandomSearch"]


class RandomSearch(SearchStrategy):
    """Random architectures, none twice, each variable uniform; within the bounds of the cheap objectives.

    Li & Talwalkar, "Random search and reproducibility for neural architecture search", UAI 2019.

    Args:
        space: to search.
        objectives: of which those with a bound that is cheap to check keep architectures out.
        rng: of everything random.
        batch_size: architectures of a round.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        batch_size: int = 20,
    ) -> None:
        self._batch_size = require_count("batch_size of random", batch_size)
        self._space = space
        self._proposals = Proposals(space, objectives, rng)

    def ask(self) -> list[Candidate]:
        """The next architectures; none once a bounded number of draws finds nothing new.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        return [Candidate(one) for one in self._space.architectures(self._proposals.uniform(self._batch_size))]

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Remembers what was evaluated, so as not to ask for it again."""
        self._proposals.tell(evaluations)

    def state_dict(self) -> dict[str, Any]:
        """See SearchStrategy."""
        return self._proposals.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy."""
        self._proposals.load_state_dict(state)
