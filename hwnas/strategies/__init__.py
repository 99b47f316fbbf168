"""Search strategies: each asks for architectures and is told their scores."""

import inspect
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

import numpy as np

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.objectives import Objective
from hwnas.spaces import SearchSpace
from hwnas.strategies.loop import EVALUATIONS_SCHEMA, GenerationLog, SearchLoop
from hwnas.strategies.nsga2 import NSGA2
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = [
    "EVALUATIONS_SCHEMA",
    "NSGA2",
    "STRATEGIES",
    "GenerationLog",
    "SearchLoop",
    "SearchStrategy",
    "find_strategy",
    "make_strategy",
]

STRATEGIES: Final[dict[str, type[SearchStrategy]]] = {
    "nsga2": NSGA2,
}
"""The built-in strategies by name. Plug-ins add theirs through the entry-point group "hwnas.strategies"."""


def find_strategy(name: str) -> type[SearchStrategy]:
    """The class of the strategy called `name`. Raises UnknownNameError."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    plugins = {entry.name: entry for entry in entry_points(group="hwnas.strategies")}
    if name in plugins:
        found: type[SearchStrategy] = plugins[name].load()
        return found
    raise UnknownNameError("strategy", name, {*STRATEGIES, *plugins})


def make_strategy(
    strategy: str | type[SearchStrategy],
    space: SearchSpace,
    objectives: Sequence[Objective],
    *,
    seed: int,
    options: Mapping[str, Any] | None = None,
) -> SearchStrategy:
    """A strategy for `space` and `objectives`.

    Args:
        strategy: a key of STRATEGIES, the name of an installed plug-in, or a class.
        space: to search.
        objectives: to minimise, within their bounds.
        seed: of everything random.
        options: its hyperparameters, such as {"population_size": 40}.

    Raises:
        UnknownNameError: no such strategy, or no such option.
        SettingsError: an option out of range.
    """
    if not isinstance(strategy, str) and not (isinstance(strategy, type) and issubclass(strategy, SearchStrategy)):
        raise SettingsError("strategy", "must be a name or a SearchStrategy class", came=f"{strategy!r} came")
    make = find_strategy(strategy) if isinstance(strategy, str) else strategy
    name = strategy if isinstance(strategy, str) else strategy.__name__
    known = [
        parameter.name
        for parameter in inspect.signature(make).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "rng"
    ]
    for option, value in (options or {}).items():
        if option not in known:
            raise UnknownNameError(f"option of the strategy {name}", option, known)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SettingsError(f"{option} of the strategy {name}", "must be a number", came=f"{value!r} came")
    construct: Any = make
    made: SearchStrategy = construct(space, objectives, rng=np.random.default_rng(seed), **(options or {}))
    return made
