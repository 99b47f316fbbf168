"""What is worth asking for: architectures that are new and, by the cheap objectives, within bounds.

Cheap objectives are exact before anything is evaluated, so no strategy needs to spend an evaluation to learn that an
architecture is above the bound of one. Every loop that rejects what was drawn is bounded.

Suffixes: N architectures, V variables.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from hwnas.errors import InfeasibleError
from hwnas.front import Evaluation
from hwnas.objectives import Objective, check_feasible, choices_of, score_choices
from hwnas.spaces import Architecture, IntArray, SearchSpace
from hwnas.strategies.history import History, require_choices_of

__all__ = ["Draw", "Proposals"]

Draw = Callable[[int, int], IntArray]
"""Choices (N, V), canonical or not: of how many architectures, and in which attempt, counted from 0."""

MAX_ATTEMPTS: Final = 16
LEAST_DRAWN: Final = 256
"""Architectures drawn in an attempt: few may be new."""
SMALL: Final = 0.5
"""How far the options of a small architecture are at most from the smallest, on average and as a share."""


class Proposals:
    """New architectures for a strategy to ask for, and what it was told of those it asked for.

    Args:
        space: to search.
        objectives: of which the cheap ones decide what is within bounds.
        rng: of everything random.

    Attributes:
        history: what was told.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], rng: np.random.Generator) -> None:
        self._space = space
        self._cheap = [one for one in objectives if one.cost == "cheap"]
        self._rng = rng
        self.history = History(objectives)

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Takes in what was evaluated."""
        self.history.add(evaluations)

    def collect(self, count: int, draw: Draw) -> IntArray:
        """Up to `count` distinct new architectures within the cheap bounds, (n, V), the first that `draw` gives.

        Fewer come where a bounded number of attempts finds fewer.
        """
        found: dict[tuple[int, ...], None] = {}
        for attempt in range(MAX_ATTEMPTS):
            drawn_NV = self._space.canonicalize(draw(max(LEAST_DRAWN, 2 * count), attempt))
            found |= dict.fromkeys(map(tuple, self.worthwhile(drawn_NV).tolist()))
            if len(found) >= count:
                break
        return self._array(list(found)[:count])

    def worthwhile(self, choices_NV: IntArray) -> IntArray:
        """The rows of canonical `choices_NV` that are new, connected and within the cheap bounds, each once, in order."""
        new_NV = self.history.new(choices_NV)
        if not len(new_NV):
            return new_NV
        within_N = self._space.is_connected(new_NV)
        values = score_choices(self._space, self._cheap, new_NV)
        for objective in self._cheap:
            bound = np.inf if objective.bound is None else objective.bound
            within_N &= np.isfinite(values[objective.name]) & (values[objective.name] <= bound)
        return new_NV[within_N]

    def uniform(self, count: int) -> IntArray:
        """Up to `count` new random architectures, each variable uniform and independent. Raises InfeasibleError."""
        return self._random(count, lambda number, _attempt: self._space.sample_choices(number, rng=self._rng))

    def of_every_size(self, count: int) -> IntArray:
        """Up to `count` new architectures to begin with: the smallest, the largest, and random ones of every size.

        Uniform choices would all cost about the same, far from both ends of the front. Raises InfeasibleError.
        """
        return self._sized(count, [self._space.smallest(), self._space.largest()], largest=1.0)

    def small(self, count: int) -> IntArray:
        """Up to `count` new architectures to grow from: the smallest, and random small ones. Raises InfeasibleError."""
        return self._sized(count, [self._space.smallest()], largest=SMALL)

    def _sized(self, count: int, first: Sequence[Architecture], *, largest: float) -> IntArray:
        """`first`, then those whose options are on average so far, as a share up to `largest`, from their smallest."""
        first_NV = choices_of(first)

        def draw(number: int, _attempt: int) -> IntArray:
            sizes_N = largest * self._rng.random(number)
            drawn_NV = self._rng.binomial(self._space.num_options_V - 1, sizes_N[:, None])
            return np.concatenate([first_NV, drawn_NV])

        return self._random(count, draw)

    def _random(self, count: int, draw: Draw) -> IntArray:
        """What `draw` finds; where bounds are so tight that it finds too few, what descends to them as well."""
        found_NV = self.collect(count, draw)
        if len(found_NV) == count or all(objective.bound is None for objective in self._cheap):
            return found_NV
        try:
            ends_NV = check_feasible(self._space, self._cheap, rng=self._rng, starts=count - len(found_NV))
        except InfeasibleError:
            if len(found_NV) or len(self.history):
                return found_NV
            raise
        together_NV = np.concatenate([found_NV, self.worthwhile(ends_NV)])
        return self._array(list(dict.fromkeys(map(tuple, together_NV.tolist()))))

    def _array(self, rows: Sequence[tuple[int, ...]]) -> IntArray:
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._space.variables))

    def state_dict(self) -> dict[str, Any]:
        """What was told and the state of the generator, as JSON."""
        return {"history": self.history.state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave. Raises KeyError, TypeError or ValueError where it is none."""
        require_choices_of(self._space, state["history"]["choices"])
        self.history.load_state_dict(state["history"])
        self._rng.bit_generator.state = state["rng"]
