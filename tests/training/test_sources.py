"""Named data sets and folders of images."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwnas.errors import DataError, UnknownNameError
from hwnas.training import Part
from hwnas.training.sources import load_data, with_shifts


def write_images(folder: Path, count: int, *, colour: int, size: tuple[int, int] = (12, 10)) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", size, (colour, index, 0)).save(folder / f"{index}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "cat", 10, colour=200)
    write_images(tmp_path / "dog", 10, colour=50)
    return tmp_path


def write_idx(path: Path, array: np.ndarray, *, zipped: bool) -> None:
    raw = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    target = path.with_name(path.name + ".gz") if zipped else path
    target.write_bytes(gzip.compress(raw) if zipped else raw)


def write_fashion_mnist(folder: Path, *, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)), zipped=zipped)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10, zipped=zipped)


def test_digits_are_real_and_split_in_three() -> None:
    data = load_data("digits")
    assert data.input_shape == (1, 8, 8)
    assert data.num_classes == 10
    assert len(data.train) + len(data.validation) // 5 + len(data.test) == 1797
    assert 0.19 < len(data.test) / 1797 < 0.21
    assert not data.flips
    both = data.train_and_validation
    assert len(both) + len(data.test) == 1797
    assert torch.equal(both.images_NCHW, torch.cat([data.train.images_NCHW, data.validation.images_NCHW[:359]]))


def test_the_validation_part_of_digits_holds_each_image_and_its_four_shifts() -> None:
    part = with_shifts(Part(torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3), torch.tensor([4])))
    assert part.labels_N.tolist() == [4] * 5
    assert part.images_NCHW[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert part.images_NCHW[1, 0].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert part.images_NCHW[2, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert part.images_NCHW[3, 0].tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert part.images_NCHW[4, 0].tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]


def test_digits_parts_follow_the_seed() -> None:
    assert torch.equal(load_data("digits", seed=4).test.labels_N, load_data("digits", seed=4).test.labels_N)
    assert not torch.equal(load_data("digits", seed=4).test.images_NCHW, load_data("digits", seed=5).test.images_NCHW)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_fashion_mnist_from_a_local_root(tmp_path: Path, zipped: bool, below: str) -> None:
    write_fashion_mnist(tmp_path / below, zipped=zipped)
    data = load_data("fashion-mnist", root=tmp_path)
    assert data.input_shape == (1, 28, 28)
    assert (len(data.train) + len(data.validation), len(data.test)) == (60, 20)
    assert data.class_names[9] == "Ankle boot"


def test_fashion_mnist_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="idx files"):
        load_data("fashion-mnist", root=tmp_path)


def test_a_broken_idx_file_is_named(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path, zipped=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x03garbage")
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte must be in the idx format"):
        load_data("fashion-mnist", root=tmp_path)


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10.__init__", refuse)
    with pytest.raises(DataError, match=r"no network.*data_root"):
        load_data("cifar10", root=tmp_path)


def test_a_folder_of_classes(folder: Path) -> None:
    data = load_data(str(folder), image_size=8)
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (3, 8, 8)
    assert len(data.train) + len(data.validation) + len(data.test) == 20
    assert data.train.images_NCHW[data.train.labels_N == 0][:, 0].float().mean() == 200


def test_a_folder_with_parts(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("val", 2), ("test", 3)):
        write_images(tmp_path / name / "a", count, colour=10)
        write_images(tmp_path / name / "b", count, colour=90)
    data = load_data(str(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 4, 6)
    assert data.input_shape == (3, 32, 32)


def test_a_part_with_another_class_is_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_images(tmp_path / name / "a", 4, colour=10)
        write_images(tmp_path / name / "b", 4, colour=10)
    write_images(tmp_path / "test" / "zebra", 2, colour=10)
    with pytest.raises(DataError, match="also holds 'zebra'"):
        load_data(str(tmp_path))


def test_one_class_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "cat", 3, colour=1)
    with pytest.raises(DataError, match=r"at least 2 classes.*only 'cat'"):
        load_data(str(tmp_path))


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder"):
        load_data(str(tmp_path))


def test_a_class_without_images_is_named(folder: Path) -> None:
    (folder / "emu").mkdir()
    (folder / "emu" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"emu must hold images"):
        load_data(str(folder))


def test_a_broken_image_is_named(folder: Path) -> None:
    (folder / "dog" / "3.png").write_bytes((folder / "dog" / "3.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"dog/3\.png must be readable"):
        load_data(str(folder))


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'fashion-mnist'"):
        load_data("fashon-mnist")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it does not exist"):
        load_data(str(tmp_path / "nowhere"))
