"""Scoring networks as they will run: converted to fp16 or int8, and run by ONNX Runtime.

What a network loses by being quantised depends on its activations and weights (few channels and wide ranges lose most), so
the error of the float network does not tell it. Nothing is simulated here: the model is the one that would be exported,
quantised on training images, and ONNX Runtime runs it with the kernels that it has for this processor.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

from hwnas.errors import ExportError, StoredFileError
from hwnas.exporters import OperatorGraphs, export_onnx, to_precision
from hwnas.files import read_json, write_json
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.data import ImageData
from hwnas.training.evaluate import draw_parts
from hwnas.training.threads import one_thread

__all__ = ["ConvertedEvaluator"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

SCHEMA_VERSION: Final = 1
BATCH_SIZE: Final = 64


class ConvertedEvaluator:
    """Finds the errors of converted networks on the validation part, and keeps each in a file of its own.

    What it finds follows from the network alone: all runs on one thread, in batches of one size, and ranges of activations
    are the extremes over a fixed set of training images.

    Args:
        space: of the networks.
        data: whose train part int8 is calibrated on, and whose validation part is scored on.
        folder: where errors and the graphs of operators lie; processes may share it.
        of: what the networks' weights follow from, besides the architecture.
        calibration_images: of the train part, how many int8 is calibrated on.
        validation_images: of the validation part, how many each is scored on; None: all.
        seed: of the choice of those images.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: ImageData,
        folder: Path,
        *,
        of: Mapping[str, Any],
        calibration_images: int = 256,
        validation_images: int | None = None,
        seed: int = 0,
    ) -> None:
        self._space = space
        self._data = data
        self._folder = folder
        self._graphs = OperatorGraphs(folder / "operators", batch_size=BATCH_SIZE)
        self._calibration, self._validation = draw_parts(data, calibration_images, validation_images, seed=seed)
        self._of = {
            **space.identity(),
            **of,
            "calibration_images": calibration_images,
            "validation_images": validation_images,
            "onnxruntime": onnxruntime.__version__,
        }

    def error(
        self,
        architecture: Architecture,
        precision: str,
        network: Callable[[], nn.Module],
        *,
        of: Mapping[str, Any] | None = None,
    ) -> float:
        """The share of the validation part that a converted network classifies wrongly, from 0 to 1.

        Args:
            architecture: of the network.
            precision: "fp16" or "int8".
            network: gives the float network in evaluation mode; not called where the error is known.
            of: what else its weights follow from.

        Raises:
            ExportError: it cannot be exported or converted, or ONNX Runtime does not run it.
            StoredFileError: a file cannot be written.
        """
        wanted = {**self._of, **(of or {}), **architecture.to_json(), "precision": precision}
        path = self._folder / f"{architecture.slug}-{precision}.json"
        known = _known_error(path, wanted)
        if known is not None:
            return known
        with one_thread():
            model = self.model(architecture, precision, network())
        predicted_N = self._logits(model).argmax(axis=1)
        error = float((predicted_N != self._validation.labels_N.numpy()).mean())
        write_json(path, {"schema_version": SCHEMA_VERSION, "of": wanted, "error": error})
        return error

    def model(self, architecture: Architecture, precision: str, network: nn.Module) -> onnx.ModelProto:
        """The converted model of `network`. Raises ExportError, StoredFileError."""
        if type(self._space).assemble is SearchSpace.assemble:
            operators = self._space.operators(architecture)
            exported = self._graphs.join(
                list(network.children()),
                keys=[operator.key for operator in operators],
                input_shapes=[operator.input_shape for operator in operators],
            )
        else:
            exported = export_onnx(network.cpu(), self._data.input_shape, batch_size=BATCH_SIZE)
        return to_precision(exported, precision, calibration=self._batches(self._calibration.images_NCHW))

    def _batches(self, images_NCHW: torch.Tensor) -> list[FloatArray]:
        """The images in batches of one size; the last is filled up with the first images again."""
        count = -(-len(images_NCHW) // BATCH_SIZE) * BATCH_SIZE
        filled = torch.arange(count) % len(images_NCHW)
        parts = images_NCHW[filled].tensor_split(count // BATCH_SIZE)
        return [self._data.normalized(part).contiguous().numpy() for part in parts]

    def _logits(self, model: onnx.ModelProto) -> FloatArray:
        """The logits (N, K) of the validation part."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            name = session.get_inputs()[0].name
            rows = [session.run(None, {name: x})[0] for x in self._batches(self._validation.images_NCHW)]
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(f"Model {model.graph.name!r}", "must run in ONNX Runtime", came=reason) from error
        logits_NK: FloatArray = np.concatenate(rows)[: len(self._validation)]
        return logits_NK


def _known_error(path: Path, of: Mapping[str, Any]) -> float | None:
    """The error that was found before; None where it is of something else, or the file is broken."""
    if not path.exists():
        return None
    try:
        document = read_json(path, kind="error of a converted network", schema_version=SCHEMA_VERSION)
        return float(document["error"]) if document["of"] == of else None
    except (StoredFileError, KeyError, TypeError, ValueError) as error:
        logger.warning("Found anew: %s", error)
        return None
