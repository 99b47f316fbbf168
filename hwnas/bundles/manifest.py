"""Writing what `checking` reads: the manifest of a bundle, its reference, and the test data beside it.

A manifest protects every file of its bundle by a hash, and itself by a digest and by having one serialisation only.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.bundles import checking
from hwnas.errors import StoredFileError
from hwnas.files import replacing

__all__ = [
    "REFERENCE",
    "VERIFIER",
    "listed_file",
    "load_manifest",
    "write_manifest",
    "write_reference",
    "write_test_data",
]

REFERENCE: Final = checking.REFERENCE
VERIFIER: Final = "verify.py"

Array = npt.NDArray[Any]


def listed_file(path: Path) -> dict[str, Any]:
    """What a manifest must say of any file: {"sha256", "size_bytes"}."""
    return {"sha256": checking.sha256_of(path), "size_bytes": path.stat().st_size}


def write_manifest(bundle: Path, document: Mapping[str, Any]) -> None:
    """Writes the manifest with its digest, and verify.py before it; the list of files gets that one too.

    Args:
        bundle: the folder.
        document: "name", "task", "labels", "input", "architecture", "precision", "files", "test_data", "devices" and
            whatever else is to be told. Of each model in "files": "precision", "image_input", "batch_size" (None:
            dynamic), "opset", "ends" (names and type of input and output) and "found" (None: not looked at yet).

    Raises:
        StoredFileError: it could not be written.
    """
    _write(bundle / VERIFIER, Path(checking.__file__).read_bytes())
    files = {**document["files"], VERIFIER: listed_file(bundle / VERIFIER)}
    whole = {**document, "schema_version": checking.SCHEMA_VERSION, "files": files}
    whole["digest"] = checking.digest_of(whole)
    _write(bundle / checking.MANIFEST, checking.serialized(whole))


def load_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle. Raises StoredFileError where it is missing, torn, altered, or of another version."""
    try:
        return checking.read_manifest(bundle)
    except checking.BundleError as error:
        raise StoredFileError(error.where, error.must, came=error.came) from error


def write_reference(path: Path, *, random_images_NHWC: Array, random_logits_NK: Array, test_logits_NK: Array) -> None:
    """Writes what torch gives: for random images, which are stored too, and for each test image. Raises StoredFileError."""
    arrays = {"random_images": random_images_NHWC, "random_logits": random_logits_NK, "test_logits": test_logits_NK}
    _write(path, _packed(arrays))


def write_test_data(path: Path, images_NHWC: Array, labels_N: Array, class_names: Sequence[str]) -> dict[str, Any]:
    """Writes the test images, unless they are there already; returns what manifests say of them. Raises StoredFileError.

    A file of the same arrays is kept as it is, however it is packed: zlib and numpy differ, and manifests have its hash.
    """
    arrays = {"images": images_NHWC, "labels": labels_N, "class_names": np.array(class_names)}
    if not _holds(path, arrays):
        _write(path, _packed(arrays))
    shape, dtype = [int(size) for size in images_NHWC.shape[1:]], images_NHWC.dtype.name
    return {
        "file": path.name,
        "sha256": checking.sha256_of(path),
        "images": len(images_NHWC),
        "shape": shape,
        "dtype": dtype,
    }


def _holds(path: Path, arrays: Mapping[str, Array]) -> bool:
    """Whether the .npz at `path` can be read and has these arrays alone."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored.keys() == arrays.keys() and all(
                stored[name].dtype == array.dtype and np.array_equal(stored[name], array)
                for name, array in arrays.items()
            )
    except Exception:  # zipfile, numpy and zlib raise errors of many kinds for a broken file
        return False


def _packed(arrays: Mapping[str, Array]) -> bytes:
    """An .npz; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]  # its own keywords differ between versions
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as scratch:
        scratch.write_bytes(content)
