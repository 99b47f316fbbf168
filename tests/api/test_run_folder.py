"""Run folders."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.settings import make_settings
from hwnas.errors import ArchitectureError, RunError, StoredFileError
from hwnas.training import split_dataset


def folder_of(path: Path, **given: object) -> RunFolder:
    return RunFolder(path, make_settings(given, where="test"))


def test_begin_writes_a_run_toml_that_opens_as_the_same_run(tmp_path: Path) -> None:
    run = folder_of(tmp_path / "a", evaluations=7, bounds={"macs": 5e6})
    run.begin()
    assert open_run(tmp_path / "a").settings == run.settings
    assert open_run(tmp_path / "a" / "run.toml").settings == run.settings


def test_more_evaluations_may_be_asked_for_later(tmp_path: Path) -> None:
    folder_of(tmp_path, evaluations=7).begin()
    folder_of(tmp_path, evaluations=9).begin()
    assert open_run(tmp_path).settings.evaluations == 9


def test_where_evaluations_run_is_no_part_of_what_they_are(tmp_path: Path) -> None:
    folder_of(tmp_path).begin()
    evaluated(tmp_path)
    folder_of(tmp_path, workers=3).begin()
    assert open_run(tmp_path).settings.workers == 3


def evaluated(path: Path) -> None:
    (path / "evaluations.jsonl").write_text('{"schema_version": 1}\n{"values": {}}\n')


def test_what_results_follow_from_may_not_change(tmp_path: Path) -> None:
    folder_of(tmp_path, data="digits").begin()
    evaluated(tmp_path)
    with pytest.raises(RunError, match="must be of data = 'cifar10', but its results are of 'digits'"):
        folder_of(tmp_path, data="cifar10").begin()
    with pytest.raises(RunError, match=r"must be of bounds\.macs = 5, but its results are of None"):
        folder_of(tmp_path, data="digits", bounds={"macs": 5}).begin()
    assert open_run(tmp_path).settings.data == "digits"


def test_with_a_supernet_alone_only_what_it_follows_from_is_fixed(tmp_path: Path) -> None:
    folder_of(tmp_path).begin()
    (tmp_path / "supernet.pt").touch()
    folder_of(tmp_path, bounds={"macs": 5}).begin()
    assert open_run(tmp_path).settings.bounds == {"macs": 5}
    with pytest.raises(RunError, match="must be of seed"):
        folder_of(tmp_path, seed=3).begin()


def test_of_the_training_only_what_weights_follow_from_is_fixed(tmp_path: Path) -> None:
    folder_of(tmp_path, training={"learning_rate": 0.1}).begin()
    (tmp_path / "supernet.pt").touch()
    folder_of(tmp_path, training={"learning_rate": 0.1, "compile": True, "tensorboard": True}).begin()
    assert open_run(tmp_path).settings.training.compile
    with pytest.raises(RunError, match=r"must be of training\.learning_rate = 0\.2, but its results are of 0\.1\."):
        folder_of(tmp_path, training={"learning_rate": 0.2}).begin()


def test_without_results_everything_may_change(tmp_path: Path) -> None:
    folder_of(tmp_path, bounds={"macs": 1}).begin()
    (tmp_path / "evaluations.jsonl").write_text('{"schema_version": 1}\n')
    folder_of(tmp_path, data="cifar10").begin()
    assert open_run(tmp_path).settings.data == "cifar10"
    assert not (tmp_path / "evaluations.jsonl").exists()


def test_results_without_a_run_toml_are_not_taken_over(tmp_path: Path) -> None:
    evaluated(tmp_path)
    with pytest.raises(RunError, match=r"results but no run\.toml"):
        folder_of(tmp_path).begin()


def test_an_output_key_is_understood(tmp_path: Path) -> None:
    folder_of(tmp_path).begin()
    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text('output = "elsewhere"\n' + text)
    assert open_run(tmp_path).path == tmp_path
    folder_of(tmp_path, evaluations=3).begin()


def test_data_from_python_are_split_by_the_seed_of_the_run(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    dataset = TensorDataset(torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % 2)
    folder_of(tmp_path, seed=5, data="python:TensorDataset").begin()
    opened = open_run(tmp_path, data=dataset).data
    assert torch.equal(opened.test.images_NCHW, split_dataset(dataset, seed=5).test.images_NCHW)
    assert not torch.equal(opened.test.images_NCHW, split_dataset(dataset, seed=0).test.images_NCHW)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it does not exist"):
        open_run(tmp_path / "none")


def test_a_front_of_another_schema_or_space_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "front.json"
    text = path.read_text()
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(StoredFileError, match="schema_version 1, but it has 99"):
        open_run(tmp_path / "run").load_front()
    path.write_text(text.replace('"space": "mobilenetv3"', '"space": "fbnet"'))
    with pytest.raises(ArchitectureError, match="its space is 'fbnet'"):
        open_run(tmp_path / "run").load_front()


@pytest.mark.parametrize("precisions", [["int8"], ["fp32", "int8"]])
def test_an_architecture_is_split_into_a_network_and_its_precision(precisions: list[str], tmp_path: Path) -> None:
    run = folder_of(tmp_path, space_options={"width_mult": 0.1}, precisions=precisions)
    assert run.network_space.name == "mobilenetv3"
    largest = run.network_space.largest()
    assert run.split(largest) == (largest, precisions[0])
    if len(precisions) == 1:
        assert run.space is run.network_space
    else:
        assert run.space.variables[-1].name == "precision"
        assert run.split(run.space.smallest()) == (run.network_space.smallest(), "int8")
        assert run.split(run.space.largest()) == (largest, "fp32")
