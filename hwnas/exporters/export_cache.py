"""Exports kept for later runs: the operators of a space are the same on each device, in each precision, in each table.

Exporting the hundreds of operators of a space is what a table waits for longest, besides measuring them.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import nn

from hwnas.errors import StoredFileError
from hwnas.exporters.onnx import export_many
from hwnas.files import cache_folder, replacing

__all__ = ["ExportCache"]

logger = logging.getLogger(__name__)

PACKAGES: Final = ("hwnas", "torch")
"""Whose layers are known by their source or version; those of others may change unseen."""

KEPT_DAYS: Final = 30


class ExportCache:
    """Exports of layers whose weights do not matter, such as those whose latency is measured.

    An export is taken from the cache where the layer's key, its printed form, its source, the batch size and the versions
    of torch, onnx and onnxscript are the same; layers that are neither ours nor torch's are exported each time. What was
    not used for 30 days is deleted. A cache that cannot be written is done without.

    Args:
        folder: where they lie; processes may share it. None: the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder("exports")

    def export_many(
        self,
        modules: Sequence[nn.Module],
        input_shapes: Sequence[Sequence[int]],
        *,
        keys: Sequence[str],
        batch_size: int,
    ) -> list[onnx.ModelProto]:
        """As `hwnas.exporters.export_many`, though the weights may be those of an earlier layer.

        Args:
            modules: the layers.
            input_shapes: for each the shape of its input without the batch.
            keys: for each a text that tells it from layers that compute something else.
            batch_size: the static batch size.

        Raises:
            ExportError: torch cannot export one of them.
        """
        paths = [
            self._path(module, f"{batch_size} {shape} {key}")
            for module, shape, key in zip(modules, input_shapes, keys, strict=True)
        ]
        found = [None if path is None else _read(path) for path in paths]
        missing = [index for index, model in enumerate(found) if model is None]
        if missing:
            some, shapes = [modules[index] for index in missing], [input_shapes[index] for index in missing]
            exported = export_many(some, shapes, batch_size=batch_size, names=[keys[index] for index in missing])
            for index, model in zip(missing, exported, strict=True):
                found[index] = model
                _write(paths[index], model)
            self._forget()
        return [model for model in found if model is not None]

    def _path(self, module: nn.Module, key: str) -> Path | None:
        """The file of a layer, None where it may change unseen."""
        kinds = {type(part) for part in module.modules()}
        if any(kind.__module__.split(".")[0] not in PACKAGES for kind in kinds):
            return None
        parts = [key, _versions(), repr(module), *sorted(_source(kind.__module__) for kind in kinds)]
        return self._folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.onnx"

    def _forget(self) -> None:
        before = time.time() - KEPT_DAYS * 24 * 3600
        for path in self._folder.glob("*.onnx"):
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
            except OSError:  # another process was faster, or may not
                continue


def _read(path: Path) -> onnx.ModelProto | None:
    try:
        model = onnx.load(path)
        os.utime(path)
    except Exception:  # absent, or broken: protobuf raises classes of its own
        return None
    return model


def _write(path: Path | None, model: onnx.ModelProto) -> None:
    if path is None:
        return
    try:
        with replacing(path, sync=False) as scratch:
            scratch.write_bytes(model.SerializeToString())
    except (StoredFileError, OSError) as error:
        logger.debug("%s is not kept: %s", path, error)


@cache
def _versions() -> str:
    """Of what an export is made by: the libraries, and the code of our exporters."""
    import onnxscript

    own = "".join(_digest(path) for path in sorted(Path(__file__).parent.glob("*.py")))
    return f"{torch.__version__} {onnx.__version__} {onnxscript.__version__} {own}"


@cache
def _source(module: str) -> str:
    """What the classes of a module are known by; torch's by their version."""
    if not module.startswith("hwnas."):
        return module
    source = sys.modules[module].__file__
    folder = Path(source or __file__).parent
    return module + "".join(_digest(path) for path in sorted(folder.glob("*.py")))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
