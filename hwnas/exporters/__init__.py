"""Exporters: torch modules to model files, in the precision that a device is to run."""

from hwnas.exporters.image_input import with_image_input
from hwnas.exporters.metadata import model_metadata
from hwnas.exporters.onnx import chain_models, export_many, export_onnx, save_onnx
from hwnas.exporters.precision import PRECISIONS, to_precision

__all__ = [
    "PRECISIONS",
    "chain_models",
    "export_many",
    "export_onnx",
    "model_metadata",
    "save_onnx",
    "to_precision",
    "with_image_input",
]
