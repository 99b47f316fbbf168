"""Networks of one space as ONNX models without an export each: a search that quantises what it evaluates makes hundreds.

The graph of each operator is exported once, its weights as inputs. A network is joined from the graphs of its operators,
its own weights put in, and optimised by what the exporter itself ends with, which folds batch norms into convolutions: a
tenth of a second where an export takes seconds.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx.helper
import onnx.numpy_helper
import torch
from torch import nn

from hwnas.errors import ExportError, StoredFileError
from hwnas.exporters.onnx import chain_models
from hwnas.exporters.quiet import quiet, root_reason
from hwnas.files import replacing

__all__ = ["OperatorGraphs"]


class OperatorGraphs:
    """The graphs of operators, kept in a folder.

    Args:
        folder: where they lie; processes may share it.
        batch_size: the static batch size of the models.
    """

    def __init__(self, folder: Path, *, batch_size: int) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._known: dict[str, onnx.ModelProto] = {}

    def join(
        self, layers: Sequence[nn.Module], *, keys: Sequence[str], input_shapes: Sequence[Sequence[int]]
    ) -> onnx.ModelProto:
        """The network of `layers`, one after the other, as (batch_size, *input_shapes[0]) "input" -> "output".

        Args:
            layers: of a network, in evaluation mode, on any device.
            keys: for each layer a text that is the same for layers that differ in their weights alone.
            input_shapes: for each layer the shape of its input without the batch.

        Raises:
            ExportError: torch cannot export a layer, or its weights are not those of its key.
            StoredFileError: a graph is broken or could not be written.
        """
        from onnxscript import optimizer

        parts = [
            _with_weights(self._graph(layer, key, shape), layer, key)
            for layer, key, shape in zip(layers, keys, input_shapes, strict=True)
        ]
        with quiet():
            joined: onnx.ModelProto = optimizer.optimize(chain_models(parts))
        return joined

    def _graph(self, layer: nn.Module, key: str, input_shape: Sequence[int]) -> onnx.ModelProto:
        if key not in self._known:
            name = hashlib.sha256(f"{self._batch_size} {onnx.__version__} {torch.__version__} {key}".encode())
            path = self._folder / f"{name.hexdigest()[:16]}.onnx"
            if not path.exists():
                model = _exported(layer, torch.zeros(self._batch_size, *input_shape), key)
                with replacing(path) as scratch:
                    scratch.write_bytes(model.SerializeToString())
            try:
                self._known[key] = onnx.load(path)
            except Exception as error:  # protobuf raises classes of its own
                must = "must be the graph of an operator"
                raise StoredFileError(str(path), must, came="it is broken", do="Delete it") from error
        return self._known[key]


def _exported(layer: nn.Module, example: torch.Tensor, key: str) -> onnx.ModelProto:
    """The graph of `layer`, simplified as far as that goes without its weights, which are inputs of it."""
    from onnxscript import optimizer

    device = next((parameter.device for parameter in layer.parameters()), example.device)
    try:
        with quiet():
            program = torch.onnx.export(
                layer,
                (example.to(device),),
                dynamo=True,
                optimize=False,
                verbose=False,
                input_names=["input"],
                output_names=["output"],
            )
            if program is None:
                raise ExportError(key, "must export to ONNX", came="torch returned nothing")
            model: onnx.ModelProto = program.model_proto
            weights = layer.state_dict()
            constants = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
            for tensor in model.graph.initializer:
                if tensor.name in weights:
                    value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                    model.graph.input.append(value)
            del model.graph.initializer[:]
            model.graph.initializer.extend(constants)
            optimized: onnx.ModelProto = optimizer.optimize(model)
    except ExportError:
        raise
    except Exception as error:  # the exporter lets errors of every kind through
        raise ExportError(key, "must export to ONNX", came=f"torch says: {root_reason(error)}") from error
    return optimized


def _with_weights(graph: onnx.ModelProto, layer: nn.Module, key: str) -> onnx.ModelProto:
    """A copy of `graph` in which what it takes besides its input are the weights of `layer`."""
    model, weights = onnx.ModelProto(), layer.state_dict()
    model.CopyFrom(graph)
    given, *wanted = model.graph.input
    for value in wanted:
        shape = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        found = weights.get(value.name)
        if found is None or tuple(found.shape) != shape:
            came = f"that of {value.name} is {'absent' if found is None else tuple(found.shape)} in place of {shape}"
            raise ExportError(key, "must be a layer with the weights of its kind", came=came)
        model.graph.initializer.append(onnx.numpy_helper.from_array(found.cpu().contiguous().numpy(), value.name))
    del model.graph.input[:]
    model.graph.input.append(given)
    return model
