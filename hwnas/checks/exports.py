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
from hwnas.exporters import TOLERANCE, export_many, relative_difference, save_onnx
from hwnas.spaces import Architecture, Operator, SearchSpace
from hwnas.training import recalibrate_batch_norm

__all__ = ["check_exports", "covering_architectures", "export_networks", "export_operators", "one_of_each_form"]

RUNTIME: Final = "onnxruntime-cpu"
RANDOM_INPUTS: Final = 4
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


def export_networks(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    *,
    images_NCHW: torch.Tensor | None = None,
    seed: int = 0,
) -> float:
    """Exports and runs whole networks; returns the largest difference from torch, as a share of the largest logit.

    Args:
        space: of the networks.
        architectures: which.
        images_NCHW: real images, normalised, on each of which a network must give torch's class too. Batch norms get their
            statistics from these, so that networks whose weights are random tell them apart. None: random inputs alone.
        seed: of the weights.

    Raises:
        SpaceError: one does not export, is not sound, gives something else, or has leftovers of a supernet: slices, gathers,
            identities, weights that nothing reads or more weights than the network; it names the architecture.
    """
    makers = [lambda architecture=architecture: space.build(architecture) for architecture in architectures]
    names = [f"The network {space.describe(architecture)} of the space {space.name}" for architecture in architectures]
    shapes = [space.input_shape] * len(architectures)
    return _exported(
        makers,
        shapes,
        names,
        together=NETWORKS_TOGETHER,
        seed=seed,
        images_NCHW=images_NCHW,
        inspect=_require_no_leftovers,
    )


def _exported(
    makers: Sequence[Callable[[], nn.Module]],
    shapes: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    together: int,
    seed: int,
    images_NCHW: torch.Tensor | None = None,
    inspect: Callable[[str, nn.Module, onnx.ModelProto], None] | None = None,
) -> float:
    largest = 0.0
    for start in range(0, len(makers), together):
        part = slice(start, start + together)
        modules = _modules(makers[part], seed)
        if images_NCHW is not None:
            for module in modules:
                _calibrate(module, images_NCHW)
        try:
            models = export_many(modules, shapes[part], names=names[part])
        except ExportError as error:
            raise SpaceError(error.where, error.must, came=error.came) from error
        for name, shape, module, model in zip(names[part], shapes[part], modules, models, strict=True):
            if inspect is not None:
                inspect(name, module, model)
            largest = max(largest, _compared(name, shape, module, model, images_NCHW))
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


@torch.no_grad()
def _calibrate(module: nn.Module, images_NCHW: torch.Tensor) -> None:
    """Lets a network of random weights give the images different classes: none is preferred on the average."""
    recalibrate_batch_norm(module, [images_NCHW])
    logits_NK = module(images_NCHW)
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    tells_apart = logits_NK.std(0).max() > 1e-3 * logits_NK.abs().max()  # a cell of zeroes does not
    if tells_apart and last.bias is not None and last.bias.shape == logits_NK.shape[1:]:
        last.bias -= logits_NK.mean(0)


def _compared(
    where: str, shape: Sequence[int], module: nn.Module, model: onnx.ModelProto, images_NCHW: torch.Tensor | None
) -> float:
    """The largest difference from torch, on random inputs and on images, where there are some."""
    random = torch.randn(RANDOM_INPUTS, *shape, generator=torch.Generator().manual_seed(0))
    inputs = random if images_NCHW is None else torch.cat([random, images_NCHW])
    with torch.no_grad():
        expected = module(inputs.clone()).numpy()
    found = _run(where, model, inputs.numpy())
    if found.shape != expected.shape:
        own = (1, *expected.shape[1:])
        raise SpaceError(where, f"must give {own} in ONNX Runtime as in torch", came=f"{(1, *found.shape[1:])} came")
    apart = max(relative_difference(one, other) for one, other in zip(found, expected, strict=True))
    if not apart <= TOLERANCE:
        raise SpaceError(
            where,
            f"must give in ONNX Runtime what it gives in torch within {TOLERANCE:g} of the largest output",
            came=f"it is {apart:.1e} apart",
        )
    classes, torchs = (logits[RANDOM_INPUTS:].argmax(1) for logits in (found, expected))
    if not np.array_equal(classes, torchs):
        came = f"it gives another for {int((classes != torchs).sum())} of {len(torchs)}"
        raise SpaceError(where, "must give torch's class for every image", came=came)
    return apart


def _run(where: str, model: onnx.ModelProto, inputs: Any) -> Any:
    """What the file of `model`, which takes one input at a time, gives for each of `inputs`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operator.onnx"
        try:
            save_onnx(model, path)
            session = find_runtime(RUNTIME).load(path, num_threads=1)
            return np.concatenate([session.run([one[None]])[0] for one in inputs])
        except ExportError as error:
            raise SpaceError(where, error.must, came=error.came) from error
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
            came = error.came if isinstance(error, HwnasError) else str(error).strip().partition("\n")[0]
            raise SpaceError(where, "must run in ONNX Runtime", came=came) from error


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
