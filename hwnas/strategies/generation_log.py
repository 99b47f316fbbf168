"""How far a search has come: the hypervolume of its front after each generation."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.files import JsonLines
from hwnas.front import Evaluation, ParetoFront, hypervolume, pareto_front, values_of
from hwnas.objectives import Objective

__all__ = ["GenerationLog", "HypervolumeLog", "Reference"]

logger = logging.getLogger(__name__)

Reference = list[tuple[float, float]]
"""For each objective what counts as 0 and as 1."""


@dataclass(frozen=True)
class GenerationLog:
    """How far a search had come after one ask and tell.

    Attributes:
        generation: counted from 1.
        evaluations: distinct architectures evaluated so far.
        hypervolume: of the front, as a multiple of the box between the best and the worst values of the first
            generation, the worst a tenth further out.
        front_size: its members.
        seconds: that the search has taken, stopped runs included.
    """

    generation: int
    evaluations: int
    hypervolume: float
    front_size: int
    seconds: float


class HypervolumeLog:
    """The generations of a search, in memory and as lines of a file.

    Args:
        lines: the file.
        objectives: of the front.

    Attributes:
        generations: those that this search has gone through, or taken up.
        front: of all evaluations so far.
        reference: the box; empty as long as nothing was evaluated with success.
    """

    def __init__(self, lines: JsonLines, objectives: Sequence[Objective]) -> None:
        self.generations: list[GenerationLog] = []
        self.front = ParetoFront((), tuple(objectives))
        self.reference: Reference = []
        self._lines = lines
        self._objectives = tuple(objectives)
        self._written: list[GenerationLog] = []
        self._begun = time.monotonic()
        self._counted = 0

    def read(self) -> None:
        """Reads the file. Raises StoredFileError."""
        self._written = [
            GenerationLog(
                int(line.get("generation", 0)),
                int(line.get("evaluations", 0)),
                float(line.get("hypervolume", 0.0)),
                int(line.get("front_size", 0)),
                float(line.get("seconds", 0.0)),
            )
            for line in self._lines.repair()
        ]
        self._begun = time.monotonic() - (self._written[-1].seconds if self._written else 0.0)

    def clear(self) -> None:
        """Removes the file: its evaluations are gone."""
        self._lines.path.unlink(missing_ok=True)

    def holds(self, count: int, evaluations: int) -> bool:
        """Whether the file has the first `count` generations, and that they end with so many evaluations."""
        last = self._last(count)
        return list(last) == list(range(1, count + 1)) and last[count].evaluations == evaluations

    def take_up(self, count: int, evaluations: Sequence[Evaluation], reference: Reference) -> None:
        """Goes on after the first `count` generations of the file, with all their evaluations."""
        self.generations = list(self._last(count).values())
        self.reference = reference
        self._count(evaluations)

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Ends a generation, with all evaluations so far. Raises StoredFileError."""
        self._count(evaluations)
        first = self._written[0].evaluations if self._written else None
        self.reference = self.reference or self._box(evaluations[:first]) or self._box(evaluations)
        volume = 0.0
        if len(self.front) and self.reference:
            best, worst = np.array(self.reference).T
            volume = hypervolume((self.front.values_NM - best) / (worst - best), [1.0] * len(self._objectives))
        seconds = round(time.monotonic() - self._begun, 3)
        entry = GenerationLog(len(self.generations) + 1, len(evaluations), volume, len(self.front), seconds)
        self.generations.append(entry)
        before = self._written[-1] if self._written else None
        if before is None or (entry.evaluations, entry.generation) > (before.evaluations, before.generation):
            self._lines.append(vars(entry), sync=False)
            self._written.append(entry)
        logger.debug("generation %d: hypervolume %.4f, front of %d", entry.generation, volume, len(self.front))

    def _count(self, evaluations: Sequence[Evaluation]) -> None:
        """The front of more evaluations is that of the old front and the new ones."""
        fresh = evaluations[self._counted :]
        if fresh:
            self.front = pareto_front([*self.front, *fresh], self._objectives)
            self._counted = len(evaluations)

    def _last(self, count: int) -> dict[int, GenerationLog]:
        """Of each of the first `count` generations the last line: one that the budget has cut is written again whole."""
        return {entry.generation: entry for entry in self._written if entry.generation <= count}

    def _box(self, evaluations: Sequence[Evaluation]) -> Reference:
        """For each objective the best and the worst value, the worst a tenth further out."""
        sound = [one for one in evaluations if one.failure is None]
        if not sound:
            return []
        values_NM = values_of(sound, self._objectives)
        best_M, worst_M = values_NM.min(axis=0), values_NM.max(axis=0)
        size_M = np.where(worst_M != 0, np.abs(worst_M), 1.0)
        margin_M = 0.1 * np.where(worst_M > best_M, worst_M - best_M, size_M)
        return list(zip(best_M.tolist(), (worst_M + margin_M).tolist(), strict=True))
