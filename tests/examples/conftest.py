"""A bundle of an untrained network with its preprocessing inside, images, and what torch makes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwnas.bundles import write_manifest
from hwnas.exporters import export_onnx, model_metadata, save_onnx, with_image_input
from hwnas.spaces import make_space

LABELS = ["ant", "bee", "cat", "dog"]


@dataclass(frozen=True)
class Example:
    """What a program is run on, and what it must say: the three likeliest labels of each image with their probabilities."""

    bundle: Path
    images: tuple[Path, ...]
    pictures: tuple[Path, ...]
    expected: tuple[list[tuple[str, float]], ...]


@pytest.fixture(scope="session", params=[1, 3], ids=["grey", "colour"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """One of grey images and one of colour ones, of the network's own size."""
    channels, folder = request.param, tmp_path_factory.mktemp("example")
    bundle = folder / "winner-1"
    bundle.mkdir()
    mean, std = [0.4, 0.5, 0.6][:channels], [0.3, 0.2, 0.1][:channels]
    torch.manual_seed(0)
    space = make_space("convnet", input_shape=(channels, 16, 16), num_classes=4)
    network = space.build(space.smallest()).eval()
    metadata = model_metadata(
        labels=LABELS,
        input_shape=space.input_shape,
        batch_size=1,
        mean=mean,
        std=std,
        architecture="one",
        space=space.name,
        choices=[0],
    )
    model = export_onnx(network, space.input_shape, metadata=metadata)
    save_onnx(with_image_input(model, mean=mean, std=std), bundle / "fp32-image.onnx")
    write_manifest(bundle, {"name": "winner-1", "labels": LABELS, "input": {"shape": [channels, 16, 16]}, "files": {}})
    images = np.random.default_rng(3).integers(0, 256, (3, 16, 16, channels), dtype=np.uint8)
    found = [_save(image, folder, number) for number, image in enumerate(images)]
    x = (images / 255 - mean) / std
    with torch.no_grad():
        logits = network(torch.from_numpy(x.transpose(0, 3, 1, 2)).float())
    expected = [_likeliest(row) for row in torch.softmax(logits, 1).numpy()]
    return Example(bundle, tuple(pnm for pnm, _ in found), tuple(png for _, png in found), tuple(expected))


def _save(image_HWC: np.ndarray, folder: Path, number: int) -> tuple[Path, Path]:
    picture = Image.fromarray(image_HWC.squeeze(2) if image_HWC.shape[2] == 1 else image_HWC)
    paths = folder / f"{number}.{'pgm' if image_HWC.shape[2] == 1 else 'ppm'}", folder / f"{number}.png"
    for path in paths:
        picture.save(path)
    return paths


def _likeliest(probabilities: np.ndarray) -> list[tuple[str, float]]:
    return [(LABELS[place], float(probabilities[place])) for place in probabilities.argsort()[::-1][:3]]
