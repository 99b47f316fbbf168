"""Torch modules to ONNX, by torch.export; batch norm is folded into the convolutions before it.

One export takes half a second or more whatever the module's size, so the hundreds of operators of a space are exported
together as one graph and cut apart, and a chain of operators is joined from their graphs.

A network keeps nothing of the supernet that it was taken out of: no Slice, no Gather, no Identity, no weight that nothing
reads. What may look like it is the network itself: fbnet shuffles channels by Reshape and Transpose, vision_transformer
cuts queries, keys and values apart by Split, nas_bench_201 multiplies by nought where an edge is nothing and keeps the batch
norm of its head, and a resolution that is searched is a Resize, which reads its batch size by Shape and Concat where that is
dynamic.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.compose
import onnx.helper
import onnx.utils
import torch
from torch import Tensor, nn

from hwnas.errors import ExportError
from hwnas.exporters.naming import name_after_modules
from hwnas.exporters.opsets import require_opset
from hwnas.exporters.quiet import quiet, root_reason
from hwnas.files import replacing

__all__ = ["chain_models", "export_many", "export_onnx", "save_onnx"]

EXAMPLE_BATCH: Final = 2
"""Of the images that a network of any batch size is traced with; torch takes 1 for a constant."""


def export_onnx(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    batch_size: int | None = 1,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Exports a network as (batch_size, *input_shape) "input" -> "logits".

    Nodes, tensors and weights are named after the modules that they come from, see `name_after_modules`.

    Args:
        module: the network; its mode and device are left as they are.
        input_shape: shape of one input without the batch.
        batch_size: the static batch size of the file; None: any, the dimension is called "batch".
        opset: the version of ONNX's operators; None: torch's default.
        metadata: written into the model.

    Raises:
        SettingsError: an opset that torch or ONNX Runtime here cannot do.
        ExportError: torch cannot export the module.
    """
    if opset is not None:
        require_opset(opset)
    example = torch.zeros(EXAMPLE_BATCH if batch_size is None else batch_size, *input_shape)
    model = _export(module, (example,), ["input"], ["logits"], opset=opset, dynamic=batch_size is None)
    came = next(one.version for one in model.opset_import if not one.domain)
    if opset not in (None, came):
        must = f"must export to ONNX's operators of version {opset}"
        raise ExportError(type(module).__name__, must, came=f"torch gave version {came}")
    name_after_modules(model.graph, parameters=module.state_dict().keys())
    _forget_sources(model)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    return model


def export_many(
    modules: Sequence[nn.Module],
    input_shapes: Sequence[Sequence[int]],
    *,
    batch_size: int = 1,
    names: Sequence[str] | None = None,
) -> list[onnx.ModelProto]:
    """Exports modules with one input and one output each, in one go.

    Args:
        modules: the modules.
        input_shapes: for each the shape of its input without the batch.
        batch_size: the static batch size.
        names: what the modules are called in errors; None: by their classes.

    Returns:
        For each module a model "input" -> "output".

    Raises:
        ExportError: torch cannot export one of them; it names the first.
    """
    examples = tuple(torch.zeros(batch_size, *shape) for shape in input_shapes)
    inputs = [f"input{index}" for index in range(len(modules))]
    outputs = [f"output{index}" for index in range(len(modules))]
    parallel = _Parallel(modules)
    parameters = parallel.state_dict().keys()
    try:
        together = _export(parallel, examples, inputs, outputs)
    except ExportError as error:
        for index, (module, example) in enumerate(zip(modules, examples, strict=True)):  # which of them is it?
            name = type(module).__name__ if names is None else names[index]
            if len(modules) == 1:
                raise ExportError(name, error.must, came=error.came) from error
            try:
                _export(module, (example,), ["input"], ["output"])
            except ExportError as alone:
                raise ExportError(name, alone.must, came=alone.came) from alone
        raise
    extractor = onnx.utils.Extractor(together)
    models: list[onnx.ModelProto] = []
    for given, returned in zip(inputs, outputs, strict=True):
        model = extractor.extract_model([given], [returned])
        _rename_ends(model, given, returned)
        name_after_modules(model.graph, parameters=parameters, root=f"parts.{len(models)}")
        _forget_sources(model)
        models.append(model)
    return models


def chain_models(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """One model "input" -> "output" that runs `models` ("input" -> "output" each) one after the other."""
    graph = onnx.GraphProto(name="chain")
    given = "input"
    for index, model in enumerate(models):
        returned = "output" if index == len(models) - 1 else f"link{index}"
        part = onnx.compose.add_prefix_graph(model.graph, f"p{index}/")
        renamed = {f"p{index}/input": given, f"p{index}/output": returned}
        for node in part.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        graph.node.extend(part.node)
        graph.initializer.extend(part.initializer)
        given = returned
    for value, ends, name in (
        (models[0].graph.input[0], graph.input, "input"),
        (models[-1].graph.output[0], graph.output, "output"),
    ):
        end = ends.add()
        end.CopyFrom(value)
        end.name = name
    chained = onnx.helper.make_model(graph, opset_imports=models[0].opset_import, ir_version=models[0].ir_version)
    chained.functions.extend(models[0].functions)
    return chained


def save_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Checks the model (full check) and writes it atomically.

    Raises:
        ExportError: the checker refuses it.
        StoredFileError: it could not be written.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(str(path), "must pass the ONNX checker", came=f"it says: {reason}") from error
    serialized = model.SerializeToString()
    with replacing(path) as scratch:
        scratch.write_bytes(serialized)


class _Parallel(nn.Module):
    """Modules side by side, each with an input and an output of its own."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(x) for part, x in zip(self.parts, inputs, strict=True))


def _export(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    *,
    opset: int | None = None,
    dynamic: bool = False,
) -> onnx.ModelProto:
    batch = {0: torch.export.Dim("batch")} if dynamic else None
    was_training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                verbose=False,
                input_names=inputs,
                output_names=outputs,
                opset_version=opset,
                dynamic_shapes=(batch,) * len(examples) if dynamic else None,
            )
    except Exception as error:  # the exporter lets errors of every kind through
        raise ExportError(
            f"{type(module).__name__}", "must export to ONNX", came=f"torch says: {root_reason(error)}"
        ) from error
    finally:
        for part, training in was_training.items():
            part.training = training
    if program is None:
        raise ExportError(f"{type(module).__name__}", "must export to ONNX", came="torch returned nothing")
    model: onnx.ModelProto = program.model_proto
    return model


def _forget_sources(model: onnx.ModelProto) -> None:
    """Drops the exporter's notes (source lines, paths of this machine) from the model."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    values: list[Any] = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    for value in values:
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]


def _rename_ends(model: onnx.ModelProto, given: str, returned: str) -> None:
    for node in model.graph.node:
        node.input[:] = ["input" if name == given else name for name in node.input]
        node.output[:] = ["output" if name == returned else name for name in node.output]
    model.graph.input[0].name = "input"
    model.graph.output[0].name = "output"
