"""A small bundle: one affine layer in two files, made by numpy and onnx alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwnas.bundles import DATA, REFERENCE, listed_file, write_manifest, write_reference, write_test_data

SHAPE = (1, 4, 4)
MEAN, STD = 0.4, 0.3
LABELS = ["ant", "bee", "cat"]
IMAGES = 40


def weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((16, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)


def logits_of(images_NHWC: np.ndarray) -> np.ndarray:
    matrix, bias = weights()
    x_NHWC = (images_NHWC.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return x_NHWC.transpose(0, 3, 1, 2).reshape(len(x_NHWC), -1) @ matrix + bias


def affine(*, batch: int | None, opset: int = 18, shift: float | np.ndarray = 0.0) -> onnx.ModelProto:
    matrix, bias = weights()
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch or "batch", *SHAPE]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch or "batch", 3]),
    ]
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    stored = [
        numpy_helper.from_array(matrix, "weight"),
        numpy_helper.from_array((bias + shift).astype(np.float32), "bias"),
    ]
    graph = helper.make_graph(nodes, "affine", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def entry_of(path: Path, precision: str, batch: int | None) -> dict[str, Any]:
    ends = ["input", "tensor(float)", "logits"]
    listed = {"precision": precision, "image_input": False, "batch_size": batch, "opset": 18, "ends": ends}
    return {**listed_file(path), **listed, "found": None}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, beside its test data. Not to be changed: copy the folder that it is in."""
    place = tmp_path_factory.mktemp("models") / "winner-1"
    place.mkdir()
    onnx.save(affine(batch=None), place / "fp32.onnx")
    onnx.save(affine(batch=3, shift=1e-3), place / "int8.onnx")
    rng = np.random.default_rng(6)
    images, random = (rng.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8) for count in (IMAGES, 8))
    write_reference(
        place / REFERENCE,
        random_images_NHWC=random,
        random_logits_NK=logits_of(random),
        test_logits_NK=logits_of(images),
    )
    labels = logits_of(images).argmax(1)
    labels[:4] = (labels[:4] + 1) % 3
    files = {
        "fp32.onnx": entry_of(place / "fp32.onnx", "fp32", None),
        "int8.onnx": entry_of(place / "int8.onnx", "int8", 3),
        REFERENCE: listed_file(place / REFERENCE),
    }
    document = {
        "name": "winner-1",
        "task": "image classification",
        "labels": LABELS,
        "input": {"shape": list(SHAPE), "layout": "NCHW", "scale": 1 / 255, "mean": [MEAN], "std": [STD]},
        "architecture": {"description": "one layer"},
        "precision": "fp32",
        "files": files,
        "test_data": write_test_data(place.parent / DATA, images, labels, LABELS),
        "devices": {},
    }
    write_manifest(place, document)
    return place


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to be changed."""
    shutil.copytree(made.parent, tmp_path / "models")
    return tmp_path / "models" / made.name


@pytest.fixture
def replace(bundle: Path) -> Callable[..., None]:
    """Puts another affine layer in place of a file of `bundle`."""

    def save(name: str, *, shift: float | np.ndarray = 0.0, opset: int = 18) -> None:
        onnx.save(affine(batch=None, opset=opset, shift=shift), bundle / name)

    return save


@pytest.fixture
def rewrite(bundle: Path) -> Callable[..., None]:
    """Changes the manifest of `bundle` as one who makes bundles would: hashes of files and its digest follow."""

    def change(alter: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        document = json.loads((bundle / "manifest.json").read_text())
        for name, entry in document["files"].items():
            entry.update(listed_file(bundle / name))
        alter(document)
        write_manifest(bundle, document)

    return change
