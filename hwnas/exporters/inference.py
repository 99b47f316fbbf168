"""Running a model in memory on images: what the choice of a precision is judged by, and candidates and baselines are.

Verification runs the files instead, on the devices that they are for.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from hwnas.errors import ExportError, SettingsError
from hwnas.exporters.quiet import root_reason

__all__ = ["TOLERANCE", "batches_for", "open_session", "relative_difference", "run_onnx"]

Array = npt.NDArray[Any]

MOST_TOGETHER: Final = 64
"""Images of a batch where the model takes any number: more are not faster, and their activations take memory."""
TOLERANCE: Final = 1e-4
"""How far a float32 model's output may be from torch's, see `relative_difference`."""


def relative_difference(found: Array, expected: Array) -> float:
    """The largest difference between outputs, as a share of the largest absolute value that was expected.

    Where that is below 1, the difference itself: `hwnas verify` judges bundles by the same rule.
    """
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1.0))


def batches_for(
    model: onnx.ModelProto, images_NCHW: Any, *, prepare: Callable[[Any], Any] = np.asarray
) -> Iterator[Array]:
    """The images in batches of the size that the model takes, float32; the last is filled up with the first images.

    Args:
        model: with one input.
        images_NCHW: an array or a tensor.
        prepare: makes of some images what the model takes, as many of the same shape; batch by batch, since floats take
            four times the memory of bytes.

    Raises:
        SettingsError: no images, or images of another shape than the model's input.
    """
    batch, *shape = (size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    came = np.shape(images_NCHW)
    if not came or came[0] == 0:
        raise SettingsError("images", "must be at least one", came="none came")
    if list(came[1:]) != shape:
        wanted, given = ("x".join(map(str, one)) for one in (shape, came[1:]))
        raise SettingsError("images", f"must be of {wanted}", came=f"images of {given} came")
    for start in range(0, came[0], batch or MOST_TOGETHER):
        some = np.arange(start, start + batch) % came[0] if batch else slice(start, start + MOST_TOGETHER)
        yield np.ascontiguousarray(prepare(images_NCHW[some]), dtype=np.float32)


def run_onnx(model: onnx.ModelProto, images_NCHW: Any, *, prepare: Callable[[Any], Any] = np.asarray) -> Array:
    """The logits (N, K) of the model for images as `batches_for` takes them, by ONNX Runtime on one thread of this CPU.

    Raises:
        SettingsError: as `batches_for`.
        ExportError: ONNX Runtime does not run the model.
    """
    name = model.graph.input[0].name
    batches = batches_for(model, images_NCHW, prepare=prepare)
    try:
        session = open_session(model)
        rows = [session.run(None, {name: x_BCHW})[0] for x_BCHW in batches]
    except SettingsError:
        raise
    except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
        where = f"Model {model.graph.name!r}"
        raise ExportError(where, "must run in ONNX Runtime", came=root_reason(error)) from error
    return np.concatenate(rows)[: len(images_NCHW)]


def open_session(model: onnx.ModelProto, *, as_is: bool = False) -> Any:
    """An onnxruntime.InferenceSession on one thread: the same numbers each time.

    Args:
        model: the model.
        as_is: runs node by node what is in the graph; else ONNX Runtime fuses nodes, as it does where it is deployed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if as_is:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
