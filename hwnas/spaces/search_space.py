"""SearchSpace and SuperNet: what every space of architectures offers, whatever its networks look like.

The pivot is `operators(architecture)`: profiling enumerates it, prediction sums it, MACs and parameters sum it, and
`build` makes modules from it. For a whole population the same walk is one integer matrix, `operator_indices`.

Suffixes: N architectures, V variables, L places in a network.
"""

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.errors import ArchitectureError, SpaceError
from hwnas.layers import morph
from hwnas.spaces.architecture import Architecture, Operator, Variable, invalid_choices
from hwnas.spaces.counting import OperatorCounts, count

__all__ = ["IntArray", "SearchSpace", "SuperNet", "require_attributes"]

IntArray = npt.NDArray[np.integer[Any]]

SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
"""It becomes part of the names of files."""


class SuperNet(nn.Module, ABC):
    """All architectures of a space in one set of shared weights."""

    @abstractmethod
    def activate(self, architecture: Architecture) -> None:
        """Makes `forward` run the path of `architecture`."""

    def mix(self, weights: Sequence[Tensor]) -> None:
        """Makes `forward` run all architectures at once, the outputs of every decision summed by weight.

        Args:
            weights: for each variable of the space a weight for each option, (options,); those of one variable sum to 1.
                Gradients flow back to them. With one option of each at 1 it is that architecture.

        Raises:
            SpaceError: the space's decisions cannot be mixed.
        """
        raise SpaceError(
            type(self).__name__, f"must write `mix` for weights of {len(weights)} variables", came="it does not"
        )

    @abstractmethod
    def subnet(self, architecture: Architecture) -> nn.Module:
        """The plain network of `architecture`, the same as `space.build` makes, with its own copy of the weights."""

    @abstractmethod
    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, num_classes) by the active path."""


class SearchSpace(ABC):
    """The architectures that exist.

    A new space has the four attributes below, `name` and `layers` on its class, the others set in `__init__(input_shape,
    num_classes, *, …)`, and writes `variables`, `options`, `operators`, `all_operators`, `canonicalize`, `supernet` and
    `describe`; it inherits the rest. Make an Architecture with `architecture`, `sample`, `mutate` or `crossover` only.

    Attributes:
        name: the space's name, as in SPACES: letters, digits, _ and -.
        layers: for each kind of operator the layer that it is, as `make_layer` makes it.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits, from 2 up.
    """

    name: ClassVar[str]
    layers: ClassVar[Mapping[str, Callable[..., nn.Module]]]
    input_shape: tuple[int, int, int]
    num_classes: int

    @property
    @abstractmethod
    def variables(self) -> tuple[Variable, ...]:
        """The decisions, in the order in which an architecture stores its choices."""

    @property
    @abstractmethod
    def options(self) -> Mapping[str, float | Sequence[float]]:
        """The arguments besides input_shape and num_classes that the space was made with: numbers, or lists of them."""

    @abstractmethod
    def operators(self, architecture: Architecture) -> tuple[Operator, ...]:
        """The operators that run in `architecture`, in order."""

    @abstractmethod
    def all_operators(self) -> tuple[Operator, ...]:
        """Every distinct operator of the space, in a fixed order."""

    @abstractmethod
    def canonicalize(self, choices_NV: IntArray) -> IntArray:
        """Gives encodings of the same network the same choices (absent variables become 0)."""

    @abstractmethod
    def supernet(self) -> SuperNet:
        """A new supernet with random weights, from torch's global generator."""

    @abstractmethod
    def describe(self, architecture: Architecture) -> str:
        """The architecture in a few words for a person."""

    def operator_indices(self, choices_NV: IntArray) -> IntArray:
        """The same walk as `operators` for a population.

        Args:
            choices_NV: canonical choices.

        Returns:
            (N, L) indices into `all_operators()`; where an architecture has no operator the index is
            len(all_operators()), which points at the zero behind the last cost.
        """
        position = {operator: index for index, operator in enumerate(self.all_operators())}
        rows = [
            [position[operator] for operator in self.operators(Architecture(self.name, tuple(map(int, row))))]
            for row in choices_NV
        ]
        indices_NL = np.full((len(rows), max(map(len, rows), default=0)), len(position), dtype=np.int32)
        for row, found in zip(indices_NL, rows, strict=True):
            row[: len(found)] = found
        return indices_NL

    def total_costs(
        self, choices_NV: IntArray, costs: Sequence[npt.NDArray[np.float64]]
    ) -> list[npt.NDArray[np.float64]]:
        """Sums costs over the operators of each architecture.

        Args:
            choices_NV: canonical choices.
            costs: vectors of one cost for each of `all_operators()`.

        Returns:
            For each vector in `costs` an array (N,).
        """
        indices_NL = self.operator_indices(choices_NV)
        return [np.append(cost, 0.0)[indices_NL].sum(axis=1) for cost in costs]

    def expected_cost(self, weights: Sequence[Tensor], cost: Tensor) -> Tensor:
        """The mean cost of architectures whose options are drawn independently, a scalar with gradients for the weights.

        Args:
            weights: for each variable the probability of each option, (options,).
            cost: of each of `all_operators()`.

        Raises:
            SpaceError: the space does not say how its operators depend on its variables.
        """
        raise SpaceError(
            f"The space {self.name}",
            f"must write `expected_cost` to weigh {len(cost)} operators by {len(weights)} variables",
            came="it does not",
        )

    def build_operator(self, operator: Operator) -> nn.Module:
        """A new layer for `operator` with random weights."""
        return make_layer(self.layers[operator.kind], operator)

    @cached_property
    def counts(self) -> dict[Operator, OperatorCounts]:
        """Multiply-accumulates, parameters and output shape of each of `all_operators()`."""
        with torch.device("meta"):
            return {
                operator: count(self.build_operator(operator), operator.input_shape)
                for operator in self.all_operators()
            }

    @cached_property
    def first_operators(self) -> frozenset[Operator]:
        """The operators that take the image, as far as the smallest, the largest and 64 random architectures show."""
        sampled = self.architectures(self.sample_choices(64, rng=np.random.default_rng(0)))
        return frozenset(self.operators(one)[0] for one in (self.smallest(), self.largest(), *sampled))

    def build(self, architecture: Architecture) -> nn.Module:
        """A new plain network with random weights, (B, C, H, W) -> (B, num_classes)."""
        return self.assemble(self.build_operator(operator) for operator in self.operators(architecture))

    def inherit(self, network: nn.Module, parent: Architecture, child: Architecture) -> nn.Module:  # noqa: ARG002  of use to others
        """A new network of `child` that starts from what the network of a similar architecture has learnt.

        Here each weight takes over what it shares with the one of its name in `network`, see `hwnas.layers.morph`.

        Args:
            network: of `parent`, made by `build`; it stays as it is.
            parent: whose network it is.
            child: whose network is wanted.
        """
        inherited = self.build(child)
        morph(inherited, network)
        return inherited

    def keeps_function(self, parent: Architecture, child: Architecture) -> bool:  # noqa: ARG002  here none is known to
        """Whether `inherit` gives `child` the very function of `parent` in evaluation: a network morphism."""
        return False

    @staticmethod
    def assemble(modules: Iterable[nn.Module]) -> nn.Module:
        """A network from the modules of its operators: here, one after the other."""
        return nn.Sequential(OrderedDict((f"operator{index}", module) for index, module in enumerate(modules)))

    def architecture(self, choices: Iterable[int]) -> Architecture:
        """The architecture with these choices, validated and canonical. Raises ArchitectureError."""
        given = tuple(choice.item() if isinstance(choice, np.integer) else choice for choice in choices)
        wrong = invalid_choices(self.name, self.variables, given)
        if wrong is not None:
            raise wrong
        return self.architectures(np.array([given], dtype=np.int64))[0]

    def architectures(self, choices_NV: IntArray) -> list[Architecture]:
        """The architectures with these valid choices, canonical."""
        return [Architecture(self.name, tuple(row)) for row in self.canonicalize(choices_NV).tolist()]

    def from_json(self, document: Mapping[str, Any]) -> Architecture:
        """Reads what `Architecture.to_json` wrote. Raises ArchitectureError."""
        if document.get("space") != self.name:
            raise ArchitectureError(
                "An architecture",
                f"must belong to the space {self.name}",
                came=f"its space is {document.get('space')!r}",
            )
        choices = document.get("choices")
        if not isinstance(choices, list):
            raise ArchitectureError("An architecture", "must have a list of choices", came=f"{choices!r} came")
        return self.architecture(choices)

    @cached_property
    def num_options_V(self) -> npt.NDArray[np.int64]:
        """The number of options of each variable, (V,)."""
        return np.array([len(variable.options) for variable in self.variables], dtype=np.int64)

    def largest(self) -> Architecture:
        """The architecture with the last option of every variable: options go from small to large."""
        return self.architecture(int(count) - 1 for count in self.num_options_V)

    def smallest(self) -> Architecture:
        """The architecture with the first option of every variable."""
        return self.architecture([0] * len(self.variables))

    def sample_choices(self, count: int, *, rng: np.random.Generator) -> IntArray:
        """Canonical choices of `count` random architectures, (count, V): each variable uniform and independent."""
        shape = (count, len(self.variables))
        most = int(self.num_options_V.max())
        if most < 128 and (self.num_options_V == most).all():
            choices_NV: IntArray = rng.integers(0, most, size=shape, dtype=np.int8)  # several times faster
        else:
            choices_NV = rng.integers(0, self.num_options_V, size=shape, dtype=np.int64)
        return self.canonicalize(choices_NV)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random architecture: each variable uniform and independent."""
        return self.architectures(self.sample_choices(1, rng=rng))[0]

    def mutate(
        self, architecture: Architecture, *, rng: np.random.Generator, rate: float | None = None
    ) -> Architecture:
        """Each variable changed to another option with probability `rate` (1 / V if None), but never the same network.

        Where only variables of absent parts were drawn, which changes nothing, it is a random one of `neighbors`.
        """
        rate = 1 / len(self.variables) if rate is None else rate
        changed_V = (rng.random(len(self.variables)) < rate) & (self.num_options_V > 1)
        shift_V = rng.integers(1, np.maximum(self.num_options_V, 2))
        choices_V = np.array(architecture.choices)
        choices_V = np.where(changed_V, (choices_V + shift_V) % self.num_options_V, choices_V)
        mutant = self.architectures(choices_V[None])[0]
        if mutant != architecture:
            return mutant
        neighbors = self.neighbors(architecture)
        return neighbors[rng.integers(len(neighbors))] if neighbors else architecture

    def crossover(self, first: Architecture, second: Architecture, *, rng: np.random.Generator) -> Architecture:
        """Each variable from one of the two parents (uniform crossover)."""
        from_first_V = rng.random(len(first.choices)) < 0.5
        return self.architectures(np.where(from_first_V, first.choices, second.choices)[None])[0]

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """All distinct architectures that differ in one variable, the architecture itself left out."""
        found = dict.fromkeys(self.architectures(self.neighbor_choices(np.array(architecture.choices))))
        found.pop(architecture, None)
        return list(found)

    def neighbor_choices(self, choices_V: IntArray) -> IntArray:
        """Canonical choices of all that differ from `choices_V` in one variable, (sum of options, V), with repeats."""
        variable_N = np.repeat(np.arange(len(choices_V)), self.num_options_V)
        option_N = np.concatenate([np.arange(count) for count in self.num_options_V])
        choices_NV = np.repeat(choices_V[None], len(variable_N), axis=0)
        choices_NV[np.arange(len(variable_N)), variable_N] = option_N
        return self.canonicalize(choices_NV)

    def path_encoding(self, choices_NV: IntArray) -> npt.NDArray[np.float64]:
        """What strategies that learn from architectures see of canonical choices: 0s and 1s, (N, F).

        A space of cells says which paths lead from a cell's input to its output (White et al., BANANAS, AAAI 2021). In a
        chain every variable is a part of the one path, so here it is which option each variable has.
        """
        options = [np.arange(count) for count in self.num_options_V]
        chosen = [choices_NV[:, variable, None] == found for variable, found in enumerate(options)]
        return np.hstack(chosen).astype(np.float64)

    def features(self, choices_NV: IntArray) -> list[npt.NDArray[np.float64]]:
        """Groups of numbers that errors of canonical choices depend on more directly than on the choices, (N, F) each.

        Predictors see them in place of the choices; a space of chains needs none.
        """
        del choices_NV
        return []

    def is_connected(self, choices_NV: IntArray) -> npt.NDArray[np.bool_]:
        """Whether images can reach the logits, (N,); a search does not ask for networks in which they cannot."""
        return np.ones(len(choices_NV), dtype=np.bool_)

    def identity(self) -> dict[str, Any]:
        """What tells this space from another: name, input shape, classes and options."""
        return {
            "space": self.name,
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "space_options": dict(self.options),
        }


def require_attributes(space: SearchSpace) -> SearchSpace:
    """Gives back `space`, which has what every space says of itself: `name`, `layers`, `input_shape`, `num_classes`.

    Raises:
        SpaceError: it lacks one of these, or one cannot be used; or it is no space, such as the class of one.
    """
    if not isinstance(space, SearchSpace):
        came = f"{space!r} came"
        raise SpaceError("A space", "must be an object of a class derived from hwnas.SearchSpace", came=came)
    where = f"The space {type(space).__name__}"
    for what, must, sound in (
        ("name", "letters, digits, _ and - alone", lambda name: isinstance(name, str) and SAFE_NAME.fullmatch(name)),
        ("layers", "a mapping from kinds of operators to layers", lambda layers: isinstance(layers, Mapping)),
        ("input_shape", "a tuple of three whole numbers from 1 up", _is_shape),
        ("num_classes", "a whole number from 2 up", lambda classes: _is_whole(classes, 2)),
    ):
        if not hasattr(space, what):
            do = "Set name and layers on the class, the others in __init__"
            raise SpaceError(where, f"must have `{what}`", came="it has none", do=do)
        if not sound(getattr(space, what)):
            raise SpaceError(where, f"must have {must} as `{what}`", came=f"it is {getattr(space, what)!r}")
    return space


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and len(shape) == 3 and all(_is_whole(size, 1) for size in shape)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def make_layer(layer: Callable[..., nn.Module], operator: Operator) -> nn.Module:
    """`layer(in_channels, **attributes)` of images (C, H, W); a layer of tokens (T, D) has D among its attributes."""
    channels = operator.input_shape[:1] if len(operator.input_shape) == 3 else ()
    return layer(*channels, **operator.attributes)
