"""How one candidate is evaluated, wherever that happens, so that it comes to the same everywhere."""

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Final

import cloudpickle

from hwnas.errors import HwnasError, SettingsError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective

__all__ = ["Outcome", "evaluate_candidate", "missing_value", "outcome_of", "pickled", "portable"]

Outcome = Evaluation | BaseException
"""What a worker sends back: an evaluation, or what has stopped it and is no failure of the architecture."""

FAILURES: Final = (RuntimeError, ValueError, FloatingPointError, HwnasError)
"""What an architecture may raise; anything else is a mistake in the code, which ends the search."""


def evaluate_candidate(candidate: Candidate, objectives: Sequence[Objective]) -> Evaluation:
    """The values of `objectives`, or why there are none."""
    start = time.monotonic()
    values: dict[str, float] = {}
    try:
        values = {objective.name: _value(objective, candidate) for objective in objectives}
        failure = missing_value(values)
    except FAILURES as error:
        failure = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - start, 4)
    return Evaluation(candidate, values if failure is None else {}, seconds, failure)


def missing_value(values: Mapping[str, float]) -> str | None:
    """Which of `values` cannot be used ("error is nan"); None where all can."""
    return next((f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)), None)


def outcome_of(candidate: Candidate, objectives: Sequence[Objective]) -> Outcome:
    """The evaluation of `candidate`; what ends a search is given back, to be raised where the search is."""
    try:
        return evaluate_candidate(candidate, objectives)
    except BaseException as error:  # even SystemExit: a worker that ended by it would only be replaced
        return portable(error)


def portable(error: BaseException) -> BaseException:
    """`error`, with where it was raised as a note; a RuntimeError that says the same where it cannot be sent."""
    error.add_note("In a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # code of others raises what it likes
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def pickled(objectives: Sequence[Objective]) -> bytes:
    """`objectives` for another process, with code that it cannot import. Raises SettingsError where that cannot be."""
    try:
        content: bytes = cloudpickle.dumps(tuple(objectives))
    except Exception as error:  # code of others raises what it likes
        raise SettingsError(
            "The objectives",
            "must be such that other processes can be sent them",
            came=f"pickling them raises {type(error).__name__}: {error}",
            do="Search with workers = 1, or keep open files, locks and connections out of what they refer to",
        ) from error
    return content


def _value(objective: Objective, candidate: Candidate) -> float:
    if objective.evaluate_child is not None:
        return float(objective.evaluate_child(candidate.architecture, candidate.parent))
    return float(objective.evaluate([candidate.architecture])[0])
