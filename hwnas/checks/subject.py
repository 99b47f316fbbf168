"""What the checks of a space look at: architectures, a supernet all of whose parts show, and which choice is to blame.

Suffixes: N architectures, V variables. Shapes: B batch, C channels, H height, W width.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.errors import HwnasError, SpaceError
from hwnas.spaces import Architecture, IntArray, Operator, SearchSpace, SuperNet, require_attributes

__all__ = ["Fault", "Skipped", "SpaceUnderTest", "bend", "bend_statistics", "placed", "randomize", "said"]

Fault = Callable[[Architecture], str | None]
"""What is wrong with an architecture, as the rest of "but …"; None where nothing is."""

STATISTICS_IMAGES = 16


@dataclass(frozen=True)
class Skipped:
    """A check that a space gives no occasion for.

    Attributes:
        reason: why, a sentence without its full stop.
    """

    reason: str


class SpaceUnderTest:
    """A space with what its checks share.

    Args:
        space: the space.
        on_paper: random architectures of the checks that run nothing.
        networks: random architectures of the checks that run networks.
        operators: how many operators are exported, spread over all; None: all.
        seed: of the architectures, the weights and the images.

    Raises:
        SpaceError: the space lacks an attribute that every space has.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        on_paper: int = 100,
        networks: int = 4,
        operators: int | None = None,
        seed: int = 0,
    ) -> None:
        self.space = require_attributes(space)
        self.on_paper = on_paper
        self.num_networks = networks
        self.num_operators = operators
        self.seed = seed

    @cached_property
    def architectures(self) -> list[Architecture]:
        """The smallest, the largest, and random ones."""
        rng = np.random.default_rng([self.seed, 1])
        count = max(self.on_paper, self.num_networks)
        return [self.space.smallest(), self.space.largest(), *(self.space.sample(rng) for _ in range(count))]

    @cached_property
    def networks(self) -> list[Architecture]:
        """Those of which networks are run: both ends, and random ones that show most of what they do not."""
        space = self.space
        chosen = list(dict.fromkeys(self.architectures[:2]))
        left = {one: set(enumerate(space.operators(one))) for one in self.architectures}
        shown = set().union(*(left.pop(one) for one in chosen))
        for _ in range(min(self.num_networks, len(left))):
            chosen.append(max(left, key=lambda one: len(left[one] - shown)))
            shown |= left.pop(chosen[-1])
        return chosen

    @cached_property
    def raw_choices_NV(self) -> IntArray:
        """Random choices, not canonical."""
        rng = np.random.default_rng([self.seed, 2])
        return rng.integers(0, self.space.num_options_V, size=(self.on_paper, len(self.space.variables)))

    @cached_property
    def supernet(self) -> SuperNet:
        """A supernet in evaluation mode, every part of which shows in its output."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            supernet = self.space.supernet()
        randomize(supernet, self.space, seed=self.seed)
        return supernet

    @cached_property
    def precise(self) -> SuperNet:
        """The same supernet in double precision, where rounding hides nothing."""
        with torch.random.fork_rng(devices=[]):
            supernet = self.space.supernet().double().eval()
        supernet.load_state_dict(self.supernet.state_dict())
        return supernet

    @cached_property
    def layers(self) -> dict[Operator, nn.Module]:
        """The layer of each operator, on the meta device."""
        with torch.device("meta"):
            return {operator: self.space.build_operator(operator) for operator in self.space.all_operators()}

    def images(self, count: int) -> Tensor:
        """Random images (count, C, H, W), always the same."""
        return _images(self.space, count, self.seed)

    def network(self, architecture: Architecture) -> nn.Module:
        """What the space builds, random weights and all; the global generator stays where it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.space.build(architecture)

    def family(self, index: int) -> list[Architecture]:
        """An architecture for each option of a variable, alike but for it, where each is a network of its own.

        Raises:
            SpaceError: none was found in which all options count.
        """
        variable, rng = self.space.variables[index], np.random.default_rng([self.seed, 3])
        starts = (self.space.largest(), self.space.smallest(), *(self.space.sample(rng) for _ in range(100)))
        for start in starts:
            choices = start.choices
            family = [
                self.space.architecture([*choices[:index], option, *choices[index + 1 :]])
                for option in range(len(variable.options))
            ]
            if len(set(family)) == len(family):
                return family
        raise SpaceError(
            f"{variable.name} of the space {self.space.name}",
            "must make another architecture by each of its options",
            came=f"no architecture was found where all of {', '.join(map(str, variable.options))} count",
            do="Let `canonicalize` set only variables to 0 that no operator reads",
        )

    def require(self, architectures: Iterable[Architecture], must: str, fault: Fault, *, do: str | None = None) -> None:
        """Looks for a fault in each architecture, and for the choice that brings it.

        Args:
            architectures: to be looked at.
            must: what must hold of the space, as the rest of a sentence.
            fault: finds what is wrong with an architecture.
            do: what its author is to do.

        Raises:
            SpaceError: a fault was found; it names the choices without which it is not there, if there are such.
        """
        for architecture in architectures:
            came = said(fault, architecture)
            if came is not None:
                where, came = self._blamed(architecture, came, fault)
                raise SpaceError(where, must, came=came, do=do)

    def _blamed(self, faulty: Architecture, came: str, fault: Fault) -> tuple[str, str]:
        """Where the fault is, and what it is there."""
        space = self.space
        needed = [index for index in range(len(space.variables)) if self._heals(faulty, index, fault)]
        if needed:  # the fault is there because of each of these choices
            return f"The space {space.name} with {self._named(faulty, needed)}", came
        sound = [one for one in self.networks if said(fault, one) is None]
        if not sound:
            return f"The space {space.name}, in each of {len(self.networks)} architectures,", came
        apart = [np.not_equal(one.choices, faulty.choices).sum() for one in sound]
        choices = list(sound[int(np.argmin(apart))].choices)
        for index, choice in enumerate(faulty.choices):
            choices[index] = choice
            architecture = space.architecture(choices)
            found = said(fault, architecture)
            if found is not None:
                return f"The space {space.name} with {self._named(architecture, [index])}", found
        return f"The space {space.name} in {space.describe(faulty)}", came

    def _heals(self, faulty: Architecture, index: int, fault: Fault) -> bool:
        """Whether another option of this variable, its first or its last, takes the fault away."""
        others = {0, len(self.space.variables[index].options) - 1} - {faulty.choices[index]}
        changed = ([*faulty.choices[:index], option, *faulty.choices[index + 1 :]] for option in sorted(others))
        return any(said(fault, self.space.architecture(choices)) is None for choices in changed)

    def _named(self, architecture: Architecture, indices: Sequence[int]) -> str:
        variables = [(self.space.variables[index], architecture.choices[index]) for index in indices]
        return " and ".join(f"{variable.name}={variable.options[choice]}" for variable, choice in variables)


@contextlib.contextmanager
def placed(space: SearchSpace, must: str) -> Iterator[None]:
    """Makes a SpaceError that names the place of whatever the code of `space` raises, `must` being what it is to do."""
    try:
        yield
    except HwnasError:
        raise
    except Exception as error:  # the code of a space that is not sound raises what it likes
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = str(error).strip().partition("\n")[0]
        raised = f"{type(error).__name__}{': ' if reason else ''}{reason}"
        came = f"{last.filename}, line {last.lineno}, raises {raised}"
        raise SpaceError(f"The space {space.name}", must, came=came) from error


def said(fault: Fault, architecture: Architecture) -> str | None:
    """What `fault` finds; where the space itself fails, that."""
    try:
        return fault(architecture)
    except Exception as error:  # the code of a space that is not sound raises what it likes
        reason = str(error).strip().partition("\n")[0]
        return f"it raises {type(error).__name__}{': ' if reason else ''}{reason}"


@torch.no_grad()
def randomize(supernet: SuperNet, space: SearchSpace, *, seed: int) -> None:
    """Gives a supernet weights and statistics with which every part of it shows in its output; leaves it in evaluation.

    As made, the batch norm at the end of a block with a skip has a weight of zero, which hides all that the block does.
    Batch norms get the statistics of random images first, which are then bent: far from them a deep network's signal
    dies out. The images take the first option of every variable, then the second, …, so that all options are run.
    """
    generator = torch.Generator().manual_seed(seed)
    bend(supernet, generator=generator)
    norms = [layer for layer in supernet.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    supernet.train()
    most = int(space.num_options_V.max()) if norms else 0
    for option in range(most):
        supernet.activate(space.architecture(np.minimum(option, space.num_options_V - 1)))
        supernet(_images(space, STATISTICS_IMAGES, seed))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    bend_statistics(supernet, generator=generator)
    supernet.eval()


@torch.no_grad()
def bend(module: nn.Module, *, generator: torch.Generator) -> None:
    """Moves every parameter whose values are all alike (zeros, ones) by random amounts; norms get positive weights."""
    for layer in module.modules():
        if (
            isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm)
            and layer.weight is not None
        ):
            layer.weight.fill_(1.0)
    for parameter in module.parameters():
        if parameter.numel() == 0 or bool((parameter != parameter.flatten()[0]).any()):
            continue
        scale = 0.5 if parameter.flatten()[0] != 0 else 0.3
        width = parameter[0].numel() if parameter.ndim > 1 else 1
        noise = torch.empty(parameter.shape, dtype=parameter.dtype).uniform_(-scale, scale, generator=generator)
        parameter.add_(noise / width**0.5)


@torch.no_grad()
def bend_statistics(module: nn.Module, *, generator: torch.Generator) -> None:
    """Moves the running statistics of every batch norm by random amounts, in proportion to what they are."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_var is not None:
            shift = torch.empty_like(layer.running_var).uniform_(-0.3, 0.3, generator=generator)
            if layer.running_mean is not None:
                layer.running_mean.add_(shift * layer.running_var.sqrt())
            layer.running_var.mul_(torch.empty_like(shift).uniform_(0.5, 1.5, generator=generator))


def _images(space: SearchSpace, count: int, seed: int) -> Tensor:
    return torch.randn(count, *space.input_shape, generator=torch.Generator().manual_seed(seed + 13))
