"""Image data of a task in three parts: train, validation (what a search sees) and test (the winners).

Images are held in memory as bytes and normalised a batch at a time. Suffixes: N images, B batch, C channels, H height,
W width.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hwnas.errors import DataError

__all__ = ["ImageData", "Part", "assemble", "split_dataset", "split_part"]

TEST_SHARE: Final = 0.2
VALIDATION_SHARE: Final = 0.2
GPU_SHARE: Final = 0.25
"""Of a GPU's free memory, at most, for images."""


@dataclass(frozen=True)
class Part:
    """Images with their labels.

    Attributes:
        images_NCHW: uint8, or float as they came.
        labels_N: int64 class numbers.
    """

    images_NCHW: Tensor
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def select(self, indices: Any) -> "Part":
        """The images at `indices`."""
        indices = torch.as_tensor(np.asarray(indices))
        return Part(self.images_NCHW[indices], self.labels_N[indices])

    @staticmethod
    def join(*parts: "Part") -> "Part":
        """The images of all `parts`."""
        return Part(torch.cat([one.images_NCHW for one in parts]), torch.cat([one.labels_N for one in parts]))

    def to(self, device: torch.device) -> "Part":
        """The same images on `device`, so that batches need not travel; on the CPU still where they would fill it."""
        if device.type == "cuda" and self.images_NCHW.nbytes > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            return self
        return Part(self.images_NCHW.to(device), self.labels_N.to(device))


@dataclass(frozen=True)
class ImageData:
    """A classification task.

    Attributes:
        name: the name or path that it was loaded by.
        train, validation, test: its three parts.
        class_names: the name of each class.
        mean, std: of each channel of the train part, on the scale of `scaled`.
        flips: whether a mirrored image is still of its class.
        validation_copies: how often the validation part holds its images: first each as it is, then each moved.

    Raises:
        DataError: fewer than two classes; a part without images, with images of another shape than the train part's, or
            with labels that are not class numbers.
    """

    name: str
    train: Part
    validation: Part
    test: Part
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flips: bool
    validation_copies: int = 1

    def __post_init__(self) -> None:
        for part_name in ("train", "validation", "test"):
            self._check_part(part_name, getattr(self, part_name))
        if self.num_classes < 2:
            raise DataError(f"Data {self.name}", "must have at least 2 classes", came=f"it has {self.num_classes}")

    def _check_part(self, part_name: str, part: Part) -> None:
        where = f"part of {self.name}"
        if len(part) == 0:
            raise DataError(f"The {part_name} {where}", "must have images", came="it has none")
        shape, wanted = tuple(part.images_NCHW.shape), (len(part), *self.train.images_NCHW.shape[1:])
        if shape != wanted:
            raise DataError(
                f"The {part_name} {where}",
                f"must have {len(part)} images, as it has labels, of {wanted[1:]} as the train part",
                came=f"it has {shape[0]} of {shape[1:]}",
            )
        if part.labels_N.dtype != torch.int64:
            raise DataError(
                f"Labels of the {part_name} {where}", "must be int64", came=f"they are {part.labels_N.dtype}"
            )
        low, high = (int(label) for label in part.labels_N.aminmax())
        if low < 0 or high >= self.num_classes:
            raise DataError(
                f"Labels of the {part_name} {where}",
                f"must be from 0 to {self.num_classes - 1}",
                came=f"they are from {low} to {high}",
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train.images_NCHW.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """A few hexadecimal digits that change when any image or label does."""
        found = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for tensor in (part.images_NCHW, part.labels_N):
                found.update(tensor.contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    @property
    def train_and_validation(self) -> Part:
        """The images of both parts, each once."""
        distinct = len(self.validation) // self.validation_copies
        return Part.join(self.train, self.validation.select(range(distinct)))

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def normalized(self, images_BCHW: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """What a network is given: floats with mean 0 and standard deviation 1 a channel over the train part."""
        x_BCHW = scaled(images_BCHW.to(device, memory_format=torch.channels_last))
        mean = torch.tensor(self.mean, device=device)[:, None, None]
        std = torch.tensor(self.std, device=device)[:, None, None]
        return (x_BCHW - mean) / std

    def batches(
        self, part: Part, batch_size: int, *, device: torch.device | str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images (B, C, H, W) and labels (B,), in order, as they are, all of them.

        Args:
            part: of this data.
            batch_size: images in a batch.
            device: where the batches are wanted.
        """
        for start in range(0, len(part), batch_size):
            chosen = slice(start, start + batch_size)
            yield self.normalized(part.images_NCHW[chosen], device), part.labels_N[chosen].to(device)


def scaled(images_BCHW: Tensor) -> Tensor:
    """Bytes to floats from 0 to 1; floats stay as they are."""
    return images_BCHW.float() / 255 if images_BCHW.dtype == torch.uint8 else images_BCHW.float()


def split_dataset(
    dataset: Dataset[Any] | Sequence[Dataset[Any]], *, name: str = "python", seed: int = 0, flips: bool = False
) -> ImageData:
    """Any map-style torch data set of (image, label), or two (train, test) or three (train, validation, test) of them.

    Images are (C, H, W) tensors of one shape, uint8 or float, or PIL images of one size; labels are class numbers.

    Raises:
        DataError: empty, of mixed shapes, or labels that are not class numbers.
    """
    sets = list(dataset) if isinstance(dataset, list | tuple) else [dataset]
    if not 1 <= len(sets) <= 3:
        raise DataError("data", "must be one, two or three data sets", came=f"{len(sets)} came")
    parts = [_read_dataset(one, f"{name}, data set {number}") for number, one in enumerate(sets, start=1)]
    if len(parts) == 1:
        parts = [*split_part(parts[0], TEST_SHARE, seed)]
    if len(parts) == 2:
        parts = [*split_part(parts[0], VALIDATION_SHARE / (1 - TEST_SHARE), seed), parts[1]]
    count = int(max(int(part.labels_N.max()) for part in parts)) + 1
    return assemble(name, parts[0], parts[1], parts[2], [str(label) for label in range(count)], flips=flips)


def split_part(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """(what is left, `share` of each class), at random; each class keeps at least one image on either side."""
    rng = np.random.default_rng(seed)
    labels = part.labels_N.numpy()
    held: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise DataError(
                f"Class {label}",
                "must have at least 3 images to be split into parts",
                came=f"{len(members)} are left to split",
            )
        held.extend(members[: min(len(members) - 1, max(1, round(share * len(members))))].tolist())
    mask = np.zeros(len(labels), dtype=bool)
    mask[held] = True
    return part.select(np.flatnonzero(~mask)), part.select(np.flatnonzero(mask))


def assemble(
    name: str, train: Part, validation: Part, test: Part, class_names: Sequence[str], *, flips: bool
) -> ImageData:
    """Measures mean and deviation of the train part.

    Raises:
        DataError: as ImageData; a class without train images; images that are not finite.
    """
    sums = torch.zeros(2, train.images_NCHW.shape[1], dtype=torch.float64)
    for start in range(0, len(train), 4096):
        x_BCHW = scaled(train.images_NCHW[start : start + 4096]).double()
        sums += torch.stack([x_BCHW.mean((2, 3)).sum(0), x_BCHW.square().mean((2, 3)).sum(0)])
    mean, square = sums / len(train)
    if not torch.isfinite(sums).all():
        raise DataError(f"Images of {name}", "must be finite numbers", came="some are infinite or NaN")
    std = (square - mean**2).clamp_min(0).sqrt().clamp_min(1e-3)
    data = ImageData(
        name, train, validation, test, tuple(class_names), tuple(mean.tolist()), tuple(std.tolist()), flips
    )
    present = torch.bincount(train.labels_N, minlength=len(class_names)) > 0
    if not present.all():
        raise DataError(
            f"Class {class_names[int(present.int().argmin())]} of {name}",
            "must have train images",
            came="it has none",
            do="Number the classes from 0 without gaps",
        )
    return data


def _read_dataset(dataset: Any, where: str) -> Part:
    try:
        count = len(dataset)
    except TypeError as error:
        raise DataError(where, "must have a length and be indexed by number", came="it has no length") from error
    if count == 0:
        raise DataError(where, "must have images", came="it is empty")
    images, labels = [], []
    for index in range(count):
        try:
            image, label = dataset[index]
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}, item {index}", "must be a pair (image, label)", came=str(error)) from error
        images.append(_as_tensor(image, f"{where}, item {index}"))
        if images[0].shape != images[-1].shape:
            raise DataError(
                f"{where}, item {index}",
                f"must have the shape {tuple(images[0].shape)} of the first",
                came=f"its shape is {tuple(images[-1].shape)}",
            )
        try:
            labels.append(int(label))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where}, item {index}", "must have a class number as label", came=f"it is {label!r}"
            ) from error
    return Part(torch.stack(images), torch.tensor(labels))


def _as_tensor(image: Any, where: str) -> Tensor:
    if not isinstance(image, Tensor):
        array = np.asarray(image)
        if array.ndim == 3 and array.shape[-1] in {1, 3, 4} and array.dtype == np.uint8:
            array = array.transpose(2, 0, 1)
        image = torch.from_numpy(np.ascontiguousarray(array[None] if array.ndim == 2 else array))
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        raise DataError(where, "must be an image (C, H, W)", came=f"its shape is {tuple(image.shape)}")
    tensor: Tensor = image if image.dtype == torch.uint8 else image.float()
    return tensor
