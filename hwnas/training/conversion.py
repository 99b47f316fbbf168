"""Scoring networks as they will run: converted to fp16 or int8, and run by ONNX Runtime.

What a network loses by being quantised depends on its activations and weights (few channels and wide ranges lose most), so
the error of the float network does not tell it. Nothing is simulated here: the model is the one that would be exported,
quantised on training images, and ONNX Runtime runs it with the kernels that it has for this processor.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnx
import onnxruntime
from torch import nn

from hwnas.errors import StoredFileError
from hwnas.exporters import OperatorGraphs, batches_for, choose_calibration, export_onnx, run_onnx, to_precision
from hwnas.files import read_json, write_json
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.data import ImageData
from hwnas.training.evaluate import draw_parts
from hwnas.training.threads import one_thread

__all__ = ["ConvertedEvaluator"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
BATCH_SIZE: Final = 64


class ConvertedEvaluator:
    """Finds the errors of converted networks on the validation part, and keeps each in a file of its own.

    What it finds follows from the network alone: all runs on one thread, in batches of one size, and ranges of activations
    are the extremes over a fixed set of training images, of all classes alike: see `choose_calibration`.

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
        self._calibration_images = calibration_images
        self._seed = seed
        _, self._validation = draw_parts(data, calibration_images, validation_images, seed=seed)
        self._of = {
            **space.identity(),
            **of,
            "calibration": "extremes, of all classes alike",
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
            SettingsError: all training images are of one class, which int8 cannot be calibrated on.
            StoredFileError: a file cannot be written.
        """
        wanted = {**self._of, **(of or {}), **architecture.to_json(), "precision": precision}
        path = self._folder / f"{architecture.slug}-{precision}.json"
        known = _known_error(path, wanted)
        if known is not None:
            return known
        with one_thread():
            model = self.model(architecture, precision, network())
        logits_NK = run_onnx(model, self._validation.images_NCHW, prepare=self._data.normalized)
        error = float((logits_NK.argmax(axis=1) != self._validation.labels_N.numpy()).mean())
        write_json(path, {"schema_version": SCHEMA_VERSION, "of": wanted, "error": error})
        return error

    def model(self, architecture: Architecture, precision: str, network: nn.Module) -> onnx.ModelProto:
        """The converted model of `network`. Raises ExportError, SettingsError, StoredFileError."""
        if type(self._space).assemble is SearchSpace.assemble:
            operators = self._space.operators(architecture)
            exported = self._graphs.join(
                list(network.children()),
                keys=[operator.key for operator in operators],
                input_shapes=[operator.input_shape for operator in operators],
            )
        else:
            exported = export_onnx(network.cpu(), self._data.input_shape, batch_size=BATCH_SIZE)
        calibration = self._calibration(exported) if precision == "int8" else None
        return to_precision(exported, precision, calibration=calibration)

    def _calibration(self, model: onnx.ModelProto) -> Iterator[npt.NDArray[Any]]:
        """The images that `model` is calibrated on, as it takes them."""
        train = self._data.train
        chosen = choose_calibration(train.labels_N.numpy(), count=self._calibration_images, seed=self._seed)
        return batches_for(model, train.images_NCHW[chosen], prepare=self._data.normalized)


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
