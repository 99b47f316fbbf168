"""The training loop: what it is given up for and gone on with, and what its settings do."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from hwnas.errors import SettingsError, TrainingError
from hwnas.layers import Elastic
from hwnas.training import (
    METHODS,
    ImageData,
    Part,
    Training,
    TrainingSettings,
    load_data,
    make_method,
    supernet_training,
)
from hwnas.training.methods import Plain, ProgressiveShrinking

SETTINGS = TrainingSettings(epochs=3, batch_size=20)
FULL = replace(
    SETTINGS,
    augmentation="randaugment",
    mixup=0.4,
    cutmix=1.0,
    ema_decay=0.9,
    clip_norm=1.0,
    accumulation=2,
    precision="bf16",
    optimizer="adamw",
    learning_rate=0.01,
)


def state_of(training):
    average = {} if training._average is None else training._average
    return {**training.network.state_dict(), **{f"average {name}": value for name, value in average.items()}}


def assert_same(one, other):
    one, other = state_of(one), state_of(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def method_for(name, space):
    costs = [0.01] * len(space.all_operators())
    return make_method(name, space, cost_ms=costs if name == "differentiable" else None)


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        (SETTINGS, "sandwich"),
        *((FULL, name) for name in METHODS if name != "differentiable"),
        (replace(FULL, epochs=2), "differentiable"),  # its passes are long
    ],
)
def test_stopped_anywhere_and_gone_on_with_is_bit_for_bit_the_same(space, data, tmp_path, settings, method):
    def make():
        return supernet_training(space, data, settings, method_for(method, space), seed=3)

    whole = make()
    whole.run()
    part = make()
    part.run(tmp_path / "part.pt", until=2)  # in the middle of an epoch of 3 steps
    resumed = make()
    torch.manual_seed(12345)  # what the caller does with torch's generator does not matter
    resumed.load(tmp_path / "part.pt")
    assert resumed.steps_done == 2
    resumed.run(tmp_path / "part.pt", until=7)
    last = make()
    last.load(tmp_path / "part.pt")
    last.run()
    assert_same(whole, last)


def test_where_channels_were_sorted_the_moving_average_begins_anew(space, data):
    settings = replace(SETTINGS, ema_decay=0.9, learning_rate=1e-9)
    training = supernet_training(space, data, settings, ProgressiveShrinking(space))
    training.run(until=8)
    name = "slots.3.widest.project.conv.weight"
    before = dict(training.network.named_parameters())[name].clone()
    training.run()
    assert not torch.allclose(before, dict(training.network.named_parameters())[name], atol=1e-3)
    for name, parameter in training.network.named_parameters():
        torch.testing.assert_close(training._average[name], parameter, atol=1e-6, rtol=1e-6, msg=name)


SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    from hwnas.spaces import MobileNetV3
    from hwnas.training import Part, ImageData, TrainingSettings, load_data, supernet_training
    from hwnas.training import engine

    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = 0.0
    whole = load_data("digits")
    parts = [Part(part.images_NCHW[:60], part.labels_N[:60]) for part in (whole.train, whole.validation, whole.test)]
    data = ImageData("digits", *parts, whole.class_names, whole.mean, whole.std, whole.flips)
    space = MobileNetV3((1, 8, 8), 10, width_mult=0.1)
    training = supernet_training(space, data, TrainingSettings(epochs=200, batch_size=20), seed=3)
    training.run(Path(sys.argv[1]))
"""


def test_killed_and_gone_on_with_is_bit_for_bit_the_same(space, data, tmp_path):
    settings = TrainingSettings(epochs=200, batch_size=20)
    checkpoint = tmp_path / "supernet.pt"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT), str(checkpoint)])
    try:
        end = time.monotonic() + 120
        while not checkpoint.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = supernet_training(space, data, settings, seed=3)
    resumed.load(checkpoint)
    done = resumed.steps_done
    assert 0 < done < resumed.total_steps
    resumed.run(until=done + 4)
    whole = supernet_training(space, data, settings, seed=3)
    whole.run(until=done + 4)
    assert_same(whole, resumed)


class Linear(nn.Module):
    """No batch norm: what a batch is cut into cannot matter."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))


def trained(data, settings, network=None, **kwargs):
    training = Training(network or Linear(), data, settings, Plain(), **kwargs)
    training.run()
    return training


def test_a_batch_in_parts_is_the_same_step(data):
    whole, parts = (trained(data, replace(SETTINGS, accumulation=n)).network.layer.weight for n in (1, 4))
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_layers_are_given_images_in_the_format_that_is_set(data, channels_last, augmentation):
    coloured = [Part(part.images_NCHW.repeat(1, 3, 1, 1), part.labels_N) for part in (data.train, data.test)]
    data = ImageData("coloured", coloured[0], coloured[1], coloured[1], data.class_names, (0.5,) * 3, (0.3,) * 3, False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10))
    formats = []
    network[0].register_forward_hook(lambda layer, given, out: formats.extend([given[0], out]))
    settings = replace(SETTINGS, epochs=1, channels_last=channels_last, augmentation=augmentation)
    trained(data, settings, network)
    wanted, other = (torch.channels_last, torch.contiguous_format)[:: 1 if channels_last else -1]
    assert len(formats) == 6
    assert all(one.is_contiguous(memory_format=wanted) for one in formats)
    assert not any(one.is_contiguous(memory_format=other) for one in formats)


@pytest.mark.parametrize(("accumulation", "images"), [(2, 10), (5, 4)])
def test_images_held_out_are_no_more_than_a_part_of_a_batch(space, data, accumulation, images):
    training = supernet_training(
        space, data, replace(SETTINGS, accumulation=accumulation), method_for("differentiable", space)
    )
    x_BCHW, target_BK = training._held_out_batch(0.5, 1)
    assert len(x_BCHW) == len(target_BK) == images


def test_gradients_are_clipped(data):
    settings = replace(SETTINGS, clip_norm=1e-4, epochs=1, momentum=0.0, warmup_epochs=0.0, weight_decay=0.0)
    moved = (trained(data, settings).network.layer.weight - Linear().layer.weight).norm()
    assert 0 < moved < 3 * 0.1 * 1e-4 * 1.01


def test_half_precision_comes_close_and_is_not_the_same(data):
    full, half = (trained(data, replace(SETTINGS, precision=p)).network.layer.weight for p in ("fp32", "bf16"))
    assert not torch.equal(full, half)
    torch.testing.assert_close(full, half, rtol=0.1, atol=0.02)


def test_fp16_wants_a_gpu(data):
    with pytest.raises(SettingsError, match="must be fp32 or bf16 on a CPU"):
        trained(data, replace(SETTINGS, precision="fp16"))


def test_given_images_are_trained_on(data):
    other = Part(255 - data.train.images_NCHW, data.train.labels_N)
    assert not torch.equal(
        trained(data, SETTINGS).network.layer.weight, trained(data, SETTINGS, part=other).network.layer.weight
    )


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_does_not_suffice_names_a_batch_size_to_try(data, monkeypatch, error):
    def full(self, x):
        raise error

    monkeypatch.setattr(Linear, "forward", full)
    with pytest.raises(TrainingError, match=r"batch_size=20 in 1 part.*batch_size = 10 or training.accumulation = 2"):
        trained(data, SETTINGS)


def test_weights_that_do_not_fit_the_memory_are_told_of(data, monkeypatch):
    def full(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Linear, "to", full)
    with pytest.raises(TrainingError, match="Training on cpu must fit the memory, but the weights and images do not"):
        trained(data, SETTINGS)


def test_weights_that_are_no_numbers_stop_at_the_last_good_checkpoint(data, tmp_path):
    checkpoint = tmp_path / "a.pt"
    training = Training(Linear(), data, SETTINGS, Plain())
    training.run(checkpoint, until=8)
    written = checkpoint.read_bytes()
    training.network.layer.weight.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    with pytest.raises(TrainingError, match=r"step 9 must have finite weights.*last checkpoint is kept"):
        training.run(checkpoint)
    assert checkpoint.read_bytes() == written


def test_other_errors_of_torch_stay_what_they_are(data, monkeypatch):
    def wrong(self, x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Linear, "forward", wrong)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        trained(data, SETTINGS)


def test_progress_tells_epoch_loss_and_accuracy(data):
    told = []
    Training(Linear(), data, SETTINGS, Plain()).run(stage="learning", on_progress=lambda *news: told.append(news))
    assert [news[:3] for news in told][-1] == ("learning", 9, 9)
    assert told[0][3].startswith("epoch ")
    assert ", loss " in told[0][3]
    assert told[0][3].endswith("%")


def test_the_callers_random_numbers_are_left_alone(data):
    training = Training(Linear(), data, replace(FULL, accumulation=1), Plain())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    training.run()
    assert torch.equal(torch.rand(3), expected)


def test_curves_are_written_for_tensorboard(data, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    training = Training(Linear(), data, replace(SETTINGS, tensorboard=True), Plain())
    training.run(tmp_path / "a.pt")
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "a")).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [3, 6, 9]


def test_elastic_layers_are_compiled_each_by_itself(space, data, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    training = supernet_training(space, data, replace(SETTINGS, compile=True))
    assert len(compiled) == len(training.network.slots)
    assert all(isinstance(layer, Elastic) for layer in compiled)
    compiled.clear()
    plain = Training(Linear(), data, replace(SETTINGS, compile=True), Plain())
    assert compiled == [plain.network]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
@pytest.mark.skipif(os.name != "posix", reason="compiling needs a C++ compiler")
def test_a_compiled_supernet_trains(space, data):
    training = supernet_training(space, data, replace(SETTINGS, epochs=1, compile=True))
    training.run(until=2)
    assert load_data("digits").num_classes == training.network(data.normalized(data.test.images_NCHW)).shape[1]
