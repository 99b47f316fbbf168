"""What is refused before a training begins."""

import re
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import PatchEmbed
from hwnas.training import Part, TrainingSettings
from hwnas.training.distributed import Processes
from hwnas.training.preconditions import check_settings, smaller_steps

SETTINGS = TrainingSettings(batch_size=20)


def check(settings, part, *, network=None, device="cpu", processes=1):
    check_settings(
        settings,
        part,
        network=network or nn.Linear(1, 1),
        device=torch.device(device),
        processes=Processes(0, processes),
    )


def test_what_can_be_done_is_let_through(data):
    check(replace(SETTINGS, batch_size=60, accumulation=15), data.train, processes=4)
    check(replace(SETTINGS, precision="fp16"), data.train, device="cuda")


@pytest.mark.parametrize(
    ("setting", "processes", "message"),
    [
        ({"batch_size": 61}, 1, "batch_size must be at most 60, the images to train on, but 61 came"),
        ({"batch_size": 20}, 3, "batch_size must be a multiple of 3"),
        ({"batch_size": 20, "accumulation": 4}, 2, "accumulation must divide 10, the images of a process"),
        ({"precision": "fp16"}, 1, "precision must be fp32 or bf16 on a CPU"),
    ],
)
def test_what_the_data_the_processes_or_the_device_do_not_allow_is_refused(data, setting, processes, message):
    with pytest.raises(SettingsError, match=message):
        check(replace(SETTINGS, **setting), data.train, processes=processes)


def test_images_cannot_grow_for_a_transformer(data):
    transformer = nn.Sequential(PatchEmbed(1, embed_dim=8, patch_size=4, num_patches=4))
    check(SETTINGS, data.train, network=transformer)
    with pytest.raises(SettingsError, match="first_resolution must be 1 for a transformer"):
        check(replace(SETTINGS, first_resolution=0.5), data.train, network=transformer)


def test_randaugment_takes_bytes_and_numbers_from_0_to_1(data):
    settings = replace(SETTINGS, augmentation="randaugment")
    fractions = data.train.images_NCHW / 255
    check(settings, data.train)
    check(settings, Part(fractions, data.train.labels_N))
    shifted = Part(fractions * 2 - 0.5, data.train.labels_N)
    check(SETTINGS, shifted)
    with pytest.raises(SettingsError, match=r"must be none or standard .* images from -0\.5 to 1\.5"):
        check(settings, shifted)


def test_tensorboard_must_be_there(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    check(SETTINGS, data.train)
    with pytest.raises(SettingsError, match=r"pip install 'hwnas\[tensorboard\]'"):
        check(replace(SETTINGS, tensorboard=True), data.train)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "processes", "advice"),
    [
        (20, 1, 1, "Set training.batch_size = 10 or training.accumulation = 2"),
        (5, 1, 1, "Set training.batch_size = 2"),
        (9, 1, 1, "Set training.batch_size = 4 or training.accumulation = 3"),
        (12, 2, 2, "Set training.batch_size = 4 or training.accumulation = 3"),
        (6, 1, 3, "Set training.batch_size = 3"),
        (3, 1, 1, "Use a device with more memory"),
    ],
)
def test_where_memory_does_not_suffice_the_advice_is_allowed(data, batch_size, accumulation, processes, advice):
    settings = TrainingSettings(batch_size=batch_size, accumulation=accumulation)
    said = smaller_steps(settings, Processes(0, processes))
    assert said == advice
    for name, value in re.findall(r"training.(\w+) = (\d+)", said):
        check(replace(settings, **{name: int(value)}), data.train, processes=processes)
