"""TensorRT engines from .onnx files, for programs that run on NVIDIA GPUs without ONNX.

The engine is the one that the runtime of that name builds to measure, so there is no second builder. TensorRT builds for the
GPU that it finds, and tunes its kernels there; TensorRT-RTX builds for GPUs that are named, on any machine, and tunes
where it runs.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from hwnas.devices.runtimes.tensorrt import TensorRt
from hwnas.errors import DeviceError, ExportError, MissingRuntimeError, UnknownNameError
from hwnas.files import replacing

__all__ = ["RTX_CAPABILITIES", "find_engine_library", "save_engine"]

LIBRARIES: Final = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
RTX_CAPABILITIES: Final = ("SM80", "SM86", "SM89", "SM120")
"""Ampere, Ada Lovelace and Blackwell; Turing has no matrix products in float32 there."""

SYMMETRIC: Final = "Quantise it with symmetric=True: TensorRT takes no other int8"


def find_engine_library() -> str:
    """Which library can build an engine here: "tensorrt", which needs a GPU, or else "tensorrt-rtx".

    Raises:
        MissingRuntimeError: neither can.
    """
    if TensorRt("tensorrt").version is not None:
        return "tensorrt"
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return "tensorrt-rtx"
    raise MissingRuntimeError(
        "A TensorRT engine",
        "must be built by TensorRT or TensorRT-RTX",
        came="neither is installed with what it needs",
        do="Install one: pip install 'hwnas[tensorrt-rtx]', or on a machine with an NVIDIA GPU 'hwnas[tensorrt]'",
    )


def save_engine(
    onnx_path: Path,
    path: Path,
    *,
    library: str | None = None,
    compute_capabilities: Sequence[str] = RTX_CAPABILITIES,
) -> dict[str, Any]:
    """Builds an engine from a model file and writes it.

    Its precision is that of the file: fp32 without TF32, fp16, or int8 with symmetric activations.

    Args:
        onnx_path: a model of a static batch size.
        path: of the engine.
        library: "tensorrt" or "tensorrt-rtx"; None: see `find_engine_library`.
        compute_capabilities: the GPUs that TensorRT-RTX builds for; TensorRT builds for the one that is there.

    Returns:
        What the builder was told, JSON: the library and its version, its settings, the GPUs, and the hash of the timing
        cache that TensorRT has used.

    Raises:
        UnknownNameError: no such library.
        MissingRuntimeError: it is not installed, or TensorRT finds no GPU.
        ExportError: the library refuses the model.
        StoredFileError: the engine could not be written.
    """
    library = library or find_engine_library()
    if library not in LIBRARIES:
        raise UnknownNameError("library of TensorRT engines", library, LIBRARIES)
    runtime = TensorRt(LIBRARIES[library])
    if library == "tensorrt":
        runtime.require()
    elif importlib.util.find_spec(LIBRARIES[library]) is None:
        raise MissingRuntimeError(
            f"Library {library}", "must be installed", came="it is not", do=f"pip install 'hwnas[{library}]'"
        )
    _require_static(onnx_path)
    try:
        engine = runtime.build(
            onnx_path, compute_capabilities=compute_capabilities if library == "tensorrt-rtx" else ()
        )
    except DeviceError as error:
        do = SYMMETRIC if "zero point" in str(error).lower() else None
        raise ExportError(str(onnx_path), f"must become an engine of {library}", came=error.came, do=do) from error
    with replacing(path) as scratch:
        scratch.write_bytes(engine.plan)
    return dict(engine.settings)


def _require_static(onnx_path: Path) -> None:
    """Raises ExportError for a model of any batch size: an engine would be tuned for a range that nobody has named."""
    graph = onnx.load(onnx_path, load_external_data=False).graph
    for value in graph.input:
        named = [size.dim_param for size in value.type.tensor_type.shape.dim if not size.dim_value]
        if named:
            raise ExportError(
                str(onnx_path),
                "must be of a static batch size to become an engine",
                came=f"its input {value.name!r} has the open dimension {named[0] or '?'!r}",
                do="Export it with a batch size",
            )
