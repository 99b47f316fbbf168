"""Exporters: torch modules to model files, in the precision that a device is to run."""

from hwnas.exporters.onnx import chain_models, export_many, export_onnx, save_onnx
from hwnas.exporters.operator_graphs import OperatorGraphs
from hwnas.exporters.precision import PRECISIONS, to_precision

__all__ = [
    "PRECISIONS",
    "OperatorGraphs",
    "chain_models",
    "export_many",
    "export_onnx",
    "save_onnx",
    "to_precision",
]
