"""Data sets by name, and folders of images."""

import gzip
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageOps

from hwnas.errors import DataError, SettingsError, UnknownNameError
from hwnas.training.data import TEST_SHARE, VALIDATION_SHARE, ImageData, Part, assemble, split_part

__all__ = ["DATASETS", "load_data", "load_folder"]

MEMORY_LIMIT_BYTES: Final = 6 * 2**30
HELD_OUT_SHARE: Final = 0.1
IMAGE_ENDINGS: Final = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


def load_data(name: str, *, root: str | Path | None = None, seed: int = 0, image_size: int | None = None) -> ImageData:
    """The data set called `name`, or the folder of images at the path `name`.

    Args:
        name: a key of DATASETS, or a folder in torchvision's ImageFolder layout: a folder a class, either at the top or
            below "train" and, if there, "val" and "test".
        root: where a data set lies, or is downloaded to ("datasets" if None).
        seed: of the split into parts, where the source has none.
        image_size: side that images of a folder are resized to (32 if None).

    Raises:
        UnknownNameError: neither a data set nor a folder.
        DataError: a folder with fewer than two classes, no images or a broken file; a download that failed.
    """
    if name in DATASETS:
        if image_size is not None:
            raise SettingsError(
                "image_size", "must be left out unless data is a folder of images", came=f"data is {name}"
            )
        if name == "digits" and root is not None:
            raise SettingsError(
                "data_root", "must be left out for digits, which come with scikit-learn", came=f"{root} came"
            )
        return DATASETS[name](Path(root) if root is not None else Path("datasets"), root is None, seed)
    folder = Path(name)
    if name and folder.is_dir():
        if root is not None:
            raise SettingsError("data_root", "must be left out where data is a folder", came=f"{root} came")
        return load_folder(folder, seed=seed, image_size=image_size or 32)
    if "/" in name or folder.exists():
        raise DataError(
            f"Data {name}",
            "must be a folder of images",
            came="it is a file" if folder.exists() else "it does not exist",
        )
    raise UnknownNameError(
        "data set", name, DATASETS, do=f"Known: {', '.join(DATASETS)}, or the path of a folder of images"
    )


def load_digits(_root: Path, _download: bool, seed: int) -> ImageData:
    """scikit-learn's 1,797 digits of 8x8 pixels (UCI, Alpaydin & Kaynak 1998), 60 / 20 / 20 % by class.

    The validation part holds each of its images five times: as it is, and moved by one pixel each way. Its 359 images
    alone tell errors apart by steps of 0.3 points only, too coarse to rank good networks by.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images_NCHW = torch.from_numpy((bunch.images[:, None] * 255 / 16).round().astype(np.uint8))
    whole = Part(images_NCHW, torch.from_numpy(bunch.target.astype(np.int64)))
    rest, test = split_part(whole, TEST_SHARE, seed)
    train, validation = split_part(rest, VALIDATION_SHARE / (1 - TEST_SHARE), seed)
    shifted = with_shifts(validation)
    data = assemble("digits", train, shifted, test, [str(digit) for digit in range(10)], flips=False)
    return replace(data, validation_copies=len(shifted) // len(validation))


def with_shifts(part: Part) -> Part:
    """Each image of `part` as it is, and moved by one pixel up, down, left and right (zeros come in)."""
    images = part.images_NCHW
    copies = [images]
    for shift, dim in ((-1, 2), (1, 2), (-1, 3), (1, 3)):
        moved = images.roll(shift, dims=dim)
        moved.select(dim, -1 if shift < 0 else 0).zero_()
        copies.append(moved)
    return Part(torch.cat(copies), part.labels_N.repeat(len(copies)))


def load_fashion_mnist(root: Path, download: bool, seed: int) -> ImageData:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 images of 28x28; a tenth of the former for validation."""
    if download:
        from torchvision.datasets import FashionMNIST

        _download("fashion-mnist", lambda: FashionMNIST(str(root), download=True), root)
    folder = next(
        (place for place in (root, root / "FashionMNIST" / "raw") if _idx_file(place, "train-images-idx3-ubyte")), None
    )
    if folder is None:
        raise DataError(
            f"Folder {root}", "must hold Fashion-MNIST's idx files", came="train-images-idx3-ubyte is not there"
        )
    parts = []
    for prefix in ("train", "t10k"):
        images = _read_idx(folder, f"{prefix}-images-idx3-ubyte", 3)
        labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
        parts.append(Part(torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64))))
    train, validation = split_part(parts[0], HELD_OUT_SHARE, seed)
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    return assemble("fashion-mnist", train, validation, parts[1], names, flips=True)


def load_cifar10(root: Path, download: bool, seed: int) -> ImageData:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 images of 3x32x32; a tenth of the former for validation."""
    from torchvision.datasets import CIFAR10

    def load() -> list[Any]:
        return [CIFAR10(str(root), train=train, download=download) for train in (True, False)]

    sources = _download("cifar10", load, root)
    parts = [
        Part(torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))
        for source in sources
    ]
    train, validation = split_part(parts[0], HELD_OUT_SHARE, seed)
    return assemble("cifar10", train, validation, parts[1], sources[0].classes, flips=True)


DATASETS: Final[dict[str, Callable[[Path, bool, int], ImageData]]] = {
    "digits": load_digits,
    "fashion-mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
}
"""Data sets by name: each takes (root, download, seed)."""


def load_folder(folder: Path, *, seed: int = 0, image_size: int = 32) -> ImageData:
    """A folder of images, a folder a class, with or without "train", "val" and "test" above the classes.

    Images become RGB, are resized so that their shorter side is `image_size`, and cropped at the centre. Parts that the
    folder does not have are split off by class: 20 % each of test and validation.
    """
    parted = (folder / "train").is_dir()
    if not parted and (folder / "test").is_dir() and {path.name for path in folder.iterdir()} <= {"val", "test"}:
        raise DataError(f"Folder {folder}", "must hold train beside val and test", came="it does not")
    classes = _class_folders(folder / "train" if parted else folder)
    main = _read_folder(folder / "train" if parted else folder, classes, image_size)
    places = {"val": ("val", "valid", "validation"), "test": ("test",)}
    given = {
        part: _read_folder(folder / name, classes, image_size)
        for part, names in places.items()
        for name in names
        if parted and (folder / name).is_dir()
    }
    if "test" not in given:
        main, given["test"] = split_part(main, TEST_SHARE, seed)
    if "val" not in given:
        main, given["val"] = split_part(main, VALIDATION_SHARE / (1 - TEST_SHARE), seed)
    return assemble(str(folder), main, given["val"], given["test"], classes, flips=True)


def _class_folders(folder: Path) -> list[str]:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"Folder {folder}", "must hold a folder of images for each class", came="it holds no folder")
    if len(classes) == 1:
        raise DataError(
            f"Folder {folder}", "must hold at least 2 classes, a folder each", came=f"it holds only {classes[0]!r}"
        )
    return classes


def _read_folder(folder: Path, classes: Sequence[str], image_size: int) -> Part:
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (folder / name).rglob("*") if _is_image(path, below=folder))
        if not found:
            raise DataError(f"Folder {folder / name}", "must hold images", came="it holds none")
        files.extend((path, label) for path in found)
    extra = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")} - set(classes)
    if extra:
        raise DataError(
            f"Folder {folder}", f"must hold the classes {', '.join(classes)}", came=f"it also holds {min(extra)!r}"
        )
    size = len(files) * 3 * image_size**2
    if size > MEMORY_LIMIT_BYTES:
        raise DataError(
            f"Folder {folder}",
            f"must fit {MEMORY_LIMIT_BYTES / 2**30:.0f} GiB at image_size={image_size}",
            came=f"its {len(files)} images take {size / 2**30:.1f} GiB",
            do="Choose a smaller image_size",
        )
    images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    for index, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                images[index] = np.asarray(
                    _square(ImageOps.exif_transpose(image).convert("RGB"), image_size)
                ).transpose(2, 0, 1)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"Image {path}", "must be readable", came=f"it is broken: {error}", do="Mend or remove it"
            ) from error
    return Part(torch.from_numpy(images), torch.tensor([label for _, label in files]))


def _is_image(path: Path, *, below: Path) -> bool:
    """Whether `path` ends as an image does and neither it nor a folder between is hidden."""
    hidden = any(part.startswith(".") for part in path.relative_to(below).parts)
    return path.suffix.lower() in IMAGE_ENDINGS and not hidden


def _square(image: Any, side: int) -> Any:
    """`image` resized so that its shorter side is `side`, the longer cropped at the centre."""
    return ImageOps.fit(image, (side, side))


def _download(name: str, load: Callable[[], Any], root: Path) -> Any:
    try:
        return load()
    except Exception as error:  # torchvision lets the errors of urllib, tarfile and its own checks through
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"Data {name}",
            f"must be in {root} or downloadable",
            came=f"torchvision says: {reason}",
            do="Bring the files there yourself and name their folder as data_root",
        ) from error


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_idx(folder: Path, name: str, dimensions: int) -> Any:
    """An array of bytes in the idx format of MNIST, gzipped or not."""
    path = _idx_file(folder, name)
    if path is None:
        raise DataError(f"Folder {folder}", f"must hold {name}, plain or .gz", came="it does not")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, *shape = struct.unpack(f">{1 + dimensions}I", raw[: 4 + 4 * dimensions])
        if magic != 0x800 + dimensions:
            raise ValueError(f"its magic number is {magic:#x}")
        return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, ValueError, struct.error, EOFError) as error:
        raise DataError(f"File {path}", "must be in the idx format", came=str(error)) from error
