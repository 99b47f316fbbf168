"""Image data from Python, its splits, normalisation and augmentation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from hwnas.errors import DataError
from hwnas.training.data import ImageData, Part, assemble, scaled, split_dataset, split_part


def part(count: int = 40, classes: int = 4, side: int = 6, seed: int = 0) -> Part:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return Part(images, torch.arange(count) % classes)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return split_dataset(TensorDataset(part().images_NCHW, part().labels_N), name="toy")


def test_split_keeps_every_image_once_and_every_class_on_either_side() -> None:
    whole = part(50, 5)
    rest, held = split_part(whole, 0.2, seed=3)
    assert len(held) == 10
    assert torch.bincount(held.labels_N).tolist() == [2] * 5
    together = torch.cat([rest.images_NCHW, held.images_NCHW]).flatten(1)
    assert {tuple(row) for row in together.tolist()} == {tuple(row) for row in whole.images_NCHW.flatten(1).tolist()}


def test_train_and_validation_part_together_hold_each_image_once(data: ImageData) -> None:
    both = data.train_and_validation
    assert torch.equal(both.images_NCHW, torch.cat([data.train.images_NCHW, data.validation.images_NCHW]))
    assert torch.equal(both.labels_N, torch.cat([data.train.labels_N, data.validation.labels_N]))
    again = replace(data, validation=Part.join(data.validation, data.validation), validation_copies=2)
    assert torch.equal(again.train_and_validation.images_NCHW, both.images_NCHW)


def test_split_follows_its_seed() -> None:
    first, again, other = (split_part(part(), 0.25, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first.images_NCHW, again.images_NCHW)
    assert not torch.equal(first.images_NCHW, other.images_NCHW)


def test_split_of_a_class_with_one_image_is_refused() -> None:
    lonely = Part(part(5).images_NCHW, torch.tensor([0, 0, 1, 1, 2]))
    with pytest.raises(DataError, match="Class 2 must have at least 3 images"):
        split_part(lonely, 0.2, 0)


def test_normalized_train_part_has_mean_0_and_deviation_1(data: ImageData) -> None:
    x = data.normalized(data.train.images_NCHW)
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-3)


def test_shape_and_classes(data: ImageData) -> None:
    assert data.input_shape == (3, 6, 6)
    assert data.num_classes == 4
    assert len(data.train) + len(data.validation) + len(data.test) == 40


def test_batches_without_a_generator_are_all_images_in_order(data: ImageData) -> None:
    batches = list(data.batches(data.train, 7))
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.train.labels_N)
    assert torch.allclose(torch.cat([x for x, _ in batches]), data.normalized(data.train.images_NCHW))


def test_scaled_bytes_and_floats() -> None:
    assert scaled(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0.0, 1.0]
    assert scaled(torch.tensor([-3.0, 7.0])).tolist() == [-3.0, 7.0]


def test_two_and_three_data_sets_are_the_parts_they_say() -> None:
    sets = [TensorDataset(part(20, seed=s).images_NCHW, part(20).labels_N) for s in range(3)]
    two, three = split_dataset(sets[:2]), split_dataset(sets)
    assert torch.equal(two.test.images_NCHW, sets[1].tensors[0])
    assert len(two.train) + len(two.validation) == 20
    assert torch.equal(three.validation.images_NCHW, sets[1].tensors[0])


class Listed(Dataset[object]):
    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "is empty"),
        ([torch.zeros(3, 4, 4)] * 4, "pair"),
        ([(torch.zeros(3, 4, 4), "cat")] * 4, "class number"),
        ([(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 5, 4), 1)], "item 1 must have the shape"),
        ([(torch.zeros(4), 0)] * 4, "must be an image"),
        ([(torch.zeros(1, 4, 4), 0)] * 8, "at least 2 classes"),
        ([(torch.zeros(1, 4, 4), label) for label in (-1, 0, 1) * 4], "must be from 0 to 1"),
        ([(torch.zeros(1, 4, 4), label) for label in (1, 2) * 8], "Class 0 of python must have train images"),
        ([(torch.zeros(1, 4, 4), label) for label in (0, 3) * 8], "Class 1 of python must have train images"),
        ([(torch.full((1, 4, 4), float("nan")), label) for label in (0, 1) * 8], "finite"),
    ],
)
def test_bad_data_sets_are_refused(items: list[object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split_dataset(Listed(items))


def test_more_than_three_data_sets_are_refused() -> None:
    with pytest.raises(DataError, match="one, two or three"):
        split_dataset([Listed([(torch.zeros(1, 4, 4), 0)])] * 4)


def test_an_iterable_without_length_is_refused() -> None:
    class Stream(Dataset[object]):
        def __getitem__(self, index: int) -> object:
            return index

    with pytest.raises(DataError, match="length"):
        split_dataset(Stream())


def test_arrays_and_grey_images_become_tensors() -> None:
    rng = np.random.default_rng(0)
    grey = split_dataset(Listed([(rng.integers(0, 256, (5, 5), dtype=np.uint8), i % 2) for i in range(20)]))
    colour = split_dataset(Listed([(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), i % 2) for i in range(20)]))
    assert grey.input_shape == (1, 5, 5)
    assert colour.input_shape == (3, 5, 6)
    assert colour.train.images_NCHW.dtype == torch.uint8


def test_parts_of_different_shape_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"test part of toy must have 40 images.* of \(3, 6, 6\).* it has 40 of \(3, 7, 7\)"
    ):
        assemble("toy", part(), part(), part(side=7), list("abcd"), flips=False)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.arange(40) % 5, "Labels of the test part of toy must be from 0 to 3, but they are from 0 to 4"),
        (torch.arange(40) % 4 - 1, "from -1 to 2"),
        ((torch.arange(40) % 4).float(), r"must be int64, but they are torch\.float32"),
        (torch.arange(39) % 4, "must have 39 images, as it has labels"),
        (torch.arange(0), "must have images, but it has none"),
    ],
)
def test_data_that_a_user_made_are_checked_alike(data: ImageData, labels: torch.Tensor, said: str) -> None:
    with pytest.raises(DataError, match=said):
        replace(data, test=Part(part().images_NCHW, labels))


def test_parts_are_joined_in_order() -> None:
    joined = Part.join(part(5), part(7, seed=1))
    assert torch.equal(joined.images_NCHW, torch.cat([part(5).images_NCHW, part(7, seed=1).images_NCHW]))
    assert len(joined) == len(joined.labels_N) == 12
