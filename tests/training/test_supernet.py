"""Supernet training: it learns, goes on where it was, and refuses what is not its own."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.errors import RunError, SettingsError, StoredFileError, TrainingError
from hwnas.spaces import MobileNetV3
from hwnas.training import ImageData, SupernetTraining, TrainingSettings, load_supernet, train_supernet
from hwnas.training.supernet import learning_rate_at, parameter_groups

SETTINGS = TrainingSettings(epochs=3, batch_size=20)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls(space: MobileNetV3, data: ImageData) -> None:
    training = SupernetTraining(space, data, TrainingSettings(epochs=12, batch_size=12, label_smoothing=0.0))
    losses = [training.run_epoch() for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


def test_stopped_and_gone_on_with_is_bit_for_bit_the_same(space: MobileNetV3, data: ImageData, tmp_path: Path) -> None:
    whole = train_supernet(space, data, checkpoint=tmp_path / "whole.pt", settings=SETTINGS)
    first = SupernetTraining(space, data, SETTINGS)
    first.run_epoch()
    first.save(tmp_path / "part.pt")
    torch.manual_seed(12345)
    resumed = train_supernet(space, data, checkpoint=tmp_path / "part.pt", settings=SETTINGS)
    assert same(whole, resumed)


def test_a_finished_training_is_only_read(space: MobileNetV3, data: ImageData, tmp_path: Path) -> None:
    checkpoint = tmp_path / "supernet.pt"
    first = train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS)
    written = checkpoint.read_bytes()
    epochs: list[int] = []
    again = train_supernet(
        space,
        data,
        checkpoint=checkpoint,
        settings=SETTINGS,
        on_progress=lambda stage, done, total, note="": epochs.append(done),
    )
    assert epochs == []
    assert checkpoint.read_bytes() == written
    assert same(first, again)
    assert same(first, load_supernet(space, checkpoint))


def test_seeds_decide(space: MobileNetV3, data: ImageData, tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=1, batch_size=20)
    runs = [
        train_supernet(space, data, checkpoint=tmp_path / f"{index}.pt", settings=settings, seed=seed)
        for index, seed in enumerate((0, 0, 1))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_every_part_of_the_supernet_is_trained(space: MobileNetV3, data: ImageData) -> None:
    training = SupernetTraining(
        space, data, TrainingSettings(epochs=6, batch_size=6, random_subnets=0, warmup_epochs=0)
    )
    before = {name: value.clone() for name, value in training.supernet.named_parameters()}
    for _ in range(3):
        training.run_epoch()
    still = [name for name, value in training.supernet.named_parameters() if torch.equal(before[name], value)]
    assert still == []


def test_a_checkpoint_of_something_else_is_refused(space: MobileNetV3, data: ImageData, tmp_path: Path) -> None:
    checkpoint = tmp_path / "supernet.pt"
    train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS)
    with pytest.raises(RunError, match="seed=1"):
        train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, seed=1)
    with pytest.raises(RunError, match="settings"):
        train_supernet(space, data, checkpoint=checkpoint, settings=TrainingSettings(epochs=4, batch_size=20))
    wider = MobileNetV3((1, 8, 8), 10, width_mult=0.3)
    with pytest.raises(RunError, match="width_mult"):
        load_supernet(wider, checkpoint)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_broken_checkpoint_is_refused(space: MobileNetV3, data: ImageData, tmp_path: Path, content: bytes) -> None:
    checkpoint = tmp_path / "supernet.pt"
    checkpoint.write_bytes(content)
    with pytest.raises(StoredFileError, match="broken"):
        train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS)


def test_a_missing_checkpoint_is_refused(space: MobileNetV3, tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match="does not exist"):
        load_supernet(space, tmp_path / "none.pt")


def test_a_loss_that_is_not_a_number_stops_at_the_last_good_checkpoint(
    space: MobileNetV3, data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "supernet.pt"
    good = SupernetTraining(space, data, SETTINGS)
    good.run_epoch()
    good.save(checkpoint)
    written = checkpoint.read_bytes()
    monkeypatch.setattr(SupernetTraining, "step", lambda *_: torch.tensor(math.nan))
    with pytest.raises(TrainingError, match="epoch 2 must have a finite loss"):
        train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS)
    assert checkpoint.read_bytes() == written


def test_a_batch_larger_than_the_data_is_refused(space: MobileNetV3, data: ImageData) -> None:
    with pytest.raises(SettingsError, match="at most 60"):
        SupernetTraining(space, data, TrainingSettings(batch_size=61))


@pytest.mark.parametrize("setting", [{"epochs": 0}, {"learning_rate": 0.0}, {"momentum": 1.0}, {"batch_size": 1}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(setting))):
        TrainingSettings(**setting)  # type: ignore[arg-type]


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    settings = TrainingSettings(epochs=20, learning_rate=0.4, warmup_epochs=2)
    rates = [learning_rate_at(epoch, settings) for epoch in np.linspace(0, 20, 81)]
    assert rates[0] < 0.01
    assert max(rates) == pytest.approx(0.4)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    peak = int(np.argmax(rates))
    assert all(np.diff(rates[: peak + 1]) > 0)
    assert all(np.diff(rates[peak:]) < 0)


def test_weight_decay_spares_biases_and_batch_norms(space: MobileNetV3) -> None:
    network = space.build(space.smallest())
    decayed, spared = parameter_groups(network, 0.5)
    assert {parameter.ndim for parameter in spared["params"]} == {1}
    assert 1 not in {parameter.ndim for parameter in decayed["params"]}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(network.parameters()))
