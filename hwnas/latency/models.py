"""The models whose latencies a table is built from: operators in surroundings like those of a network, and networks.

An operator alone pays for what it would not pay inside a network: the call into the runtime, and the change of memory
layout at a graph's ends. So it is measured between two 1x1 convolutions that keep its input and output shape, its
contexts, and half of what two such convolutions take together is subtracted for either side: a graph of two equal
convolutions has one call and two ends, as the operator's graph has. Between tokens the contexts are linear layers. What
an end of the network has no neighbour for stays in its operator, so that the rows of a network sum to the whole, call
included.

Networks are joined from the exported operators in milliseconds, so that dozens of them cost no export.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import onnx
from torch import nn

from hwnas.exporters import ExportCache, chain_models, export_onnx, save_onnx, to_precision
from hwnas.layers import ConvBNAct
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, Operator, SearchSpace

__all__ = ["SENTINELS", "MeasuredModels", "choose_networks", "network_name", "sentinel_networks", "sides_of", "spread"]

EXPORTED_TOGETHER: Final = 16
TRIED: Final = 64
"""How many times a network is drawn before one that was drawn already is left out."""

SENTINELS: Final = 5
"""Models of a phase that tie it to others: several, since where each comes to lie in memory is luck."""

Shape = tuple[int, ...]
Item = TypeVar("Item")


class MeasuredModels:
    """Writes the models to measure into a folder; those that are there already are kept.

    Args:
        space: whose operators and networks.
        folder: where the files lie.
        batch_size: images in one inference.
        precision: of the models.
        symmetric: int8 activations without a zero point, which some runtimes want.

    Raises (all methods):
        ExportError: an operator cannot be exported.
        StoredFileError: a file could not be written.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: Path,
        *,
        batch_size: int = 1,
        precision: str = "fp32",
        symmetric: bool = False,
    ) -> None:
        self._space = space
        self._folder = folder
        self._batch_size = batch_size
        self._precision = precision
        self._symmetric = symmetric
        self._cache = ExportCache()
        self._number = {operator: number for number, operator in enumerate(space.all_operators())}

    def probes(self, operators: Sequence[Operator], on_progress: OnProgress = silent) -> dict[str, Path]:
        """The file of each operator between its contexts (by its key), and of each pair of contexts (by its name)."""
        self._export(operators, on_progress)
        shapes = sorted({shape for operator in operators for side in self._sides(operator) for shape in side})
        contexts = self._contexts(shapes)
        paths = {}
        for shape in shapes:
            name = context_name(shape)
            paths[name] = self._save([contexts[shape]] * 2, self._folder / f"context{'x'.join(map(str, shape))}.onnx")
        for number, operator in enumerate(operators, start=1):
            before, after = self._sides(operator)
            parts = [*(contexts[s] for s in before), self._stored(operator), *(contexts[s] for s in after)]
            paths[operator.key] = self._save(parts, self._folder / f"probe{self._number[operator]}.onnx")
            on_progress("joining operators", number, len(operators))
        return paths

    def alone(self, operators: Sequence[Operator]) -> dict[str, Path]:
        """The file of each operator by itself, by "alone " and its key: what other ways of measuring are compared with."""
        self._export(operators, silent)
        return {
            f"alone {operator.key}": self._save(
                [self._stored(operator)], self._folder / f"alone{self._number[operator]}.onnx"
            )
            for operator in operators
        }

    def networks(self, architectures: Sequence[Architecture], on_progress: OnProgress = silent) -> dict[str, Path]:
        """The file of each architecture, by its `network_name`."""
        joined = type(self._space).assemble is SearchSpace.assemble
        if joined:
            operators = dict.fromkeys(op for one in architectures for op in self._space.operators(one))
            self._export(list(operators), on_progress)
        paths = {}
        for number, architecture in enumerate(architectures, start=1):
            name = network_name(architecture)
            path = self._folder / f"network{'-'.join(map(str, architecture.choices))}.onnx"
            if joined:
                self._save([self._stored(operator) for operator in self._space.operators(architecture)], path)
            elif not path.exists():
                network = self._space.build(architecture)
                model = export_onnx(network, self._space.input_shape, batch_size=self._batch_size)
                save_onnx(to_precision(model, self._precision, symmetric=self._symmetric), path)
            paths[name] = path
            on_progress("joining networks", number, len(architectures))
        return paths

    def _sides(self, operator: Operator) -> tuple[list[Shape], list[Shape]]:
        return _context_shapes(operator, self._space)

    def _export(self, operators: Sequence[Operator], on_progress: OnProgress) -> None:
        missing = [operator for operator in operators if not self._path(operator).exists()]
        for start in range(0, len(missing), EXPORTED_TOGETHER):
            some = missing[start : start + EXPORTED_TOGETHER]
            models = self._cache.export_many(
                [self._space.build_operator(operator) for operator in some],
                [operator.input_shape for operator in some],
                keys=[operator.key for operator in some],
                batch_size=self._batch_size,
            )
            for operator, model in zip(some, models, strict=True):
                save_onnx(model, self._path(operator))
            on_progress("exporting", len(operators) - len(missing) + start + len(some), len(operators))

    def _path(self, operator: Operator) -> Path:
        return self._folder / f"operator{self._number[operator]}.onnx"

    def _stored(self, operator: Operator) -> onnx.ModelProto:
        return onnx.load(self._path(operator))

    def _contexts(self, shapes: Sequence[Shape]) -> dict[Shape, onnx.ModelProto]:
        paths = {
            shape: self._folder / f"{'convolution' if len(shape) == 3 else 'linear'}{'x'.join(map(str, shape))}.onnx"
            for shape in shapes
        }
        missing = [shape for shape in shapes if not paths[shape].exists()]
        models = self._cache.export_many(
            [_context_layer(shape) for shape in missing],
            missing,
            keys=["context" for _ in missing],
            batch_size=self._batch_size,
        )
        for shape, model in zip(missing, models, strict=True):
            save_onnx(model, paths[shape])
        return {shape: onnx.load(path) for shape, path in paths.items()}

    def _save(self, parts: Sequence[onnx.ModelProto], path: Path) -> Path:
        if not path.exists():
            save_onnx(to_precision(chain_models(parts), self._precision, symmetric=self._symmetric), path)
        return path


def sides_of(operator: Operator, space: SearchSpace) -> tuple[str, ...]:
    """The names of the contexts before and after `operator`; at an end of the network there is none."""
    before, after = _context_shapes(operator, space)
    return tuple(context_name(shape) for shape in (*before, *after))


def context_name(shape: Sequence[int]) -> str:
    """The name of the context of a shape."""
    kind = "1x1 convolutions" if len(shape) == 3 else "linear layers"
    return f"two {kind} at {'x'.join(map(str, shape))}"


def network_name(architecture: Architecture) -> str:
    """The name of a network among the measured models."""
    return f"network {'-'.join(map(str, architecture.choices))}"


def choose_networks(
    space: SearchSpace, count: int, *, rng: np.random.Generator, without: Iterable[Architecture] = ()
) -> list[Architecture]:
    """Different random networks, at most `count` of them, in which every option of a variable is drawn about equally often.

    Args:
        space: whose networks.
        count: how many; a small space may have fewer.
        rng: of the draw.
        without: networks that are not wanted.
    """
    taken = set(without)
    found: dict[Architecture, None] = {}
    for _ in range(TRIED):
        wanted = count - len(found)
        if wanted <= 0:
            break
        columns = [rng.permutation(wanted) % options for options in space.num_options_V]
        shuffled = [
            rng.permutation(int(options))[column] for options, column in zip(space.num_options_V, columns, strict=True)
        ]
        for architecture in space.architectures(np.stack(shuffled, axis=1)):
            if architecture not in taken:
                found[architecture] = None
    return list(found)[:count]


def sentinel_networks(space: SearchSpace, count: int, *, without: Collection[Operator] = ()) -> list[Architecture]:
    """Networks from small to large, always the same ones of a space, that tie one measurement to another.

    Args:
        space: whose networks.
        count: how many.
        without: operators that they are not to have, where some were drawn that have none of them.
    """
    drawn = list(dict.fromkeys(space.architectures(space.sample_choices(63, rng=np.random.default_rng(0)))))
    sound = [one for one in drawn if not set(without) & set(space.operators(one))] or drawn

    def by_size(one: Architecture) -> tuple[int, tuple[int, ...]]:
        return sum(space.counts[operator].macs for operator in space.operators(one)), one.choices

    return spread(sorted(sound, key=by_size), count)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of `items`, evenly spread, the ends left out where there are more."""
    if len(items) <= count:
        return list(items)
    return [items[round((number + 0.5) * len(items) / count - 0.5)] for number in range(count)]


def _context_shapes(operator: Operator, space: SearchSpace) -> tuple[list[Shape], list[Shape]]:
    """The shapes of the contexts before and after `operator`, at most one each."""
    output_shape = space.counts[operator].output_shape
    before = [] if operator in space.first_operators else [operator.input_shape]
    return before, [output_shape] if len(output_shape) > 1 else []  # logits end a network


def _context_layer(shape: Shape) -> nn.Module:
    """A layer that keeps `shape`: of images (C, H, W) a 1x1 convolution, of tokens (T, D) a linear layer."""
    return ConvBNAct(shape[0], shape[0]) if len(shape) == 3 else nn.Linear(shape[-1], shape[-1])
