"""What a bundle says of itself."""

import json
from pathlib import Path

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
    with pytest.raises(StoredFileError, match=r"manifest\.json must be the manifest of a bundle, but the system says"):
        load_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(bundle: Path) -> None:
    document = {**load_manifest(bundle), "schema_version": 9}
    document["digest"] = checking.digest_of(document)
    (bundle / "manifest.json").write_bytes(checking.serialized(document))
    with pytest.raises(StoredFileError, match="must have schema_version 1, but it has 9"):
        load_manifest(bundle)


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
