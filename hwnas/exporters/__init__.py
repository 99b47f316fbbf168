"""Exporters: torch modules to model files."""

from hwnas.exporters.onnx import chain_models, export_many, export_onnx, save_onnx

__all__ = ["chain_models", "export_many", "export_onnx", "save_onnx"]
