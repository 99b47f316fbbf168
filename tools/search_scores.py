"""One search on a published table, and what is told of several: for benchmark_search.py.

Suffixes: N architectures, V variables, M objectives, S seeds, B budgets.
"""

import time
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from search_peers import PEERS, Conversation, FloatArray, Problem
from threadpoolctl import threadpool_limits

from hwnas.benchmarks import Truth, load_benchmark
from hwnas.errors import SettingsError
from hwnas.front import Candidate, Evaluation
from hwnas.objectives import choices_of
from hwnas.spaces import IntArray
from hwnas.strategies import make_strategy

__all__ = ["SHARES", "Options", "Run", "Setting", "runs_of", "search", "summary", "truth_of"]

Options = Mapping[str, float]

BUDGETS: Final = (50, 100, 200, 300, 500)
SHARES: Final = (0.95, 0.98, 0.99, 0.995)
CURVE_STEP: Final = 10
MAX_REPEATS: Final = 1000


@dataclass(frozen=True)
class Setting:
    """What everyone searches.

    Attributes:
        benchmark: its name.
        dataset: one of the benchmark's; None: its first.
        objectives: their names, two or more.
        bounds: of some of them, as pairs.
        table: a csv in place of the published one.
        evaluations: distinct architectures that a search may ask for.
    """

    benchmark: str
    dataset: str | None
    objectives: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    table: Path | None
    evaluations: int

    @property
    def budgets(self) -> list[int]:
        """Where shares are told."""
        return [*(budget for budget in BUDGETS if budget < self.evaluations), self.evaluations]

    @property
    def curve_evaluations(self) -> list[int]:
        """Where shares are kept for curves, the budgets among them."""
        return sorted({*range(CURVE_STEP, self.evaluations, CURVE_STEP), *self.budgets})


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        curve: the shares at `Setting.curve_evaluations`.
        reached: for each of SHARES after how many evaluations it was reached; None: not.
        seconds: of the processor, the oracle's left out.
    """

    curve: list[float]
    reached: list[int | None]
    seconds: float


@cache
def truth_of(setting: Setting) -> Truth:
    """The benchmark's truth under the bounds. Raises HwnasError."""
    benchmark = load_benchmark(setting.benchmark, setting.dataset, table=setting.table)
    objectives = benchmark.objectives(setting.objectives)
    if len(objectives) < 2:
        raise SettingsError("--objectives", "must be two or more", came=f"{len(objectives)} came")
    bounds = {benchmark.objectives([name])[0].name: bound for name, bound in setting.bounds}
    for name in bounds.keys() - {objective.name for objective in objectives}:
        raise SettingsError("--bound", "must be of one of the objectives", came=f"{name} is none of them")
    truth = Truth(benchmark, [one.bounded(bounds.get(one.name)) for one in objectives])
    for objective, values_N in zip(truth.objectives, truth.values_NM[truth.considered_N].T, strict=True):
        if np.ptp(values_N) == 0:
            raise SettingsError(
                f"The objective {objective.name}",
                "must differ between architectures",
                came=f"it is {values_N[0]:.6g} {objective.unit} for all {len(values_N)}",
                do="Leave it out",
            )
    return truth


def search(setting: Setting, strategy: str, options: Options, seed: int) -> Run:
    """One search, with one thread. Raises HwnasError."""
    truth = truth_of(setting)
    problem = Problem(truth.benchmark.space, truth.objectives, truth.scale.low_M + truth.scale.span_M)
    peer = PEERS.get(strategy)
    with threadpool_limits(1), warnings.catch_warnings():
        if peer is None:
            conversation = converse(problem, seed, strategy=strategy, options=options)
        else:
            warnings.simplefilter("ignore")  # of other libraries' insides
            for package in peer.packages:
                import_module(package)  # now, so that its seconds do not count
            conversation = peer.converse(problem, seed)
        found_NV, seconds = follow(conversation, truth, setting.evaluations)
    return measure(truth, found_NV, setting, seconds)


def converse(problem: Problem, seed: int, *, strategy: str, options: Options) -> Conversation:
    """The conversation of one of our strategies. Raises HwnasError."""
    asking = make_strategy(strategy, problem.space, problem.objectives, seed=seed, options=options)
    names = [objective.name for objective in problem.objectives]
    while candidates := asking.ask():
        values_NM = yield choices_of([one.architecture for one in candidates])
        asking.tell([evaluation(one, names, row) for one, row in zip(candidates, values_NM.tolist(), strict=True)])


def evaluation(candidate: Candidate, names: Sequence[str], values: Sequence[float]) -> Evaluation:
    """What a strategy is told: values, or that nothing was recorded."""
    unknown = [name for name, value in zip(names, values, strict=True) if not np.isfinite(value)]
    if unknown:
        return Evaluation(candidate, failure=f"no {unknown[0]} was recorded")
    return Evaluation(candidate, dict(zip(names, values, strict=True)))


def follow(conversation: Conversation, truth: Truth, evaluations: int) -> tuple[IntArray, float]:
    """Answers until the budget is spent, the conversation ends, or nothing new was asked for MAX_REPEATS times in a row.

    Returns:
        The distinct architectures that were evaluated (N, V), in their order, and the seconds that the conversation took.
    """
    space = truth.benchmark.space
    values_NM = np.concatenate([truth.values_NM, np.full((1, len(truth.objectives)), np.nan)])
    told: dict[tuple[int, ...], FloatArray] = {}
    answer: FloatArray | None = None
    seconds, repeats = 0.0, 0
    while len(told) < evaluations and repeats < MAX_REPEATS:
        start = time.process_time()
        try:
            asked_NV = space.canonicalize(next(conversation) if answer is None else conversation.send(answer))
        except StopIteration:
            break
        finally:
            seconds += time.process_time() - start
        rows = [tuple(row) for row in asked_NV.tolist()]
        known = len(told)
        for row, values_M in zip(rows, values_NM[truth.benchmark.positions(asked_NV)], strict=True):
            if len(told) < evaluations:
                told.setdefault(row, values_M)
        if not all(row in told for row in rows):
            break
        repeats = 0 if len(told) > known else repeats + len(rows)
        answer = np.array([told[row] for row in rows])
    conversation.close()
    return np.array(list(told), dtype=np.int64).reshape(len(told), len(space.variables)), seconds


def measure(truth: Truth, found_NV: IntArray, setting: Setting, seconds: float) -> Run:
    """The shares of what was evaluated; a search that ended early keeps its last."""

    @cache
    def share(count: int) -> float:
        return truth.share(found_NV[:count])

    reached = [1 + bisect_left(range(1, len(found_NV) + 1), level, key=share) for level in SHARES]
    return Run(
        [round(share(min(count, len(found_NV))), 5) for count in setting.curve_evaluations],
        [count if count <= len(found_NV) else None for count in reached],
        round(seconds, 3),
    )


def summary(runs: Sequence[Run], setting: Setting, options: Options) -> dict[str, Any]:
    """What the JSON says of a strategy."""
    curves_SN = np.array([run.curve for run in runs])
    shares_SB = curves_SN[:, np.searchsorted(setting.curve_evaluations, setting.budgets)]
    reached = {str(share): [run.reached[index] for run in runs] for index, share in enumerate(SHARES)}
    return {
        "seeds": len(runs),
        "mean": shares_SB.mean(axis=0).round(5).tolist(),
        "worst": shares_SB.min(axis=0).tolist(),
        "per_seed": shares_SB.tolist(),
        "evaluations_to_reach": {share: over_seeds(counts) for share, counts in reached.items()},
        "seconds": round(float(np.mean([run.seconds for run in runs])), 3),
        "seconds_per_seed": [run.seconds for run in runs],
        "options": dict(options),
        "curves": [run.curve for run in runs],
    }


def over_seeds(counts: Sequence[int | None]) -> dict[str, Any]:
    """Mean and worst of evaluations needed, None where a seed has not come so far."""
    known = [count for count in counts if count is not None]
    complete = len(known) == len(counts)
    return {
        "mean": float(np.mean(known)) if complete else None,
        "worst": max(known) if complete else None,
        "per_seed": list(counts),
    }


def runs_of(entry: Mapping[str, Any]) -> list[Run]:
    """The searches of which `summary` made an entry."""
    reached = zip(*(counts["per_seed"] for counts in entry["evaluations_to_reach"].values()), strict=True)
    return [
        Run(curve, list(counts), seconds)
        for curve, counts, seconds in zip(entry["curves"], reached, entry["seconds_per_seed"], strict=True)
    ]
