"""Supernet training: it learns, goes on where it was, and refuses what is not its own."""

import math
import re

import pytest
import torch

from hwnas.errors import RunError, SettingsError, SpaceError, StoredFileError, TrainingError
from hwnas.spaces import MobileNetV3
from hwnas.testing import ToySpace
from hwnas.training import (
    METHODS,
    Training,
    TrainingSettings,
    check_trainable,
    load_supernet,
    make_method,
    supernet_training,
    train_supernet,
    training_identity,
)
from hwnas.training.methods import Differentiable, SinglePath

SETTINGS = TrainingSettings(epochs=3, batch_size=20)


def same(first, second):
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls(space, data):
    training = supernet_training(space, data, TrainingSettings(epochs=12, batch_size=12, label_smoothing=0.0))
    losses = []
    training.run(
        on_progress=lambda stage, done, total, note: losses.append(float(re.search(r"loss ([\d.]+)", note)[1]))
    )
    assert losses[-1] < 0.8 * losses[0]


def test_a_finished_training_is_only_read(space, data, tmp_path):
    checkpoint = tmp_path / "supernet.pt"
    first = train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, device="cpu")
    written = checkpoint.read_bytes()
    told = []
    again = train_supernet(
        space,
        data,
        checkpoint=checkpoint,
        settings=SETTINGS,
        device="cpu",
        on_progress=lambda *news: told.append(news),
    )
    assert told == []
    assert checkpoint.read_bytes() == written
    assert same(first, again)
    assert same(first, load_supernet(space, checkpoint))


def test_seeds_decide(space, data, tmp_path):
    settings = TrainingSettings(epochs=1, batch_size=20)
    runs = [
        train_supernet(space, data, checkpoint=tmp_path / f"{index}.pt", settings=settings, seed=seed, device="cpu")
        for index, seed in enumerate((0, 0, 1))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in {"progressive_shrinking", "differentiable"}]
)
def test_every_part_of_the_supernet_is_trained(space, data, method):
    settings = TrainingSettings(epochs=6, batch_size=6, warmup_epochs=0, method=method)
    training = supernet_training(space, data, settings)
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    training.run(until=30)
    still = [name for name, value in training.network.named_parameters() if torch.equal(before[name], value)]
    assert still == []


def test_a_checkpoint_of_something_else_is_refused(space, data, tmp_path):
    checkpoint = tmp_path / "supernet.pt"
    train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, device="cpu")
    with pytest.raises(RunError, match="seed = 1, but it is of 0"):
        train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, seed=1, device="cpu")
    with pytest.raises(RunError, match=r"training\.epochs = 4, but it is of 3"):
        train_supernet(
            space, data, checkpoint=checkpoint, settings=TrainingSettings(epochs=4, batch_size=20), device="cpu"
        )
    for other, name in (
        (MobileNetV3((1, 8, 8), 10, width_mult=0.3), "width_mult"),
        (MobileNetV3((1, 8, 8), 11, width_mult=0.1), "num_classes"),
    ):
        with pytest.raises(RunError, match=name):
            load_supernet(other, checkpoint)
    load_supernet(space, checkpoint, trained_by=training_identity(data, SETTINGS, seed=0))
    with pytest.raises(RunError, match="seed = 2, but it is of 0"):
        load_supernet(space, checkpoint, trained_by=training_identity(data, SETTINGS, seed=2))


def test_what_does_not_change_the_result_may_change(space, data, tmp_path):
    checkpoint = tmp_path / "supernet.pt"
    first = train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, device="cpu")
    compiled = TrainingSettings(epochs=3, batch_size=20, compile=True)  # nothing is left to compile for
    assert same(first, train_supernet(space, data, checkpoint=checkpoint, settings=compiled, device="cpu"))


def test_a_missing_checkpoint_is_refused(space, tmp_path):
    with pytest.raises(StoredFileError, match="does not exist"):
        load_supernet(space, tmp_path / "none.pt")


def test_a_training_that_has_not_ended_is_no_supernet(space, data, tmp_path):
    checkpoint = tmp_path / "supernet.pt"
    training = supernet_training(space, data, SETTINGS)
    training.run(checkpoint, until=8)
    with pytest.raises(RunError, match=r"must have all 9 steps, but it has 8\. Go on with it: hwnas train RUN"):
        load_supernet(space, checkpoint)
    training.run(checkpoint)
    assert same(load_supernet(space, checkpoint), training.trained())


def test_a_loss_that_is_not_a_number_stops_at_the_last_good_checkpoint(space, data, tmp_path, monkeypatch):
    checkpoint = tmp_path / "supernet.pt"
    good = supernet_training(space, data, SETTINGS)
    good.run(checkpoint, until=3)
    written = checkpoint.read_bytes()
    real = Training.run_step

    def poisoned(self):
        with torch.no_grad():
            next(self.network.parameters()).fill_(math.nan)
        real(self)

    monkeypatch.setattr(Training, "run_step", poisoned)
    with pytest.raises(TrainingError, match=r"epoch 2, step \d must have a finite loss.*last checkpoint is kept"):
        train_supernet(space, data, checkpoint=checkpoint, settings=SETTINGS, device="cpu")
    assert checkpoint.read_bytes() == written


def test_a_batch_larger_than_the_images_that_are_left_is_refused(space, data):
    with pytest.raises(SettingsError, match="at most 60"):
        supernet_training(space, data, TrainingSettings(batch_size=61))
    method = Differentiable(space, latency_weight=0.0)
    left = supernet_training(space, data, SETTINGS, method).steps_per_epoch * SETTINGS.batch_size
    assert left == 40
    with pytest.raises(SettingsError, match=r"batch_size must be at most 4\d, the images to train on"):
        supernet_training(space, data, TrainingSettings(batch_size=55), method)


@pytest.mark.parametrize(
    ("settings", "method", "message"),
    [
        (TrainingSettings(batch_size=61), "sandwich", "batch_size must be at most 60"),
        (TrainingSettings(batch_size=55), "differentiable", r"batch_size must be at most 4\d"),
        (TrainingSettings(batch_size=20, precision="fp16"), "sandwich", "precision must be fp32 or bf16"),
    ],
)
def test_what_cannot_be_trained_is_known_beforehand(space, data, settings, method, message):
    costs = [0.1] * len(space.all_operators())
    made = make_method(method, space, cost_ms=costs if method == "differentiable" else None)
    check_trainable(space, data, SETTINGS, method=made, device="cpu")
    with pytest.raises(SettingsError, match=message):
        check_trainable(space, data, settings, method=made, device="cpu")


def test_a_differentiable_training_of_a_space_that_cannot_be_mixed_is_refused_beforehand(data):
    space = ToySpace((1, 8, 8), 10)
    check_trainable(space, data, SETTINGS, method=SinglePath(space), device="cpu")
    with pytest.raises(SpaceError, match="must write `mix`"):
        check_trainable(space, data, SETTINGS, method=Differentiable(space, latency_weight=0.0), device="cpu")


def test_a_space_that_makes_no_supernet_is_refused_before_it_is_trained(data):
    class Unfinished(ToySpace):
        def supernet(self):
            return self.build(self.largest())

    space = Unfinished((1, 8, 8), 10)
    with pytest.raises(SpaceError, match="toy must make a SuperNet, but it makes an object of Sequential"):
        supernet_training(space, data, SETTINGS, SinglePath(space))


def test_checking_leaves_the_callers_random_numbers_alone(space, data):
    before = torch.get_rng_state()
    check_trainable(space, data, SETTINGS, method=SinglePath(space), device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_moving_average_is_what_is_kept(space, data, tmp_path):
    settings = TrainingSettings(epochs=2, batch_size=20, ema_decay=0.9)
    training = supernet_training(space, data, settings)
    training.run(tmp_path / "a.pt")
    raw = {name: value.clone() for name, value in training.network.state_dict().items()}
    average = training.trained()
    assert same(average, load_supernet(space, tmp_path / "a.pt"))
    name = next(iter(dict(average.named_parameters())))
    assert not torch.equal(average.state_dict()[name], raw[name])
