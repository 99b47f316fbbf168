"""Checkpoints of a training: written whole or not at all, and read back with what they are of."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from hwnas.errors import RunError, StoredFileError
from hwnas.files import first_difference, replacing
from hwnas.training.data import ImageData
from hwnas.training.settings import TrainingSettings

__all__ = ["check_identity", "read_checkpoint", "training_identity", "write_checkpoint"]

SCHEMA_VERSION: Final = 2


def write_checkpoint(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes `state`, and what it is of, atomically. Raises StoredFileError."""
    buffer = io.BytesIO()
    torch.save({"schema_version": SCHEMA_VERSION, "identity": dict(identity), **state}, buffer)
    with replacing(path) as scratch:
        scratch.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `write_checkpoint` wrote, on the CPU. Raises StoredFileError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StoredFileError(
            str(path), "must be a checkpoint", came="it does not exist", do="Train it: hwnas train RUN"
        ) from error
    except Exception as error:  # torch.load raises errors of many kinds for a broken file
        raise StoredFileError(
            str(path), "must be a checkpoint", came="it is broken", do="Delete it to train anew"
        ) from error
    if not isinstance(state, dict) or state.get("schema_version") != SCHEMA_VERSION or "identity" not in state:
        raise StoredFileError(
            str(path),
            f"must be a checkpoint of schema_version {SCHEMA_VERSION}",
            came="it is not",
            do="Delete it to train anew",
        )
    return state


def training_identity(data: ImageData, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """What trained weights follow from, besides the network."""
    return {"data": data.name, "data_digest": data.digest, "seed": seed, "settings": settings.identity()}


def check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises RunError where a checkpoint is of something else than `wanted`."""
    different = first_difference(found, wanted)
    if different is not None:
        key, old, new = different
        raise RunError(
            f"Checkpoint {path}",
            f"must be of {key.replace('settings.', 'training.', 1)} = {new!r}",
            came=f"it is of {old!r}",
            do="Choose another output folder, or delete the checkpoint to train anew",
        )
