"""Search strategies: each asks for architectures and is told their scores."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hwnas.errors import SettingsError
from hwnas.objectives import Objective
from hwnas.plugins import check_options, find_member
from hwnas.spaces import SearchSpace
from hwnas.strategies.bananas import BANANAS
from hwnas.strategies.generation_log import GenerationLog
from hwnas.strategies.journal import EVALUATIONS_SCHEMA, TOLD_FIRST, rescore
from hwnas.strategies.lemonade import LEMONADE
from hwnas.strategies.local_search import LocalSearch
from hwnas.strategies.loop import SearchLoop
from hwnas.strategies.nash import NASH
from hwnas.strategies.nsga2 import NSGA2
from hwnas.strategies.nsga3 import NSGA3
from hwnas.strategies.random_search import RandomSearch
from hwnas.strategies.regularized_evolution import RegularizedEvolution
from hwnas.strategies.reinforce import REINFORCE
from hwnas.strategies.search_strategy import SearchStrategy
from hwnas.strategies.surrogate_nsga2 import SurrogateNSGA2

__all__ = [
    "BANANAS",
    "EVALUATIONS_SCHEMA",
    "LEMONADE",
    "NASH",
    "NSGA2",
    "NSGA3",
    "REINFORCE",
    "STRATEGIES",
    "TOLD_FIRST",
    "GenerationLog",
    "LocalSearch",
    "RandomSearch",
    "RegularizedEvolution",
    "SearchLoop",
    "SearchStrategy",
    "SurrogateNSGA2",
    "find_strategy",
    "make_strategy",
    "rescore",
]

STRATEGIES: Final[dict[str, type[SearchStrategy]]] = {
    "bananas": BANANAS,
    "lemonade": LEMONADE,
    "local_search": LocalSearch,
    "nash": NASH,
    "nsga2": NSGA2,
    "nsga3": NSGA3,
    "random": RandomSearch,
    "regularized_evolution": RegularizedEvolution,
    "reinforce": REINFORCE,
    "surrogate_nsga2": SurrogateNSGA2,
}
"""The built-in strategies by name. Plug-ins add theirs through the entry-point group "hwnas.strategies"."""


def find_strategy(name: str) -> type[SearchStrategy]:
    """The class of the strategy called `name`. Raises UnknownNameError."""
    return find_member("strategy", name, STRATEGIES, group="hwnas.strategies")


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
    check_options(f"the strategy {name}", make, options or {}, positional=2)
    construct: Any = make
    made: SearchStrategy = construct(space, objectives, rng=np.random.default_rng(seed), **(options or {}))
    return made
