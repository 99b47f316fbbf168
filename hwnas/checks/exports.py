"""The checks that operators and networks are sound ONNX files that ONNX Runtime runs, and give what torch gives."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import nn

from hwnas.checks.subject import Skipped, SpaceUnderTest, bend, bend_statistics
from hwnas.devices import find_runtime
from hwnas.errors import ExportError, HwnasError, MissingRuntimeError, SpaceError
from hwnas.exporters import export_many, save_onnx
from hwnas.spaces import Architecture, Operator, SearchSpace

__all__ = ["check_exports", "covering_architectures", "export_networks", "export_operators", "one_of_each_form"]

RUNTIME: Final = "onnxruntime-cpu"
TOLERANCE: Final = 1e-4
"""How far ONNX Runtime's output may be from torch's, as a share of the largest."""
TOGETHER: Final = 48
"""Operators of one export: fewer exports take less time, and one that fails is looked for among fewer operators."""
NETWORKS_TOGETHER: Final = 6
DRAWN: Final = 512
FLOAT: Final = onnx.TensorProto.FLOAT
SCALARS: Final = 64
"""Constants that are no weights, such as the scale of attention, at most."""
LEFTOVERS: Final = {"Slice", "Gather", "Identity"}
"""What a network has only where it was cut out of a supernet."""


def check_exports(subject: SpaceUnderTest) -> str | Skipped:
    """Operators export, pass the ONNX checker, run in ONNX Runtime and give what torch gives, within 1e-4.

    Where not all are wanted, they are spread over operators of different forms.

    Raises SpaceError.
    """
    try:
        find_runtime(RUNTIME).require()
    except MissingRuntimeError as missing:
        return Skipped(str(missing).rstrip("."))
    every = subject.space.all_operators()
    choice = every
    if subject.num_operators is not None and subject.num_operators < len(every):
        forms = one_of_each_form(subject.space)
        choice = forms if len(forms) >= subject.num_operators else every
    count = len(choice) if subject.num_operators is None else min(subject.num_operators, len(choice))
    chosen = [choice[index] for index in np.linspace(0, len(choice) - 1, count).astype(int)]
    largest = export_operators(subject.space, chosen, seed=subject.seed)
    return f"{len(chosen)} of {len(every)} operators, at most {largest:.0e} of the largest output apart"


def one_of_each_form(space: SearchSpace) -> tuple[Operator, ...]:
    """Operators of `space`, the smallest of each form: others become the same graph with other numbers of channels.

    A form is the kind, the layers with their kernels, strides and groups, and whether the shape stays.
    """
    try:
        counts = space.counts
    except Exception:  # operators of users raise errors of every kind, which other checks tell of
        return space.all_operators()
    found: dict[Any, Operator] = {}
    for operator in sorted(space.all_operators(), key=lambda one: counts[one].macs):
        with torch.device("meta"):
            module = space.build_operator(operator)
        layers = tuple(_layer_form(layer) for layer in module.modules())
        words = tuple(sorted((name, value) for name, value in operator.attributes.items() if isinstance(value, str)))
        same_shape = operator.input_shape == counts[operator].output_shape
        found.setdefault((operator.kind, layers, words, same_shape), operator)
    return tuple(found.values())


def covering_architectures(space: SearchSpace, *, rng: np.random.Generator) -> list[Architecture]:
    """Random architectures in which every choice of every variable, and every operator of every place of a network, occurs
    at least once, as far as 512 of them show it.

    Args:
        space: whose architectures.
        rng: of the draw.
    """
    choices_NV = space.canonicalize(space.sample_choices(DRAWN, rng=rng))
    shown = np.hstack([choices_NV, space.operator_indices(choices_NV)])
    left = {number: set(enumerate(row)) for number, row in enumerate(shown.tolist())}
    missing = set().union(*left.values())
    chosen = []
    while missing:
        best = max(left, key=lambda number: len(left[number] & missing))
        missing -= left.pop(best)
        chosen.append(best)
    return space.architectures(choices_NV[chosen])


def export_operators(space: SearchSpace, operators: Sequence[Operator], *, seed: int = 0) -> float:
    """Exports and runs `operators`; returns the largest difference from torch, as a share of the largest output.

    Raises:
        SpaceError: one does not export, is not sound, or gives something else; it names the operator.
    """
    makers = [lambda operator=operator: space.build_operator(operator) for operator in operators]
    names = [f"The operator {operator} of the space {space.name}" for operator in operators]
    shapes = [operator.input_shape for operator in operators]
    return _exported(makers, shapes, names, together=TOGETHER, seed=seed)


def export_networks(space: SearchSpace, architectures: Sequence[Architecture], *, seed: int = 0) -> float:
    """Exports and runs whole networks; returns the largest difference from torch, as a share of the largest logit.

    Raises:
        SpaceError: one does not export, is not sound, gives something else, or has leftovers of a supernet: slices, gathers,
            identities, weights that nothing reads or more weights than the network; it names the architecture.
    """
    makers = [lambda architecture=architecture: space.build(architecture) for architecture in architectures]
    names = [f"The network {space.describe(architecture)} of the space {space.name}" for architecture in architectures]
    shapes = [space.input_shape] * len(architectures)
    return _exported(makers, shapes, names, together=NETWORKS_TOGETHER, seed=seed, inspect=_require_no_leftovers)


def _exported(
    makers: Sequence[Callable[[], nn.Module]],
    shapes: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    together: int,
    seed: int,
    inspect: Callable[[str, nn.Module, onnx.ModelProto], None] | None = None,
) -> float:
    largest = 0.0
    for start in range(0, len(makers), together):
        part = slice(start, start + together)
        modules = _modules(makers[part], seed)
        try:
            models = export_many(modules, shapes[part], names=names[part])
        except ExportError as error:
            raise SpaceError(error.where, error.must, came=error.came) from error
        for name, shape, module, model in zip(names[part], shapes[part], modules, models, strict=True):
            if inspect is not None:
                inspect(name, module, model)
            largest = max(largest, _compared(name, shape, module, model))
    return largest


def _modules(makers: Sequence[Callable[[], nn.Module]], seed: int) -> list[nn.Module]:
    """Layers all of whose weights show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = [make().eval() for make in makers]
    for module in modules:
        bend(module, generator=generator)
        bend_statistics(module, generator=generator)
    return modules


def _compared(where: str, shape: Sequence[int], module: nn.Module, model: onnx.ModelProto) -> float:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *shape, generator=generator)
    with torch.no_grad():
        expected = module(x.clone()).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operator.onnx"
        try:
            save_onnx(model, path)
            [found] = find_runtime(RUNTIME).load(path, num_threads=1).run([x.numpy()])
        except ExportError as error:
            raise SpaceError(where, error.must, came=error.came) from error
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
            came = error.came if isinstance(error, HwnasError) else str(error).strip().partition("\n")[0]
            raise SpaceError(where, "must run in ONNX Runtime", came=came) from error
    if found.shape != expected.shape:
        raise SpaceError(where, f"must give {expected.shape} in ONNX Runtime as in torch", came=f"{found.shape} came")
    apart = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not apart <= TOLERANCE:
        raise SpaceError(
            where,
            f"must give in ONNX Runtime what it gives in torch within {TOLERANCE:g} of the largest output",
            came=f"it is {apart:.1e} apart",
        )
    return apart


def _layer_form(layer: nn.Module) -> tuple[Any, ...]:
    """What of a layer shows in the graph, besides its numbers of channels."""
    if not isinstance(layer, nn.Conv2d):
        return (type(layer).__name__,)
    groups = "depthwise" if layer.groups == layer.in_channels > 1 else layer.groups
    return type(layer).__name__, layer.kernel_size, layer.stride, groups, layer.bias is None


def _require_no_leftovers(where: str, module: nn.Module, model: onnx.ModelProto) -> None:
    kinds = LEFTOVERS & {node.op_type for node in model.graph.node}
    read = {name for node in model.graph.node for name in node.input}
    unread = [tensor.name for tensor in model.graph.initializer if tensor.name not in read]
    stored = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.data_type == FLOAT)
    own = sum(tensor.numel() for tensor in module.state_dict().values() if tensor.is_floating_point())
    came = None
    if kinds:
        came = f"it has {', '.join(sorted(kinds))}"
    elif unread:
        came = f"nothing reads {unread[0]}"
    elif stored > own + SCALARS:
        came = f"it has {stored} weights and torch {own}"
    if came is not None:
        raise SpaceError(where, "must export without leftovers of a supernet", came=came)
