"""Candidates, their evaluations, and the Pareto front of them.

Suffixes: N evaluations, M objectives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import moocore
import numpy as np
import numpy.typing as npt

from hwnas.errors import StoredFileError
from hwnas.files import read_json, write_json
from hwnas.objectives import Objective
from hwnas.spaces import Architecture, SearchSpace

__all__ = ["Candidate", "Evaluation", "ParetoFront", "hypervolume", "non_dominated", "pareto_front", "values_of"]

SCHEMA_VERSION: Final = 1

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """An architecture that a strategy wants evaluated.

    Attributes:
        architecture: the architecture.
        parent: the one it was made from, where its weights may be inherited.
    """

    architecture: Architecture
    parent: Architecture | None = None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation has found.

    Attributes:
        candidate: what was evaluated.
        values: of every objective by name; empty where it failed.
        seconds: how long it took.
        failure: why it failed; None where it did not. A failed evaluation has no values.
    """

    candidate: Candidate
    values: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str | None = None

    @property
    def architecture(self) -> Architecture:
        """The candidate's architecture."""
        return self.candidate.architecture


@dataclass(frozen=True)
class ParetoFront:
    """Evaluations of which none is better than another in every objective, sorted by the first objective.

    Attributes:
        evaluations: the members.
        objectives: names, units and bounds of the objectives.
    """

    evaluations: tuple[Evaluation, ...]
    objectives: tuple[Objective, ...]

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations)

    def __len__(self) -> int:
        return len(self.evaluations)

    @property
    def values_NM(self) -> FloatArray:
        """The members' values, (N, M)."""
        return values_of(self.evaluations, self.objectives)

    def hypervolume(self, reference: Sequence[float]) -> float:
        """The volume between the front and `reference`, one worst value an objective."""
        return hypervolume(self.values_NM, reference)

    def choose(self, count: int) -> list[Evaluation]:
        """`count` members that show the front: the best in each objective, the knee, and the rest spread between.

        The knee is the member nearest to the ideal point, each objective scaled to [0, 1] over the front; each further one
        is the member farthest from those chosen. Fewer come where the front has fewer; sorted as the front is.
        """
        if not self.evaluations or count < 1:
            return []
        values_NM = self.values_NM
        span_M = np.ptp(values_NM, axis=0)
        scaled_NM = (values_NM - values_NM.min(axis=0)) / np.where(span_M > 0, span_M, 1.0)
        first = [int(np.lexsort((scaled_NM.sum(axis=1), column))[0]) for column in scaled_NM.T]
        first.append(int(np.linalg.norm(scaled_NM, axis=1).argmin()))
        chosen = list(dict.fromkeys(first))[:count]
        while len(chosen) < min(count, len(values_NM)):
            gap_N = np.linalg.norm(scaled_NM[:, None] - scaled_NM[None, chosen], axis=2).min(axis=1)
            gap_N[chosen] = -1.0
            chosen.append(int(gap_N.argmax()))
        return [self.evaluations[index] for index in sorted(chosen)]

    def save(self, path: Path) -> None:
        """Writes the front as JSON, atomically. Raises StoredFileError."""
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                "objectives": [objective.to_json() for objective in self.objectives],
                "evaluations": [
                    {"architecture": one.architecture.to_json(), "values": dict(one.values)} for one in self
                ],
            },
        )

    @staticmethod
    def load(path: Path, space: SearchSpace) -> "ParetoFront":
        """Reads what `save` wrote; the objectives know their names, but cannot evaluate.

        Raises:
            StoredFileError: broken or of another schema.
            ArchitectureError: of another space.
        """
        document = read_json(path, kind="Pareto front", schema_version=SCHEMA_VERSION)
        try:
            objectives = tuple(
                Objective(entry["name"], entry["unit"], _no_evaluation, bound=entry.get("bound"))
                for entry in document["objectives"]
            )
            evaluations = tuple(
                Evaluation(
                    Candidate(space.from_json(entry["architecture"])),
                    {objective.name: float(entry["values"][objective.name]) for objective in objectives},
                )
                for entry in document["evaluations"]
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StoredFileError(str(path), "must be a Pareto front", came=f"reading it says: {error!r}") from error
        return ParetoFront(evaluations, objectives)


def values_of(evaluations: Sequence[Evaluation], objectives: Sequence[Objective]) -> FloatArray:
    """The values of `evaluations`, (N, M)."""
    rows = [[one.values[objective.name] for objective in objectives] for one in evaluations]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives))


def pareto_front(evaluations: Sequence[Evaluation], objectives: Sequence[Objective]) -> ParetoFront:
    """The front of those that did not fail and meet every bound; of equal values the first is kept."""
    within = [
        one
        for one in evaluations
        if one.failure is None and all(o.bound is None or one.values[o.name] <= o.bound for o in objectives)
    ]
    if not within:
        return ParetoFront((), tuple(objectives))
    values_NM = values_of(within, objectives)
    members = [within[index] for index in np.flatnonzero(non_dominated(values_NM))]
    members.sort(key=lambda one: [one.values[objective.name] for objective in objectives])
    return ParetoFront(tuple(members), tuple(objectives))


def non_dominated(values_NM: FloatArray) -> npt.NDArray[np.bool_]:
    """Which rows no other row dominates, (N,); of equal rows the first."""
    mask: npt.NDArray[np.bool_] = moocore.is_nondominated(values_NM, keep_weakly=False)
    return mask


def hypervolume(values_NM: FloatArray, reference: Sequence[float]) -> float:
    """The volume that is dominated by `values_NM` and dominates `reference` (Zitzler & Thiele, 1998)."""
    inside = values_NM[(values_NM < np.asarray(reference)).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=np.asarray(reference, dtype=np.float64))) if len(inside) else 0.0


def _no_evaluation(architectures: Sequence[Architecture]) -> list[float]:
    raise NotImplementedError("an objective read from a file cannot evaluate")
