"""A bundle of a trained network: its model files, torch's answers, and a manifest that tells how all of it came to be."""

import io
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hwnas.api.converting import BundleOptions, write_models
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import find_table
from hwnas.api.settings import settings_to_toml
from hwnas.bundles import DATA, REFERENCE, listed_file, sha256_of, write_manifest, write_reference, write_test_data
from hwnas.exporters import model_metadata
from hwnas.files import replacing
from hwnas.spaces import Architecture
from hwnas.training import ImageData, Part, predict_logits

__all__ = ["WEIGHTS", "run_devices", "write_bundle", "write_run_test_data"]

WEIGHTS: Final = "weights.pt"
RANDOM_IMAGES: Final = 32
DEFAULT_DEVICE: Final = "local-cpu"

Array = npt.NDArray[Any]


def write_bundle(
    run: RunFolder,
    place: Path,
    network: nn.Module,
    architecture: Architecture,
    options: BundleOptions,
    about: Mapping[str, Any],
) -> None:
    """Writes the bundle of a trained network, whose files nothing was found of yet.

    Args:
        run: that it is of.
        place: the folder, which is made.
        network: in evaluation mode, on the CPU.
        architecture: as the search saw it.
        options: what the bundle is to hold.
        about: what else its manifest is to tell: "name", "values", "training" ("epochs" among it), "commands" that make it.

    Raises:
        ExportError: the network cannot be exported.
        StoredFileError: a file could not be written.
    """
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with replacing(place / WEIGHTS) as scratch:
        scratch.write_bytes(buffer.getbuffer())
    metadata, tuned = _metadata(run, architecture, options), about["training"]["epochs"] > 0
    models = write_models(run, place, network, options, metadata, trained_on_validation=tuned)
    _write_reference(run.data, network, place / REFERENCE)
    others = {name: listed_file(place / name) for name in (WEIGHTS, REFERENCE)}
    document = {
        **about,
        **_described(run, architecture),
        "options": options.to_json(),
        "licence": options.licence,
        "files": {**models, **others},
        "test_data": write_run_test_data(run),
        "tables": _tables(run),
        "supernet": _supernet(run),
        "settings": _settings(run),
        "versions": _versions(),
        "devices": {},
    }
    write_manifest(place, document)


def write_run_test_data(run: RunFolder) -> dict[str, Any]:
    """Writes the test images of the run beside its bundles; returns what manifests say of them. Raises StoredFileError."""
    test = run.data.test
    return write_test_data(run.models / DATA, _images_NHWC(test), test.labels_N.numpy(), run.data.class_names)


def _write_reference(data: ImageData, network: nn.Module, path: Path) -> None:
    """Torch's logits for random images of the kind that the test images are, and for those."""
    channels, height, width = data.input_shape
    shape, rng = (RANDOM_IMAGES, channels, height, width), np.random.default_rng(0)
    if data.test.images_NCHW.dtype == torch.uint8:
        images_NCHW = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    else:
        images_NCHW = torch.from_numpy(rng.random(shape, dtype=np.float32))
    random = Part(images_NCHW, torch.zeros(RANDOM_IMAGES, dtype=torch.int64))
    write_reference(
        path,
        random_images_NHWC=_images_NHWC(random),
        random_logits_NK=predict_logits(network, data, random).numpy(),
        test_logits_NK=predict_logits(network, data, data.test).numpy(),
    )


def _described(run: RunFolder, architecture: Architecture) -> dict[str, Any]:
    """What a program must know to use the files, and a person to make the network again."""
    data, space = run.data, run.network_space
    network, precision = run.split(architecture)
    return {
        "task": "image classification",
        "labels": list(data.class_names),
        "input": {
            "shape": list(data.input_shape),
            "layout": "NCHW",
            "scale": _scale(data),
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "architecture": {
            "space": space.name,
            "options": dict(space.options),
            "choices": list(network.choices),
            "description": space.describe(network),
            "in_search": architecture.to_json(),
        },
        "precision": precision,
        "data": {"name": data.name, "digest": data.digest},
    }


def _scale(data: ImageData) -> float:
    """What the values of an image are multiplied by before they are normalised."""
    return 1 / 255 if data.test.images_NCHW.dtype == torch.uint8 else 1.0


def run_devices(run: RunFolder) -> list[str]:
    """The names of the devices that the run's models are measured on, the first of them first."""
    return run.settings.devices or [DEFAULT_DEVICE]


def _tables(run: RunFolder) -> list[dict[str, Any]]:
    """The latency tables that the search has rested on, each with how well it foretells networks."""
    found = []
    for device in run.settings.devices:
        for precision in run.settings.precisions:
            table = find_table(run, device, precision)
            if table is None or table.path is None:
                continue
            quality = table.quality
            found.append(
                {
                    "device": device,
                    "precision": precision,
                    "file": table.path.name,
                    "sha256": sha256_of(table.path),
                    "mean_error": None if quality is None else quality.calibrated.mean_error,
                    "interval_90": table.calibration.half_width(0.9),
                }
            )
    return found


def _supernet(run: RunFolder) -> dict[str, str] | None:
    if not run.supernet.exists():
        return None
    return {"file": run.supernet.name, "sha256": sha256_of(run.supernet)}


def _settings(run: RunFolder) -> str:
    """The run.toml without the folders of this machine."""
    here = ("tables = ", "data_root = ")
    return "\n".join(line for line in settings_to_toml(run.settings).splitlines() if not line.startswith(here))


def _versions() -> dict[str, str]:
    packages = ("hwnas", "torch", "onnx", "onnxruntime", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _images_NHWC(part: Part) -> Array:
    return np.ascontiguousarray(part.images_NCHW.permute(0, 2, 3, 1).numpy())


def _metadata(run: RunFolder, architecture: Architecture, options: BundleOptions) -> dict[str, str]:
    data, (network, _) = run.data, run.split(architecture)
    return model_metadata(
        labels=data.class_names,
        input_shape=data.input_shape,
        batch_size=options.batch_size,
        mean=data.mean,
        std=data.std,
        architecture=run.network_space.describe(network),
        space=network.space,
        choices=network.choices,
        scale=_scale(data),
        licence=options.licence,
    )
