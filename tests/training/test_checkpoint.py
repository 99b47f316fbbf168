from dataclasses import replace

import pytest
import torch

from hwnas.errors import RunError, StoredFileError
from hwnas.training import TrainingSettings
from hwnas.training.checkpoint import check_identity, read_checkpoint, training_identity, write_checkpoint


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "a.pt", {"space": "s"}, {"weights": torch.arange(3), "steps": 7})
    state = read_checkpoint(tmp_path / "a.pt")
    assert state["identity"] == {"space": "s"}
    assert state["steps"] == 7
    assert torch.equal(state["weights"], torch.arange(3))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(StoredFileError, match="broken"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(StoredFileError, match=r"does not exist. Train it: hwnas train"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [[1], {"schema_version": 1, "identity": {}}, {"schema_version": 2}])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(StoredFileError, match="schema_version 2"):
        read_checkpoint(tmp_path / "a.pt")


def test_what_it_is_of_must_agree(tmp_path):
    check_identity(tmp_path, {"space": "s", "more": 1}, {"space": "s"})
    with pytest.raises(RunError, match="must be of num_classes = 10, but it is of 100"):
        check_identity(tmp_path, {"space": "s", "num_classes": 100}, {"space": "s", "num_classes": 10})


def test_of_settings_that_differ_only_that_one_is_named(tmp_path, data):
    of, other = (training_identity(data, TrainingSettings(learning_rate=rate), seed=3) for rate in (0.1, 0.2))
    with pytest.raises(RunError, match=r"must be of training\.learning_rate = 0\.2, but it is of 0\.1\. Choose"):
        check_identity(tmp_path, of, other)


def test_weights_follow_from_data_seed_and_settings(data):
    found = training_identity(data, TrainingSettings(), seed=3)
    assert found == training_identity(data, TrainingSettings(compile=True), seed=3)
    for other in (
        training_identity(replace(data, validation=data.test), TrainingSettings(), seed=3),
        training_identity(data, TrainingSettings(), seed=4),
        training_identity(data, TrainingSettings(epochs=61), seed=3),
    ):
        assert other != found
