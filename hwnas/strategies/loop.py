"""The loop that runs any strategy: ask, evaluate, keep, tell.

Every evaluation is appended to a journal as it comes, and after every tell the state of the strategy is stored. A search
that is run again goes on from there; where that state is missing or does not follow from the journal, its strategy is told
what the journal holds instead. Told the same, a strategy asks the same, so both ways lead to the same search.
"""

import copy
import hashlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hwnas.errors import StoredFileError
from hwnas.files import JsonLines
from hwnas.front import Candidate, Evaluation, ParetoFront, pareto_front
from hwnas.objectives import Objective, choices_of, score_choices
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace
from hwnas.strategies.generation_log import GenerationLog, HypervolumeLog
from hwnas.strategies.journal import TOLD_FIRST, Journal
from hwnas.strategies.search_state import SearchState, told_line
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.workers import OneProcess, Workers, missing_value

__all__ = ["SearchLoop"]

logger = logging.getLogger(__name__)

MAX_STALE_GENERATIONS: Final = 20


@dataclass
class SearchLoop:
    """One search.

    Attributes:
        space: to search.
        objectives: to minimise, within their bounds.
        strategy: what asks and is told.
        journal: where evaluations are kept as they come; strategy_state.json lies beside it.
        identity: what the journal must be of to be gone on with.
        log: where each generation's hypervolume is kept.
        workers: where the expensive objectives are evaluated; None: in this process. The caller closes them.
        evaluations: those found so far, in the order in which they were asked for.
    """

    space: SearchSpace
    objectives: Sequence[Objective]
    strategy: SearchStrategy
    journal: JsonLines
    identity: Mapping[str, Any]
    log: JsonLines
    workers: Workers | None = None
    evaluations: dict[Architecture, Evaluation] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._journal = Journal(self.journal, identity=self.identity, space=self.space, objectives=self.objectives)
        self._log = HypervolumeLog(self.log, self.objectives)
        self._workers = self.workers or OneProcess([one for one in self.objectives if one.cost == "expensive"])
        self._digest = hashlib.sha256()
        self._asked: list[Candidate] | None = None
        self._stale = 0
        self._stored = 0

    @property
    def generations(self) -> list[GenerationLog]:
        """How far the search had come after each ask and tell."""
        return self._log.generations

    @property
    def state_path(self) -> Path:
        """Where the state after the last tell lies."""
        return self.journal.path.with_name("strategy_state.json")

    def run(self, budget: int, *, on_progress: OnProgress = silent) -> ParetoFront:
        """Searches until `budget` distinct architectures are evaluated, those in the journal included.

        An evaluation that fails counts, too. Called again with a larger budget it goes on.

        Returns:
            The front of all evaluations.

        Raises:
            RunError: the journal is of another search.
            StoredFileError: the journal is broken or could not be written.
        """
        if not self.evaluations:
            self._open(budget)
        while len(self.evaluations) < budget and self._stale < MAX_STALE_GENERATIONS:
            before = len(self.evaluations)
            self._asked = asked = self.strategy.ask() if self._asked is None else self._asked
            answers = self._evaluate(asked, budget, on_progress)
            whole = 0 < len(asked) == len(answers)
            if whole:
                self.strategy.tell(answers)
                self._asked = None
            self._log.add(list(self.evaluations.values()))
            if not whole:
                break
            self._stale = self._stale + 1 if len(self.evaluations) == before else 0
            self._store()
        if len(self.evaluations) < budget:
            logger.info("The strategy has no new architecture after %d evaluations", len(self.evaluations))
        return pareto_front(list(self.evaluations.values()), self.objectives)

    def _evaluate(self, asked: Sequence[Candidate], budget: int, on_progress: OnProgress) -> list[Evaluation]:
        """The evaluations of `asked` in order; fewer where the budget is spent."""
        new: dict[Architecture, Candidate] = {}
        affordable: list[Architecture] = []
        for candidate in asked:
            architecture = candidate.architecture
            if architecture not in self.evaluations and architecture not in new:
                if len(self.evaluations) + len(new) == budget:
                    break
                new[architecture] = candidate
            affordable.append(architecture)
        number = itertools.count(len(self.evaluations) + 1)
        fresh = [candidate for architecture, candidate in new.items() if architecture not in self._journal]
        for _ in range(len(new) - len(fresh)):
            on_progress("searching", next(number), budget)
        for evaluation in self._evaluated(fresh, asked):
            if evaluation.failure is not None:
                logger.warning("An evaluation failed: %s", evaluation.failure)
            self._journal.add(evaluation)
            on_progress("searching", next(number), budget)
        for architecture in new:
            self._count(self._journal[architecture])
        return [self.evaluations[architecture] for architecture in affordable]

    def _evaluated(self, fresh: Sequence[Candidate], asked: Sequence[Candidate]) -> Iterator[Evaluation]:
        """The evaluations of `fresh`, which are among `asked`, as they come.

        Cheap values are found for all that was asked for at once: they then round alike however much of it is fresh. Where
        one is missing, nothing expensive is run.
        """
        if not fresh:
            return
        scores = score_choices(self.space, self.objectives, choices_of([one.architecture for one in asked]))
        rows = {candidate.architecture: row for row, candidate in enumerate(asked)}
        sound: list[tuple[Candidate, dict[str, float]]] = []
        for candidate in fresh:
            cheap = {name: float(values[rows[candidate.architecture]]) for name, values in scores.items()}
            failure = missing_value(cheap)
            if failure is None:
                sound.append((candidate, cheap))
            else:
                yield Evaluation(candidate, failure=failure)
        for index, found in self._expensive([candidate for candidate, _ in sound]):
            candidate, cheap = sound[index]
            values = {**cheap, **found.values}
            kept = {one.name: values[one.name] for one in self.objectives} if found.failure is None else {}
            yield Evaluation(candidate, kept, found.seconds, found.failure)

    def _expensive(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Evaluation]]:
        if all(objective.cost == "cheap" for objective in self.objectives):
            return ((index, Evaluation(candidate)) for index, candidate in enumerate(candidates))
        return self._workers.evaluate(candidates)

    def _count(self, evaluation: Evaluation) -> None:
        self.evaluations[evaluation.architecture] = evaluation
        self._digest.update(told_line(evaluation))

    def _open(self, budget: int) -> None:
        """Reads what there is of the search and goes on from its state, where there is a sound one."""
        self._journal.read()
        if not len(self._journal):
            self._log.clear()  # of evaluations that are gone
        self._log.read()
        if not len(self._journal):
            return
        logger.info("Going on after %d of %d evaluations from %s", len(self._journal), budget, self.journal.path)
        try:
            state = SearchState.load(self.state_path, self._journal)
            if not self._log.holds(state.generation, len(state.order)):
                raise StoredFileError(str(self.log.path), "must hold the generations of the state", came="it does not")
            self._stored = state.generation
            if len(state.order) <= budget:
                self._take_up(state)
        except StoredFileError as error:
            logger.info("Telling the strategy all evaluations anew: %s", error)
        if not self.evaluations:
            self._tell_first(self._journal.evaluations[: self.identity.get(TOLD_FIRST, 0)])

    def _tell_first(self, known: Sequence[Evaluation]) -> None:
        """Begins with evaluations that were asked for when cheap objectives had other values."""
        if known:
            for evaluation in known:
                self._count(evaluation)
            self.strategy.tell(known)
            self._log.add(known)
            self._store()

    def _take_up(self, state: SearchState) -> None:
        """Stands where `state` stands. Raises StoredFileError, with all as before, where the strategy cannot."""
        shared = {id(one): one for one in (self.space, *self.objectives)}
        untouched = self.strategy
        try:
            untouched = copy.deepcopy(self.strategy, shared)
            self.strategy.load_state_dict(state.strategy)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:  # torch: the last
            self.strategy = untouched
            self._stored = 0
            raise StoredFileError(
                str(self.state_path), "must hold a state of the strategy", came=f"it says: {error!r}"
            ) from error
        evaluations = self._journal.evaluations
        for place in state.order:
            self._count(evaluations[place])
        self._stale = state.stale
        self._log.take_up(state.generation, list(self.evaluations.values()), state.reference)

    def _store(self) -> None:
        """Stores the state, unless one of a later generation lies there."""
        generation = len(self.generations)
        if generation <= self._stored:
            return
        SearchState(
            order=[self._journal.position(architecture) for architecture in self.evaluations],
            digest=self._digest.hexdigest(),
            generation=generation,
            stale=self._stale,
            reference=self._log.reference,
            strategy=self.strategy.state_dict(),
        ).save(self.state_path, identity=self.identity)
