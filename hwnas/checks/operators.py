"""Checks of the operators of a space: that those listed are all, are those that run, and cost what is counted.

Suffixes: N architectures, L places in a network. Shapes: B batch, C channels, H height, W width.
"""

import itertools
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.checks.subject import SpaceUnderTest
from hwnas.errors import SpaceError, StoredFileError
from hwnas.objectives import choices_of
from hwnas.spaces import Architecture, Operator, SearchSpace

__all__ = [
    "check_all_operators",
    "check_counts",
    "check_expected_cost",
    "check_operators_run",
    "check_population_walk",
    "check_stored_operators",
    "check_total_costs",
    "count_macs",
    "one_hot",
    "run_operators",
]

MULTIPLICATIONS: Final = ("conv", "linear", "matmul", "bmm", "einsum", "addmm", "attention")
"""What fvcore calls the operations whose multiply-accumulates papers count."""
ATTENTION: Final = "aten::scaled_dot_product_attention"
COVERING: Final = 1000


def check_all_operators(subject: SpaceUnderTest) -> str:
    """`all_operators` has a fixed order, each operator once, none that no architecture uses and none missing.

    Raises SpaceError.
    """
    space = subject.space
    where, every = f"`all_operators` of the space {space.name}", space.all_operators()
    repeated = [operator for operator, times in Counter(every).items() if times > 1]
    if repeated:
        raise SpaceError(where, "must list each operator once", came=f"{repeated[0]} comes again")
    if space.all_operators() != every:
        raise SpaceError(where, "must have a fixed order", came="a second call gives another")
    listed, unused = set(every), dict.fromkeys(every)
    for architecture in itertools.chain(subject.architectures, _covering(subject)):
        for operator in space.operators(architecture):
            if operator not in listed:
                raise SpaceError(
                    where, "must list every operator", came=f"{operator} of {space.describe(architecture)} is missing"
                )
            unused.pop(operator, None)
        if not unused:
            break
    if unused:
        raise SpaceError(
            where, "must list operators that some architecture uses", came=f"none uses {next(iter(unused))}"
        )
    return f"{len(every)} operators"


def check_stored_operators(subject: SpaceUnderTest) -> str:
    """Operators can be the rows of a latency table: their attributes are whole numbers or text. Raises SpaceError."""
    space = subject.space
    for operator in space.all_operators():
        try:
            again = Operator.from_json(json.loads(json.dumps(operator.to_json())), str(operator))
        except (StoredFileError, TypeError):  # TypeError: JSON has no such values
            again = None
        if again != operator:
            raise SpaceError(
                f"The operator {operator} of the space {space.name}",
                "must have a kind of text, a shape of whole numbers from 1 up, and attributes of whole numbers or text",
                came=f"it is {operator.to_json()}",
                do='Give a factor as the channels that it makes, or as text: "3.5"',
            )
    return f"{len(space.all_operators())} operators"


def check_population_walk(subject: SpaceUnderTest) -> str:
    """`operator_indices` finds, for each architecture, what `operators` lists, in that order. Raises SpaceError."""
    space, architectures = subject.space, subject.architectures
    every, choices_NV = space.all_operators(), choices_of(subject.architectures)
    where = f"`operator_indices` of the space {space.name}"
    for walk_NL in (space.operator_indices(choices_NV), SearchSpace.operator_indices(space, choices_NV)):
        if len(walk_NL) != len(architectures) or not np.issubdtype(walk_NL.dtype, np.integer):
            came = f"{walk_NL.dtype} of {walk_NL.shape} came for {len(architectures)} architectures"
            raise SpaceError(where, "must give a row of integers for each architecture", came=came)
        for row_L, architecture in zip(walk_NL, architectures, strict=True):
            found = [every[index] for index in row_L if index != len(every)]
            listed = space.operators(architecture)
            if tuple(found) != listed:
                place = _first_difference(found, listed)
                raise SpaceError(
                    f"{where} for {space.describe(architecture)}",
                    "must find what `operators` lists",
                    came=f"at {place} it finds {_at(found, place)} in place of {_at(listed, place)}",
                )
    return f"{len(architectures)} architectures"


def check_total_costs(subject: SpaceUnderTest) -> str:
    """`total_costs` sums several costs at once over the operators, each as often as it runs. Raises SpaceError."""
    space, architectures = subject.space, subject.architectures
    every = space.all_operators()
    where = f"`total_costs` of the space {space.name}"
    costs = [np.random.default_rng(subject.seed).random(len(every)), np.arange(len(every), dtype=float) - 3.0]
    totals = space.total_costs(choices_of(architectures), costs)
    shapes = [total_N.shape for total_N in totals]
    if shapes != [(len(architectures),)] * len(costs) or space.total_costs(choices_of(architectures), []) != []:
        raise SpaceError(where, "must give a sum an architecture for each cost", came=f"shapes {shapes} came")
    for total_N, cost in zip(totals, costs, strict=True):
        by_operator = dict(zip(every, cost.tolist(), strict=True))
        for total, architecture in zip(total_N, architectures, strict=True):
            by_hand = math.fsum(by_operator[one] for one in space.operators(architecture))
            if not math.isclose(total, by_hand, rel_tol=1e-12, abs_tol=1e-9):
                raise SpaceError(
                    f"{where} for {space.describe(architecture)}",
                    "must sum the costs of its operators",
                    came=f"it gives {total:.6g} in place of {by_hand:.6g}",
                )
    return f"{len(architectures)} architectures, {len(costs)} costs"


def check_expected_cost(subject: SpaceUnderTest) -> str:
    """`expected_cost` of certain choices is the cost of that architecture, where the space has it. Raises SpaceError."""
    space = subject.space
    if type(space).expected_cost is SearchSpace.expected_cost:
        return "no `expected_cost`"
    cost = torch.rand(len(space.all_operators()), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sums = space.total_costs(choices_of(subject.architectures), [cost.numpy()])[0]
    for architecture, total in zip(subject.architectures, sums, strict=True):
        expected = float(space.expected_cost(one_hot(space, architecture), cost))
        if not math.isclose(expected, total, rel_tol=1e-9, abs_tol=1e-9):
            raise SpaceError(
                f"`expected_cost` of the space {space.name} for {space.describe(architecture)} alone",
                "must be its cost",
                came=f"it gives {expected:.6g} in place of {total:.6g}",
            )
    return "`expected_cost`"


def one_hot(space: SearchSpace, architecture: Architecture) -> list[Tensor]:
    """For each variable the weights of its options that choose `architecture` alone, in double precision."""
    weights = [torch.zeros(len(variable.options), dtype=torch.float64) for variable in space.variables]
    for weight, choice in zip(weights, architecture.choices, strict=True):
        weight[choice] = 1.0
    return weights


def check_operators_run(
    subject: SpaceUnderTest, architectures: Sequence[Architecture] | None = None, *, device: str = "cpu"
) -> str:
    """Listed and built from one description: same order, layers and shapes, seen by forward hooks.

    Args:
        subject: the space.
        architectures: to be looked at; None: those of which networks are run.
        device: where networks are run; on "meta" nothing is computed.

    Raises:
        SpaceError: another operator runs than the one listed.
    """
    space = subject.space
    expected = {operator: repr(layer) for operator, layer in subject.layers.items()}

    def fault(architecture: Architecture) -> str | None:
        with torch.device(device):
            network = subject.network(architecture)
            seen = run_operators(space, network)
        listed = space.operators(architecture)
        for position, (operator, (module, given, returned)) in enumerate(zip(listed, seen, strict=False)):
            where = f"operator {position} is listed as {operator}, but there"
            if given != operator.input_shape:
                return f"{where} {type(module).__name__} runs on {_shape(given)}"
            if returned != space.counts[operator].output_shape:
                return f"{where} {_shape(returned)} comes out"
            if repr(module) != expected[operator]:
                return f"{where} runs {' '.join(repr(module).split())}"
        if len(listed) != len(seen):
            return f"{len(listed)} operators are listed and {len(seen)} run"
        return None

    chosen = subject.networks if architectures is None else architectures
    subject.require(chosen, "must list the operators that run", fault)
    return f"{len(chosen)} networks by forward hooks"


def check_counts(subject: SpaceUnderTest) -> str:
    """MACs and parameters equal fvcore's count, operator by operator and of whole networks.

    MACs are exact, over convolutions and matrix products. Raises SpaceError.
    """
    space = subject.space
    for operator in space.all_operators():
        with torch.random.fork_rng(devices=[]):
            layer = space.build_operator(operator)
        counted = (count_macs(layer, operator.input_shape), _parameters(layer))
        listed = (space.counts[operator].macs, space.counts[operator].parameters)
        if listed != counted:
            raise SpaceError(
                f"The operator {operator} of the space {space.name}",
                "must have the MACs and parameters that fvcore counts",
                came=f"`counts` has {listed[0]} and {listed[1]} in place of {counted[0]} and {counted[1]}",
            )

    def fault(architecture: Architecture) -> str | None:
        network = subject.network(architecture)
        counts = [space.counts[operator] for operator in space.operators(architecture)]
        for what, listed, counted in (
            ("parameters", sum(one.parameters for one in counts), _parameters(network)),
            ("MACs", sum(one.macs for one in counts), count_macs(network, space.input_shape)),
        ):
            if listed != counted:
                return f"its operators have {listed} {what} and its network {counted}{_outside(space, network)}"
        return None

    subject.require(subject.networks, "must have no MACs or parameters beside those of its operators", fault)
    return f"{len(space.all_operators())} operators and {len(subject.networks)} networks, by fvcore"


def count_macs(network: nn.Module, input_shape: Sequence[int]) -> int:
    """The multiply-accumulates of convolutions and matrix products for one image, as fvcore counts them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore rests on torch.jit, which torch calls deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, *input_shape)).set_op_handle(ATTENTION, _attention)
        by_operator = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    return int(sum(by_operator[name] for name in MULTIPLICATIONS))


def run_operators(space: SearchSpace, network: nn.Module) -> list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]:
    """The outermost layers of `network` that are operators of `space`, as they run, with input and output shapes.

    Args:
        space: whose operators are looked for.
        network: on torch's default device.

    Returns:
        For each the module and its shapes in and out, without the batch.
    """
    seen: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((module, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    hooks = [module.register_forward_hook(note) for module in _operator_modules(space, network).values()]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *space.input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _operator_modules(space: SearchSpace, network: nn.Module) -> dict[str, nn.Module]:
    """The outermost modules of `network` that are of a class of `space`'s layers, by name."""
    examples = {operator.kind: operator for operator in space.all_operators()}
    with torch.device("meta"):
        layers = tuple({type(space.build_operator(operator)) for operator in examples.values()})
    found: dict[str, nn.Module] = {}

    def walk(module: nn.Module, prefix: str) -> None:
        for name, child in module.named_children():
            if isinstance(child, layers):
                found[prefix + name] = child
            else:
                walk(child, f"{prefix}{name}.")

    walk(network, "")
    return found


def _outside(space: SearchSpace, network: nn.Module) -> str:
    """Names the first weight that belongs to no operator."""
    inside = {id(weight) for module in _operator_modules(space, network).values() for weight in module.parameters()}
    outside = [name for name, weight in network.named_parameters() if id(weight) not in inside]
    return f": {outside[0]} belongs to no operator" if outside else ""


def _attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:  # noqa: ARG001  as fvcore calls it
    """Products of queries with keys, and of their weights with values."""
    (*batch, queries, features), (*_, keys, _), (*_, values) = (one.type().sizes() for one in inputs[:3])
    return Counter({"attention": math.prod(batch) * queries * keys * (features + values)})


def _covering(subject: SpaceUnderTest) -> Iterator[Architecture]:
    """Architectures that show every operator: many random ones, and all that are one or two changes from the largest."""
    space, rng = subject.space, np.random.default_rng([subject.seed, 4])
    yield from space.architectures(space.sample_choices(COVERING, rng=rng))
    for neighbor in space.neighbors(space.largest()):
        yield neighbor
        yield from space.neighbors(neighbor)


def _first_difference(found: Sequence[Operator], listed: Sequence[Operator]) -> int:
    pairs = itertools.zip_longest(found, listed)
    return next(position for position, (one, other) in enumerate(pairs) if one != other)


def _at(operators: Sequence[Operator], position: int) -> str:
    return str(operators[position]) if position < len(operators) else "nothing"


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shape(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
