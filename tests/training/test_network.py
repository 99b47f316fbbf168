"""Training a plain network."""

from dataclasses import replace

import pytest
import torch

from hwnas.errors import SettingsError
from hwnas.training import Part, TrainingSettings, check_network_training, train_network

SETTINGS = TrainingSettings(epochs=6, batch_size=20, learning_rate=0.05, warmup_epochs=0.0)
ONE = TrainingSettings(epochs=1, batch_size=20)


def loss_of(network, data):
    network.train()
    logits = network(data.normalized(data.train.images_NCHW))
    return torch.nn.functional.cross_entropy(logits, data.train.labels_N).item()


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def small(space):
    torch.manual_seed(0)
    return space.build(space.smallest())


def test_it_learns_and_leaves_the_original_alone(space, data):
    network = small(space)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = train_network(network, data, SETTINGS, device="cpu")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not trained.training
    assert loss_of(trained, data) < loss_of(network, data)


def test_the_seed_decides(space, data):
    network = small(space)
    first, again, other = (weights(train_network(network, data, ONE, seed=seed, device="cpu")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_settings_that_do_not_fit_are_refused_before_a_training(space, data):
    check_network_training(space, data, SETTINGS, device=torch.device("cpu"))
    with pytest.raises(SettingsError, match=r"training.batch_size must be at most 60"):
        check_network_training(space, data, replace(SETTINGS, batch_size=100), device=torch.device("cpu"))


def test_it_goes_on_from_its_checkpoint(space, data, tmp_path):
    network = small(space)
    path = tmp_path / "a.pt"
    whole = train_network(network, data, SETTINGS, checkpoint=path, device="cpu")
    done = []
    again = train_network(
        network, data, SETTINGS, checkpoint=path, device="cpu", on_progress=lambda *told: done.append(told)
    )
    assert torch.equal(weights(whole), weights(again))
    assert done == []


def test_a_teacher_alone_is_imitated(space, data):
    """With distillation 1 the labels do not count: wrong ones change nothing."""
    teacher = train_network(small(space), data, SETTINGS, device="cpu")
    wrong = Part(data.train.images_NCHW, data.train.labels_N.flip(0))
    students = [
        train_network(small(space), data, SETTINGS, part=part, teacher=teacher, distillation=1.0, device="cpu")
        for part in (data.train, wrong)
    ]
    assert torch.equal(weights(students[0]), weights(students[1]))
    x = data.normalized(data.train.images_NCHW)
    with torch.no_grad():
        imitated, untaught = (
            (teacher(x).softmax(1) - network.eval()(x).softmax(1)).abs().mean()
            for network in (students[0], small(space))
        )
    assert imitated < untaught
