"""Ways to train a supernet, one file each."""

import inspect
from collections.abc import Mapping
from typing import Any, Final

from hwnas.plugins import check_options, find_member
from hwnas.spaces import SearchSpace
from hwnas.training.methods.differentiable import Differentiable
from hwnas.training.methods.fairness import Fairness
from hwnas.training.methods.method import Step, Trained, TrainingMethod
from hwnas.training.methods.plain import Plain
from hwnas.training.methods.progressive_shrinking import ProgressiveShrinking
from hwnas.training.methods.sandwich import Sandwich
from hwnas.training.methods.single_path import SinglePath

__all__ = [
    "METHODS",
    "Differentiable",
    "Fairness",
    "Plain",
    "ProgressiveShrinking",
    "Sandwich",
    "SinglePath",
    "Step",
    "Trained",
    "TrainingMethod",
    "find_method",
    "make_method",
    "weighs_latency",
]

METHODS: Final[dict[str, type[TrainingMethod]]] = {
    "sandwich": Sandwich,
    "progressive_shrinking": ProgressiveShrinking,
    "single_path": SinglePath,
    "fairness": Fairness,
    "differentiable": Differentiable,
}
"""The built-in methods by name. Plug-ins add theirs through the entry-point group "hwnas.training_methods"."""


def make_method(
    name: str,
    space: SearchSpace,
    *,
    options: Mapping[str, Any] | None = None,
    cost_ms: Any = None,
) -> TrainingMethod:
    """The method called `name`.

    Args:
        name: a key of METHODS or of an installed plug-in.
        space: whose supernet it will train.
        options: its hyperparameters, such as {"random_subnets": 3}.
        cost_ms: the measured latency of each of `space.all_operators()`, for methods that weigh latency, or None.

    Raises:
        UnknownNameError: no such method, or no such option.
        SettingsError: an option out of range.
    """
    make: Any = find_method(name)
    check_options(f"the training method {name}", make, options or {}, positional=1, reserved=("cost_ms",))
    costs = {"cost_ms": cost_ms} if weighs_latency(name) else {}
    method: TrainingMethod = make(space, **costs, **(options or {}))
    return method


def weighs_latency(name: str) -> bool:
    """Whether the method called `name` takes the latency of each operator. Raises UnknownNameError."""
    return "cost_ms" in inspect.signature(find_method(name)).parameters


def find_method(name: str) -> type[TrainingMethod]:
    """The class of the method called `name`. Raises UnknownNameError."""
    return find_member("training method", name, METHODS, group="hwnas.training_methods")
