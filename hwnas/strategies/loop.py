"""The loop that runs any strategy: ask, score, keep, tell.

Every evaluation is appended to a file as it comes. A search that is run again tells its strategy what the file holds
instead of evaluating it anew; told the same, a strategy asks the same, so it goes on exactly where it was.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hwnas.errors import HwnasError, RunError
from hwnas.files import JsonLines, first_difference
from hwnas.front import Candidate, Evaluation, ParetoFront, hypervolume, pareto_front, values_of
from hwnas.objectives import Objective, choices_of, score_choices
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["EVALUATIONS_SCHEMA", "GenerationLog", "SearchLoop"]

logger = logging.getLogger(__name__)

EVALUATIONS_SCHEMA: Final = 1
MAX_STALE_GENERATIONS: Final = 20


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


@dataclass
class SearchLoop:
    """One search.

    Attributes:
        space: to search.
        objectives: to minimise, within their bounds.
        strategy: what asks and is told.
        journal: where evaluations are kept as they come.
        identity: what the journal must be of to be gone on with.
        log: where each generation's hypervolume is kept.
    """

    space: SearchSpace
    objectives: Sequence[Objective]
    strategy: SearchStrategy
    journal: JsonLines
    identity: Mapping[str, Any]
    log: JsonLines
    evaluations: dict[Architecture, Evaluation] = field(default_factory=dict, init=False)
    generations: list[GenerationLog] = field(default_factory=list, init=False)
    _logged: tuple[int, int] = field(default=(0, 0), init=False)

    def run(self, budget: int, *, on_progress: OnProgress = silent) -> ParetoFront:
        """Searches until `budget` distinct architectures are evaluated, those in the journal included.

        Returns:
            The front of all evaluations.

        Raises:
            RunError: the journal is of another search.
            StoredFileError: the journal is broken or could not be written.
        """
        known = self._read_journal()
        if known:
            logger.info("Going on after %d of %d evaluations from %s", len(known), budget, self.journal.path)
        else:
            self.log.path.unlink(missing_ok=True)  # of evaluations that are gone
        logged = self.log.repair()
        last = logged[-1] if logged else {}
        self._logged = (int(last.get("evaluations", 0)), int(last.get("generation", 0)))
        start = time.monotonic() - float(last.get("seconds", 0.0))
        reference: list[tuple[float, float]] = []
        first = int(logged[0].get("evaluations", 0)) if logged else None
        stale = 0
        while len(self.evaluations) < budget and stale < MAX_STALE_GENERATIONS:
            candidates = self.strategy.ask()
            before = len(self.evaluations)
            answers = self._evaluate(candidates, known, budget, on_progress)
            reference = reference or self._reference(first) or self._reference()
            if len(answers) < len(candidates) or not candidates:
                self._log_generation(reference, start)
                break
            self.strategy.tell(answers)
            self._log_generation(reference, start)
            stale = stale + 1 if len(self.evaluations) == before else 0
        if len(self.evaluations) < budget:
            logger.info("The strategy has no new architecture after %d evaluations", len(self.evaluations))
        return pareto_front(list(self.evaluations.values()), self.objectives)

    def _evaluate(
        self,
        candidates: Sequence[Candidate],
        known: Mapping[Architecture, Evaluation],
        budget: int,
        on_progress: OnProgress,
    ) -> list[Evaluation]:
        """The evaluations of `candidates` in order; fewer where the budget is spent."""
        cheap = (
            score_choices(self.space, self.objectives, choices_of([c.architecture for c in candidates]))
            if candidates
            else {}
        )
        answers = []
        for index, candidate in enumerate(candidates):
            found = self.evaluations.get(candidate.architecture)
            if found is None:
                if len(self.evaluations) >= budget:
                    break
                found = known.get(candidate.architecture)
                if found is None:
                    found = self._evaluate_one(candidate, {name: float(value[index]) for name, value in cheap.items()})
                    self.journal.append(_to_json(found))
                self.evaluations[candidate.architecture] = found
                on_progress("searching", len(self.evaluations), budget)
            answers.append(found)
        return answers

    def _evaluate_one(self, candidate: Candidate, cheap: Mapping[str, float]) -> Evaluation:
        start = time.monotonic()
        values = dict(cheap)
        try:
            for objective in self.objectives:
                if objective.name not in values:
                    values[objective.name] = _evaluated(objective, candidate)
            wrong = [name for name, value in values.items() if not np.isfinite(value)]
            failure = f"{wrong[0]} is {values[wrong[0]]}" if wrong else None
        except (RuntimeError, ValueError, FloatingPointError, HwnasError) as error:
            failure = f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - start, 4)
        if failure is not None:
            logger.warning("An evaluation failed: %s", failure)
            return Evaluation(candidate, {}, seconds, failure)
        return Evaluation(candidate, {o.name: values[o.name] for o in self.objectives}, seconds)

    def _read_journal(self) -> dict[Architecture, Evaluation]:
        lines = self.journal.repair()
        header = {"schema_version": EVALUATIONS_SCHEMA, **self.identity}
        if not lines:
            self.journal.append(header)
            return {}
        if lines[0].get("schema_version") != EVALUATIONS_SCHEMA:
            raise RunError(
                str(self.journal.path),
                f"must have schema_version {EVALUATIONS_SCHEMA} in its first line",
                came=f"it has {lines[0].get('schema_version')!r}",
                do="Choose another output folder",
            )
        different = first_difference(lines[0], header)
        if different is not None:
            key, old, new = different
            raise RunError(
                str(self.journal.path),
                f"must be of a search with {key} = {new!r}",
                came=f"it is of {old!r}",
                do="Choose another output folder",
            )
        found = [self._from_json(line, number) for number, line in enumerate(lines[1:], start=2)]
        return {evaluation.architecture: evaluation for evaluation in found}

    def _from_json(self, line: Mapping[str, Any], number: int) -> Evaluation:
        names = {objective.name for objective in self.objectives}
        values, failure, seconds = line.get("values") or {}, line.get("failure"), line.get("seconds", 0.0)
        sound = isinstance(values, dict) and set(values) == names and all(map(_is_finite, values.values()))
        outcome = sound if failure is None else isinstance(failure, str)
        if not (outcome and isinstance(line.get("architecture"), dict) and _is_finite(seconds)):
            raise RunError(
                f"{self.journal.path}, line {number}",
                f"must hold an architecture and its {', '.join(sorted(names))}",
                came=f"it holds {', '.join(line) or 'nothing'}",
                do="Choose another output folder, or delete the file to evaluate anew",
            )
        architecture = self.space.from_json(line["architecture"])
        return Evaluation(Candidate(architecture), values if failure is None else {}, float(seconds), failure)

    def _reference(self, count: int | None = None) -> list[tuple[float, float]]:
        """For each objective the best and the worst of the first `count` values, the worst a tenth further out."""
        sound = [one for one in list(self.evaluations.values())[:count] if one.failure is None]
        if not sound:
            return []
        values_NM = values_of(sound, self.objectives)
        best_M, worst_M = values_NM.min(axis=0), values_NM.max(axis=0)
        size_M = np.where(worst_M != 0, np.abs(worst_M), 1.0)
        margin_M = 0.1 * np.where(worst_M > best_M, worst_M - best_M, size_M)
        return list(zip(best_M.tolist(), (worst_M + margin_M).tolist(), strict=True))

    def _log_generation(self, reference: Sequence[tuple[float, float]], start: float) -> None:
        front = pareto_front(list(self.evaluations.values()), self.objectives)
        volume = 0.0
        if len(front) and reference:
            best, worst = np.array(reference).T
            volume = hypervolume((front.values_NM - best) / (worst - best), [1.0] * len(self.objectives))
        seconds = round(time.monotonic() - start, 3)
        number = len(self.generations) + 1
        entry = GenerationLog(number, len(self.evaluations), volume, len(front), seconds)
        self.generations.append(entry)
        if (entry.evaluations, entry.generation) > self._logged:
            self.log.append(vars(entry))
        logger.debug("generation %d: hypervolume %.4f, front of %d", number, volume, len(front))


def _evaluated(objective: Objective, candidate: Candidate) -> float:
    if objective.evaluate_child is not None:
        return float(objective.evaluate_child(candidate.architecture, candidate.parent))
    return float(objective.evaluate([candidate.architecture])[0])


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _to_json(evaluation: Evaluation) -> dict[str, Any]:
    outcome = {"values": dict(evaluation.values)} if evaluation.failure is None else {"failure": evaluation.failure}
    return {"architecture": evaluation.architecture.to_json(), **outcome, "seconds": evaluation.seconds}
