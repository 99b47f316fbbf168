"""The models whose latencies a table is built from: each operator in surroundings like those inside a network.

An operator alone pays for what it would not pay inside a network: the call into the runtime, and the change of memory
layout at a graph's ends. So it is measured between two 1x1 convolutions that keep its input and output shape, its
contexts, and half of what two such convolutions take together is subtracted for either side: a graph of two equal
convolutions has one call and two ends, as the operator's graph has. What an end of the network has no neighbour for
stays in its operator, so that the rows of a network sum to the whole, call included.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx
from torch import nn

from hwnas.exporters import chain_models, export_many, save_onnx
from hwnas.layers import ConvBNAct
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Operator, SearchSpace

__all__ = ["export_probes", "sides_of"]

EXPORTED_TOGETHER: Final = 16


def sides_of(operator: Operator, space: SearchSpace) -> tuple[str, ...]:
    """The names of the contexts before and after `operator`; at an end of the network there is none."""
    before, after = _context_shapes(operator, space)
    return tuple(context_name(shape) for shape in (*before, *after))


def context_name(shape: Sequence[int]) -> str:
    """The name of the context of a shape."""
    return f"two 1x1 convolutions at {'x'.join(map(str, shape))}"


def export_probes(
    operators: Sequence[Operator],
    space: SearchSpace,
    folder: Path,
    *,
    batch_size: int = 1,
    on_progress: OnProgress = silent,
) -> dict[str, Path]:
    """Writes the models to measure; those that are there already are kept.

    Returns:
        The file of each operator (by its key) and of each context (by its name).

    Raises:
        ExportError: an operator cannot be exported.
        StoredFileError: a file could not be written.
    """
    shapes = {shape for operator in operators for side in _context_shapes(operator, space) for shape in side}
    names = [*map(context_name, sorted(shapes)), *(operator.key for operator in operators)]
    paths = {name: folder / f"probe{index}.onnx" for index, name in enumerate(names)}
    missing = [operator for operator in operators if not paths[operator.key].exists()]
    if not missing:
        return paths
    contexts = _export_contexts(sorted(shapes), batch_size)
    for shape, model in contexts.items():
        save_onnx(chain_models([model, model]), paths[context_name(shape)])
    for start in range(0, len(missing), EXPORTED_TOGETHER):
        some = missing[start : start + EXPORTED_TOGETHER]
        modules = [space.build_operator(operator) for operator in some]
        models = export_many(modules, [operator.input_shape for operator in some], batch_size=batch_size)
        for operator, model in zip(some, models, strict=True):
            before, after = _context_shapes(operator, space)
            whole = chain_models([*(contexts[s] for s in before), model, *(contexts[s] for s in after)])
            save_onnx(whole, paths[operator.key])
        on_progress("exporting", len(operators) - len(missing) + start + len(some), len(operators))
    return paths


def _context_shapes(operator: Operator, space: SearchSpace) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The shapes of the contexts before and after `operator`, at most one each."""
    output_shape = space.counts[operator].output_shape
    before = [] if operator in space.first_operators else [operator.input_shape]
    return before, [output_shape] if len(output_shape) == 3 else []


def _export_contexts(shapes: Sequence[tuple[int, ...]], batch_size: int) -> dict[tuple[int, ...], onnx.ModelProto]:
    convolutions: list[nn.Module] = [ConvBNAct(shape[0], shape[0]) for shape in shapes]
    models = export_many(convolutions, shapes, batch_size=batch_size) if shapes else []
    return dict(zip(shapes, models, strict=True))
