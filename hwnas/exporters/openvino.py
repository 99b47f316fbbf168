"""OpenVINO's own format from .onnx files, for programs that run OpenVINO without its ONNX reader."""

import tempfile
from pathlib import Path
from typing import Any

from hwnas.devices.runtimes.openvino import OpenVino, read_model, refusal_reason
from hwnas.errors import ExportError
from hwnas.files import replacing

__all__ = ["save_openvino"]


def save_openvino(onnx_path: Path, path: Path) -> dict[str, Any]:
    """Converts a model file and writes it as `path` (.xml), with its weights beside it (.bin).

    Weights keep the precision of the file: OpenVINO would by itself store float32 as float16.

    Args:
        onnx_path: the model, of any precision.
        path: of the .xml file.

    Returns:
        What it was converted with, JSON: the library, its version, and its settings.

    Raises:
        MissingRuntimeError: OpenVINO is not installed.
        ExportError: OpenVINO refuses the model, or the path does not end in .xml.
        StoredFileError: the files could not be written.
    """
    if path.suffix != ".xml":
        raise ExportError(str(path), "must end in .xml, as OpenVINO's models do", came=f"it ends in {path.suffix!r}")
    runtime = OpenVino("CPU")
    runtime.require()
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        try:
            openvino.save_model(read_model(onnx_path), written, compress_to_fp16=False)
        except Exception as error:  # its front ends raise classes of their own that share no public root
            raise ExportError(
                str(onnx_path), "must become a model of OpenVINO", came=f"it says: {refusal_reason(error)}"
            ) from error
        for suffix in (".bin", ".xml"):  # the weights first: a model without them is broken
            with replacing(path.with_suffix(suffix)) as scratch:
                scratch.write_bytes(written.with_suffix(suffix).read_bytes())
    return {"library": "openvino", "version": runtime.version, "compress_to_fp16": False}
