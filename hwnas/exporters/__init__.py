"""Exporters: torch modules to model files, in the precision that a device is to run."""

from hwnas.exporters.calibration import CALIBRATION_METHODS, choose_calibration
from hwnas.exporters.export_cache import ExportCache
from hwnas.exporters.image_input import with_image_input
from hwnas.exporters.inference import TOLERANCE, batches_for, relative_difference, run_onnx
from hwnas.exporters.metadata import model_metadata
from hwnas.exporters.mixed_precision import Quantized, quantize_within
from hwnas.exporters.onnx import chain_models, export_many, export_onnx, save_onnx
from hwnas.exporters.openvino import save_openvino
from hwnas.exporters.operator_graphs import OperatorGraphs
from hwnas.exporters.precision import PRECISIONS, to_precision
from hwnas.exporters.tensorrt import find_engine_library, save_engine

__all__ = [
    "CALIBRATION_METHODS",
    "PRECISIONS",
    "TOLERANCE",
    "ExportCache",
    "OperatorGraphs",
    "Quantized",
    "batches_for",
    "chain_models",
    "choose_calibration",
    "export_many",
    "export_onnx",
    "find_engine_library",
    "model_metadata",
    "quantize_within",
    "relative_difference",
    "run_onnx",
    "save_engine",
    "save_onnx",
    "save_openvino",
    "to_precision",
    "with_image_input",
]
