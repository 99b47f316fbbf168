"""Several processes, with gloo on this machine."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from hwnas.errors import SettingsError, TrainingError
from hwnas.training import TrainingSettings, own_device, supernet_training
from hwnas.training.distributed import Processes, is_first_process, joined, launched, launched_processes

SETTINGS = TrainingSettings(epochs=1, batch_size=20, learning_rate=0.05, warmup_epochs=0.0)


def test_alone_nothing_is_joined(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert not launched()
    assert is_first_process()
    assert launched_processes() == Processes(0, 1)
    with joined(torch.device("cpu")) as processes:
        assert processes == Processes(0, 1)
        assert processes.all_reduce(torch.ones(2)).tolist() == [1, 1]


def test_those_that_torchrun_has_started_are_known_before_they_are_joined(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launched_processes() == Processes(1, 2)
    assert not is_first_process()


def test_each_process_has_its_share_of_a_batch():
    assert [Processes(rank, 4).rows(20) for rank in range(4)] == [slice(s, s + 5) for s in (0, 5, 10, 15)]
    with pytest.raises(SettingsError, match="must be a multiple of 3, the processes, but 20 came"):
        Processes(0, 3).rows(20)


def test_a_named_device_is_kept():
    assert own_device("meta").type == "meta"


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert own_device(None) == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert own_device(None) == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(SettingsError, match="nproc-per-node must be at most 2, the GPUs here, but 3 came"):
        own_device(None)


def train_one_of_two(rank, folder, space, data, settings):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with joined(torch.device("cpu")) as processes:
        training = supernet_training(space, data, settings, processes=processes)
        training.run(until=2)
    torch.save(training.trained().state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["sandwich", "single_path"])
def test_two_processes_are_as_one_on_the_same_batches(space, data, tmp_path, method):
    settings = replace(SETTINGS, method=method, ema_decay=0.5, clip_norm=1.0)
    multiprocessing.spawn(train_one_of_two, (str(tmp_path), space, data, settings), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone = supernet_training(space, data, settings)
    untrained = {name: value.clone() for name, value in alone.network.state_dict().items()}
    alone.run(until=2)
    moved = 0
    for name, expected in alone.trained().state_dict().items():
        torch.testing.assert_close(first[name], expected, rtol=1e-3, atol=1e-4, msg=name)
        moved += not torch.allclose(untrained[name].float(), expected.float(), rtol=1e-3, atol=1e-4)
    assert moved > 100


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1234\nmore"),
        RuntimeError("[gloo] Read error [127.0.0.1]:1234: Connection reset by peer"),
        torch.distributed.DistError("[nccl] remote process exited"),
    ],
)
def test_another_process_that_has_ended_is_an_error(error):
    with (
        pytest.raises(TrainingError, match=r"Process 1 of 2 must hear from the others, but one has ended: \[\w+\]"),
        Processes(1, 2).hearing(),
    ):
        raise error
    with pytest.raises(RuntimeError), Processes().hearing():
        raise error


def test_other_errors_beside_other_processes_stay_what_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), Processes(1, 2).hearing():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def train_until_one_ends(rank, folder, space, data):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", RANK=str(rank), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with joined(torch.device("cpu")) as processes:
        training = supernet_training(space, data, SETTINGS, processes=processes)
        training.run(until=1)
        if rank == 1:  # in the middle of a forward pass
            training.network.slots[2].register_forward_hook(lambda *of: os._exit(0))
        try:
            training.run()
        except TrainingError as error:
            Path(folder, "error").write_text(str(error))
    os._exit(0)  # the group cannot be left any more


def test_a_process_that_ends_in_the_middle_of_a_pass_is_told_of_by_the_others(space, data, tmp_path):
    multiprocessing.spawn(train_until_one_ends, (str(tmp_path), space, data), nprocs=2)
    assert "Process 0 of 2 must hear from the others, but one has ended" in (tmp_path / "error").read_text()


SCRIPT = """
    import sys
    import torch
    from hwnas.spaces import MobileNetV3
    from hwnas.training import TrainingSettings, load_data, supernet_training
    from hwnas.training.distributed import joined

    torch.set_num_threads(1)
    data = load_data("digits")
    space = MobileNetV3(data.input_shape, data.num_classes, width_mult=0.1)
    with joined(torch.device("cpu")) as processes:
        training = supernet_training(space, data, TrainingSettings(batch_size=20), processes=processes)
        if processes.rank == 1:
            training.network.slots[2].register_forward_hook(lambda *of: sys.exit("process 1 has had enough"))
        training.run()
"""


def test_under_torchrun_one_that_dies_stops_all_with_its_error(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode != 0
    assert "process 1 has had enough" in ended.stderr
