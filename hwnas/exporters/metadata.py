"""What a model file says of itself: enough to use it without the run that it comes from."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from hwnas.errors import SettingsError

__all__ = ["UNSTATED_LICENCE", "model_metadata"]

UNSTATED_LICENCE: Final = "not stated"
PACKAGES: Final = ("hwnas", "torch", "onnx", "onnxruntime")


def model_metadata(
    *,
    labels: Sequence[str],
    input_shape: Sequence[int],
    batch_size: int | None,
    mean: Sequence[float],
    std: Sequence[float],
    architecture: str,
    space: str,
    choices: Sequence[int],
    scale: float = 1 / 255,
    licence: str = UNSTATED_LICENCE,
) -> dict[str, str]:
    """The metadata of an image classifier, for `export_onnx`.

    Numbers are written so that they read back as they were; labels are a line each.

    Args:
        labels: the name of each class.
        input_shape: (C, H, W) of one image.
        batch_size: of the file; None: any.
        mean, std: of each channel, after `scale`.
        architecture: in words.
        space: its space.
        choices: its choices in that space.
        scale: what pixels are multiplied by before anything else: 1 / 255 where they are bytes, 1 where they are floats.
        licence: of the weights, best as an SPDX identifier.

    Raises:
        SettingsError: mean or std are not one number for each channel, or a label has more than one line.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != input_shape[0]:
            must = f"must have one value for each of {input_shape[0]} channels"
            raise SettingsError(name, must, came=f"{len(values)} came")
    broken = next((label for label in labels if "\n" in label), None)
    if broken is not None:
        raise SettingsError("labels", "must be of one line each", came=f"{broken!r} came")
    batch = "N" if batch_size is None else batch_size
    scaled = {1 / 255: "pixel / 255", 1.0: "pixel"}.get(scale, f"pixel * {scale!r}")
    return {
        "task": "image classification",
        "labels": "\n".join(labels),
        "input": f"float32 {batch}x{'x'.join(map(str, input_shape))}, ({scaled} - mean) / std for each channel",
        "input_layout": "NCHW",
        "output": "logits",
        "mean": " ".join(map(repr, map(float, mean))),
        "std": " ".join(map(repr, map(float, std))),
        "architecture": architecture,
        "space": space,
        "choices": " ".join(map(str, choices)),
        "versions": ", ".join([f"python {platform.python_version()}", *_versions()]),
        "licence": licence,
    }


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # run from its sources, or a build of another name
            continue
    return found
