"""Objectives: what architectures are scored by.

A cheap objective is exact and comes for a whole population at once, as one gather and one sum over a vector of costs an
operator. An expensive one runs networks. Suffixes: N architectures, V variables.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from hwnas.errors import InfeasibleError, SettingsError
from hwnas.latency import LatencyTable, profile_command
from hwnas.spaces import Architecture, IntArray, MixedPrecision, SearchSpace

__all__ = [
    "OBJECTIVE_KINDS",
    "Objective",
    "check_feasible",
    "choices_of",
    "error",
    "every_choice",
    "latency",
    "macs",
    "parameters",
    "score_choices",
]

OBJECTIVE_KINDS: Final = ("error", "macs", "parameters", "latency@<device>")

PAIRS_CHUNK: Final = 16
"""Neighbours whose own neighbours are scored at once."""
MAX_LISTED: Final = 200_000
"""Encodings of a space that is small enough to look at all of it."""
EXCESS_CHUNK: Final = 20_000
"""Architectures that are scored at once."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """One score of an architecture; every objective is minimised.

    Attributes:
        name: its key in evaluations and fronts ("error", "latency_ms@rpi4").
        unit: of its values ("fraction", "MACs", "parameters", "ms").
        evaluate: the values of a list of architectures.
        operator_costs: of a cheap objective that is a sum: the cost of each of the space's operators.
        score: of a cheap objective that is no sum: its values (N,) for canonical choices (N, V), NaN where it has none.
        bound: architectures above it are not wanted; None: no bound.
        evaluate_child: of an objective whose networks take over their parents' weights: the value of an architecture that
            was made from a parent, or from none. It stands in for `evaluate` where a search knows the parent.
        direction: "minimize".
    """

    name: str
    unit: str
    evaluate: Callable[[Sequence[Architecture]], list[float]]
    operator_costs: FloatArray | None = None
    bound: float | None = None
    score: Callable[[IntArray], FloatArray] | None = None
    evaluate_child: Callable[[Architecture, Architecture | None], float] | None = None
    direction: Literal["minimize"] = "minimize"

    @property
    def cost(self) -> Literal["cheap", "expensive"]:
        """Whether it is exact at once for whole populations, or has to be found by running the network."""
        return "expensive" if self.operator_costs is None and self.score is None else "cheap"

    def bounded(self, bound: float | None) -> "Objective":
        """The same objective with this bound."""
        return replace(self, bound=bound)

    def to_json(self) -> dict[str, str | float]:
        """{"name", "unit", "direction"} and "bound" where there is one."""
        bound = {} if self.bound is None else {"bound": self.bound}
        return {"name": self.name, "unit": self.unit, "direction": self.direction, **bound}


def error(evaluate: Callable[[Sequence[Architecture]], list[float]]) -> Objective:
    """The share of the validation part that is classified wrongly, from 0 to 1, found by `evaluate`."""
    return Objective("error", "fraction", evaluate)


def macs(space: SearchSpace) -> Objective:
    """Multiply-accumulates for one image."""
    return _cheap(space, "macs", "MACs", np.array([space.counts[o].macs for o in space.all_operators()], dtype=float))


def parameters(space: SearchSpace) -> Objective:
    """Trainable parameters."""
    counts = [space.counts[operator].parameters for operator in space.all_operators()]
    return _cheap(space, "parameters", "parameters", np.array(counts, dtype=float))


def latency(space: SearchSpace, tables: LatencyTable | Mapping[str, LatencyTable]) -> Objective:
    """The latency that a table predicts, in ms; in a space of mixed precision, that of the architecture's precision.

    The overhead of a call is counted with the operator that a network begins with.

    Args:
        space: whose architectures.
        tables: of one device: of each precision of the space, or the only one.

    Raises:
        TableIncompleteError: rows are missing.
        SettingsError: a table is missing, or tables are of several devices.
    """
    given = {tables.identity.precision: tables} if isinstance(tables, LatencyTable) else dict(tables)
    networks, precisions = (
        (space.networks, space.precisions) if isinstance(space, MixedPrecision) else (space, tuple(given)[:1])
    )
    devices = sorted({table.identity.device for table in given.values()})
    if set(given) != set(precisions) or len(devices) != 1:
        raise SettingsError(
            f"The latency of {space.name}",
            f"must have a table of each of {', '.join(precisions)} on one device",
            came=f"those of {', '.join(given) or 'none'} on {', '.join(devices) or 'none'} came",
        )
    costs = np.concatenate([_latency_costs(networks, given[one]) for one in precisions])
    return _cheap(space, f"latency_ms@{devices[0]}", "ms", costs)


def choices_of(architectures: Sequence[Architecture]) -> IntArray:
    """The choices of `architectures` as one array (N, V)."""
    return np.array([architecture.choices for architecture in architectures], dtype=np.int64)


def every_choice(space: SearchSpace, *, most: int) -> IntArray | None:
    """The canonical choices of all encodings, (N, V), with repeats; None where there are more than `most` encodings."""
    options = space.num_options_V.tolist()
    if math.prod(options) > most:
        return None
    return space.canonicalize(np.stack(np.unravel_index(np.arange(math.prod(options)), options), axis=1))


def score_choices(space: SearchSpace, objectives: Sequence[Objective], choices_NV: IntArray) -> dict[str, FloatArray]:
    """The values of the cheap ones among `objectives`, by name, for canonical choices: arrays (N,)."""
    found = {one.name: one.score(choices_NV) for one in objectives if one.score is not None}
    sums = [(one.name, one.operator_costs) for one in objectives if one.name not in found]
    known = [(name, costs) for name, costs in sums if costs is not None]
    if known:
        totals = space.total_costs(choices_NV, [costs for _, costs in known])
        found |= {name: total for (name, _), total in zip(known, totals, strict=True)}
    return found


def check_feasible(
    space: SearchSpace, objectives: Sequence[Objective], *, rng: np.random.Generator, starts: int = 8
) -> IntArray:
    """Architectures that meet every bound of a cheap objective, found by descent before anything is trained.

    The sum of what is above its bound (relative to the bound) is descended from the smallest architecture and the best
    of many random ones, one variable at a time, until no neighbour is better. Where none of the ends will do, all
    architectures are looked at, which decides it, if there are at most 200,000 encodings; else it is two variables at a
    time. That is bounded. It finds the least value of one objective whose operators cost more than nothing in blocks of
    two variables; several bounds at once may be met by architectures of a large space that it misses. An architecture
    without a recorded value meets nothing.

    Args:
        space: to search.
        objectives: of which the cheap ones with a bound count, and of the others whether there is a value.
        rng: for the random starts.
        starts: how many descents.

    Returns:
        (n, V) choices, n from 1 to `starts`, that meet all bounds; random ones where there is no bound.

    Raises:
        InfeasibleError: none was found; it names the nearest values that can be met, and the least value of an objective
            whose bound nothing meets even alone.
    """
    bounded = [objective for objective in objectives if objective.bound is not None and objective.cost == "cheap"]
    sampled_NV = space.sample_choices(4096, rng=rng)
    if not bounded:
        return sampled_NV[:starts]
    cheap = [*bounded, *(one for one in objectives if one.bound is None and one.score is not None)]
    excess = _excess_of(space, cheap)
    best = np.argsort(excess(sampled_NV), kind="stable")[: starts - 1]
    smallest_1V = choices_of([space.smallest()])
    tried_NV = np.concatenate([_descend(space, row[None], excess) for row in (*smallest_1V, *sampled_NV[best])])
    met_N = excess(tried_NV) == 0
    if not met_N.any():
        every_NV = every_choice(space, most=MAX_LISTED)
        if every_NV is None:
            ends = [_descend(space, row[None], excess, pairs=True) for row in np.unique(tried_NV, axis=0)]
            tried_NV = np.concatenate(ends)
        else:
            distinct_NV = np.unique(every_NV, axis=0)
            tried_NV = distinct_NV[rng.permutation(len(distinct_NV))]
        met_N = excess(tried_NV) == 0
        if not met_N.any():
            raise _infeasible(space, cheap, tried_NV, exact=every_NV is not None)
    feasible_NV: IntArray = tried_NV[met_N][:starts]
    return feasible_NV


def _excess_of(space: SearchSpace, cheap: Sequence[Objective]) -> Callable[[IntArray], FloatArray]:
    """By how much choices are above the bounds of `cheap`, relative to these; infinite where a value is missing."""

    def excess(choices_NV: IntArray) -> FloatArray:
        chunks = [choices_NV[start : start + EXCESS_CHUNK] for start in range(0, len(choices_NV), EXCESS_CHUNK)]
        scores = [score_choices(space, cheap, chunk_NV) for chunk_NV in chunks]
        values = {one.name: np.concatenate([score[one.name] for score in scores]) for one in cheap}
        total_N: FloatArray = np.zeros(len(choices_NV))
        for one in cheap:
            if one.bound is not None:
                total_N += np.maximum((values[one.name] - one.bound) / max(abs(one.bound), 1e-12), 0.0)
            total_N[~np.isfinite(values[one.name])] = np.inf
        return total_N

    return excess


def _infeasible(space: SearchSpace, cheap: Sequence[Objective], tried_NV: IntArray, *, exact: bool) -> InfeasibleError:
    """The error that says what can be met instead, as far as `tried_NV` shows."""
    bounded = [objective for objective in cheap if objective.bound is not None]
    over_N = _excess_of(space, cheap)(tried_NV)
    came = "none does" if exact else "none was found that does"
    if np.isfinite(over_N).any():
        nearest = score_choices(space, bounded, tried_NV[over_N.argmin()][None])
        wrong = [o for o in bounded if nearest[o.name][0] > _bound(o)]
        reached = ", ".join(f"{o.name} = {_attainable(float(nearest[o.name][0]))} {o.unit}" for o in wrong)
        alone = _impossible_alone(space, bounded, tried_NV, exact=exact) if len(bounded) > 1 else []
        came += f": {'; '.join([*alone, f'the nearest that can be met is {reached}'])}"
    else:
        wrong = bounded
        came += f": there is no value of {' and '.join(o.name for o in cheap)} for any of {len(tried_NV)}"
    return InfeasibleError(
        f"The bound{'s' if len(bounded) > 1 else ''} "
        + " and ".join(f"{o.name} <= {_bound(o):.12g} {o.unit}" for o in bounded),
        f"must be met by some architecture of {space.name}",
        came=came,
        do="Raise the bound" + ("s" if len(wrong) > 1 else ""),
    )


def _impossible_alone(
    space: SearchSpace, bounded: Sequence[Objective], tried_NV: IntArray, *, exact: bool
) -> list[str]:
    """What is to be said of each objective whose bound nothing meets, whatever the others allow."""
    said = []
    for objective in bounded:
        excess = _excess_of(space, [objective])
        best_1V = tried_NV[excess(tried_NV).argmin()][None]
        if not exact:
            best_1V = _descend(space, best_1V, excess, pairs=True)
        value = float(score_choices(space, [objective], best_1V)[objective.name][0])
        if value > _bound(objective):
            said.append(f"even alone {objective.name} is at least {_attainable(value)} {objective.unit}")
    return said


def _descend(
    space: SearchSpace, choices_1V: IntArray, excess: Callable[[IntArray], FloatArray], *, pairs: bool = False
) -> IntArray:
    """Steepest descent of `excess` over neighbours (and theirs, if `pairs`); each step lowers it, so it ends."""
    current_1V, value = choices_1V, float(excess(choices_1V)[0])
    while value > 0:
        around_NV = space.neighbor_choices(current_1V[0])
        lower = _lowest(around_NV, excess, below=value)
        for start in range(0, len(around_NV) if pairs and lower is None else 0, PAIRS_CHUNK):
            further = [space.neighbor_choices(row) for row in around_NV[start : start + PAIRS_CHUNK]]
            lower = _lowest(np.concatenate(further), excess, below=value)
            if lower is not None:
                break
        if lower is None:
            break
        current_1V, value = lower
    return current_1V


def _lowest(
    choices_NV: IntArray, excess: Callable[[IntArray], FloatArray], *, below: float
) -> tuple[IntArray, float] | None:
    """The row of least excess, as (1, V), with that excess; None where no row's is below `below`."""
    over_N = excess(choices_NV)
    best = int(over_N.argmin())
    return (choices_NV[best][None], float(over_N[best])) if over_N[best] < below else None


def _bound(objective: Objective) -> float:
    return float("inf") if objective.bound is None else objective.bound


def _attainable(value: float) -> str:
    """`value` as text that is not below it, so that it can be met when it is given as a bound."""
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{Context(prec=6, rounding=ROUND_CEILING).create_decimal_from_float(value):g}"


def _latency_costs(space: SearchSpace, table: LatencyTable) -> FloatArray:
    operators = space.all_operators()
    costs = table.costs(operators, command=profile_command(table.identity, space))
    first_O = np.array([operator in space.first_operators for operator in operators])
    return costs + table.calibration.overhead_ms * first_O


def _cheap(space: SearchSpace, name: str, unit: str, costs: FloatArray) -> Objective:
    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        if not architectures:
            return []
        values: list[float] = space.total_costs(choices_of(architectures), [costs])[0].tolist()
        return values

    return Objective(name, unit, evaluate, costs)
