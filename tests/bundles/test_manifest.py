"""What a bundle says of itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.bundles import DATA, VERIFIER, checking, load_manifest, sha256_of, write_test_data
from hwnas.errors import StoredFileError


def test_a_manifest_lists_every_file_with_its_hash(made: Path) -> None:
    files = load_manifest(made)["files"]
    assert {*files, "manifest.json"} == {path.name for path in made.iterdir()}
    assert all(sha256_of(made / name) == entry["sha256"] for name, entry in files.items())
    assert all((made / name).stat().st_size == entry["size_bytes"] for name, entry in files.items())


def test_the_bundle_has_the_very_file_that_checks_it(made: Path) -> None:
    assert (made / VERIFIER).read_bytes() == Path(checking.__file__).read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b'{"schema_version": 1}\n', b"\xff\xfe", b"[" * 100_000])
def test_a_torn_manifest_is_one_sentence(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(StoredFileError, match=r"manifest\.json must be the manifest of a bundle, but it"):
        load_manifest(bundle)


def test_no_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match=r"manifest\.json must be the manifest of a bundle, but it is missing"):
        load_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(bundle: Path) -> None:
    seal(bundle, {**load_manifest(bundle), "schema_version": 9})
    with pytest.raises(StoredFileError, match="must have schema_version 1, but it has 9"):
        load_manifest(bundle)


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda document: document.pop("files"), "it has no 'files'"),
        (lambda document: document.pop("devices"), "it has no 'devices'"),
        (lambda document: document["architecture"].clear(), "its architecture has no 'description'"),
        (lambda document: document.update(input=3), "it has '3' as 'input'"),
        (lambda document: document["files"].pop("reference.npz"), r"its list of files has no 'reference\.npz'"),
        (lambda document: document["files"]["fp32.onnx"].pop("ends"), r"its entry of fp32\.onnx has no 'ends'"),
        (lambda document: document["files"]["int8.onnx"].pop("found"), r"its entry of int8\.onnx has no 'found'"),
        (lambda document: document["devices"].update(board="fast"), "its list of devices has 'fast' as 'board'"),
    ],
)
def test_a_manifest_that_lacks_a_part_is_one_sentence(bundle: Path, alter: Callable[[Any], object], said: str) -> None:
    document = load_manifest(bundle)
    alter(document)
    seal(bundle, document)
    with pytest.raises(StoredFileError, match=rf"manifest\.json must be the manifest of a bundle, but {said}"):
        load_manifest(bundle)


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/../../b", "..\\b", "C:/b", "./b", "a//b", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused(bundle: Path, name: str) -> None:
    document = load_manifest(bundle)
    document["files"][name] = document["files"]["fp32.onnx"]
    seal(bundle, document)
    with pytest.raises(StoredFileError, match="which is not one of the bundle's"):
        load_manifest(bundle)


def seal(bundle: Path, document: dict[str, Any]) -> None:
    """Writes a manifest as it is, with the digest that it should have."""
    document["digest"] = checking.digest_of(document)
    (bundle / "manifest.json").write_bytes(checking.serialized(document))


def test_the_same_content_in_another_writing_is_altered(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(StoredFileError, match="it was altered"):
        load_manifest(bundle)


def test_test_data_are_written_once_and_the_same(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 1])
    first = write_test_data(tmp_path / DATA, images, labels, ["a", "b"])
    before = (tmp_path / DATA).stat().st_mtime_ns
    assert write_test_data(tmp_path / DATA, images, labels, ["a", "b"]) == first
    assert (tmp_path / DATA).stat().st_mtime_ns == before
    assert write_test_data(tmp_path / DATA, images, labels, ["a", "c"])["sha256"] != first["sha256"]
    assert first["shape"] == [3, 3, 1]
    assert (first["images"], first["dtype"]) == (2, "uint8")


def test_test_data_that_are_packed_otherwise_are_kept(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 1])
    path = tmp_path / DATA
    np.savez(path, images=images, labels=labels, class_names=np.array(["a", "b"]))
    before = sha256_of(path)
    assert write_test_data(path, images, labels, ["a", "b"])["sha256"] == sha256_of(path) == before
    assert write_test_data(path, images, labels + 1, ["a", "b"])["sha256"] != before
    path.write_bytes(b"PK rubbish")
    write_test_data(path, images, labels, ["a", "b"])
    with np.load(path) as stored:
        assert stored["labels"].tolist() == [0, 1]
