"""Batch-norm recalibration and accuracy."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from hwnas.spaces import MobileNetV3
from hwnas.training import (
    ImageData,
    Part,
    SubnetEvaluator,
    accuracy,
    evaluate,
    predict_logits,
    recalibrate_batch_norm,
    split_dataset,
)
from hwnas.training.evaluate import calibration_batches, evaluation_batch_size


def test_recalibration_gives_the_statistics_of_the_images() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    x = 5 + 3 * torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    first = network[0]
    first.running_mean.fill_(99.0)
    recalibrate_batch_norm(network, [x[:32], x[32:]])
    assert torch.allclose(first.running_mean, x.mean((0, 2, 3)), atol=1e-4)
    halves = torch.stack([part.var((0, 2, 3)) for part in (x[:32], x[32:])]).mean(0)
    assert torch.allclose(first.running_var, halves, atol=1e-3)
    assert not network.training
    assert first.momentum == 0.1


def test_recalibration_repairs_a_network_whose_statistics_are_forgotten(space: MobileNetV3, data: ImageData) -> None:
    torch.manual_seed(0)
    network = space.build(space.smallest())
    x = data.normalized(data.train.images_NCHW)
    recalibrate_batch_norm(network, [x])
    right = network(x)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(3.0)
            layer.running_var.fill_(40.0)
    assert not torch.allclose(network(x), right, atol=1e-3)
    recalibrate_batch_norm(network, [x])
    assert torch.allclose(network(x), right, atol=1e-5)


def test_accuracy_is_the_share_of_right_classes(data: ImageData) -> None:
    class Oracle(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = nn.functional.one_hot(data.test.labels_N, 10).float()
            logits[:15] = logits[:15].roll(1, dims=1)
            return logits

    assert accuracy(Oracle(), data, data.test) == pytest.approx(45 / 60)
    assert predict_logits(Oracle(), data, data.test).shape == (60, 10)


def test_the_evaluator_scores_the_recalibrated_subnet(space: MobileNetV3, data: ImageData) -> None:
    torch.manual_seed(0)
    supernet = space.supernet()
    evaluator = SubnetEvaluator(supernet, data, calibration_images=40)
    architectures = [space.sample(np.random.default_rng(1)), space.largest()]
    errors = evaluator.errors(architectures)
    by_hand = [1 - accuracy(evaluator.subnet(one), data, data.validation) for one in architectures]
    assert errors == by_hand
    raw = supernet.subnet(architectures[0]).eval()
    mean = evaluator.subnet(architectures[0]).state_dict()["operator0.bn.running_mean"]
    assert not torch.allclose(raw.state_dict()["operator0.bn.running_mean"], mean)


def test_the_evaluator_can_score_on_some_of_the_validation_part(space: MobileNetV3, data: ImageData) -> None:
    supernet = space.supernet()
    some = SubnetEvaluator(supernet, data, validation_images=7)
    again = SubnetEvaluator(supernet, data, validation_images=7)
    (error,) = some.errors([space.smallest()])
    assert again.errors([space.smallest()]) == [error]
    assert (error * 7) == pytest.approx(round(error * 7), abs=1e-5)


def test_more_validation_images_than_there_are_is_all_of_them(space: MobileNetV3, data: ImageData) -> None:
    supernet = space.supernet()
    errors = SubnetEvaluator(supernet, data, validation_images=10**6).errors([space.smallest()])
    assert errors == pytest.approx(SubnetEvaluator(supernet, data).errors([space.smallest()]))


def test_the_evaluator_leaves_the_supernet_as_it_was(space: MobileNetV3, data: ImageData) -> None:
    supernet = space.supernet()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    SubnetEvaluator(supernet, data).errors([space.smallest()])
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize(
    ("side", "device", "size"),
    [(8, "cpu", 512), (32, "cpu", 64), (224, "cpu", 16), (32, "cuda", 512), (224, "cuda", 167)],
)
def test_batches_stay_in_the_caches_of_a_cpu_and_in_the_memory_of_a_gpu(
    data: ImageData, side: int, device: str, size: int
) -> None:
    part = Part(torch.zeros(2, 1, side, side), torch.tensor([0, 1]))
    large = dataclasses.replace(data, train=part, validation=part, test=part)
    assert evaluation_batch_size(large, device) == size


def test_calibration_batches_are_even() -> None:
    images = torch.arange(513.0)
    first, second = calibration_batches(images, 512)
    assert (len(first), len(second)) == (257, 256)
    assert torch.equal(torch.cat([first, second]), images)
    assert [len(batch) for batch in calibration_batches(images, 1000)] == [513]


def limited(network: nn.Module, most: int) -> list[int]:
    """A list of the sizes of the batches that `network` is given, of which it takes `most` images."""
    sizes: list[int] = []

    def take(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        sizes.append(len(inputs[0]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    network.register_forward_pre_hook(take)
    return sizes


def test_batches_are_smaller_where_the_memory_does_not_suffice(space: MobileNetV3, data: ImageData) -> None:
    network = space.build(space.smallest()).eval()
    whole = predict_logits(network, data, data.validation)
    sizes = limited(network, 20)
    torch.testing.assert_close(predict_logits(network, data, data.validation), whole)
    assert sizes == [60, 60, 60, 60, 32, 16, 16, 16, 12]  # of 512, 256, 128, 64, 32 and 16


def test_recalibration_begins_anew_with_smaller_batches(
    space: MobileNetV3, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet = space.supernet()
    evaluator = SubnetEvaluator(supernet, data, calibration_images=41)
    network = supernet.subnet(space.smallest())
    expected = copy.deepcopy(network)
    sizes = limited(network, 30)
    monkeypatch.setattr(supernet, "subnet", lambda architecture: network)
    evaluator.subnet(space.smallest())
    assert sizes == [41, 41, 41, 41, 21, 20]
    chosen = evaluator._calibration_NCHW
    recalibrate_batch_norm(expected, [chosen[:21], chosen[21:]])
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, msg=name)
    assert {layer.momentum for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {0.1}


def test_logits_do_not_depend_on_how_images_are_batched(
    space: MobileNetV3, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = space.build(space.smallest()).eval()
    whole = predict_logits(network, data, data.validation)
    monkeypatch.setattr(evaluate, "CPU_PIXELS", 16 * 64)
    torch.testing.assert_close(predict_logits(network, data, data.validation), whole)


def test_an_error_depends_neither_on_threads_nor_on_what_was_scored_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits are the same to the last bit: batch norms of more pixels than a tiny image has round by threads."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, 3, 32, 32), generator=generator, dtype=torch.uint8)
    data = split_dataset(TensorDataset(images, torch.arange(90) % 10), seed=0)
    space = MobileNetV3((3, 32, 32), 10, width_mult=0.1)
    torch.manual_seed(0)
    evaluator = SubnetEvaluator(space.supernet(), data, calibration_images=48)
    seen: list[torch.Tensor] = []

    def noted(network: nn.Module, data: ImageData, part: Part, *, device: str) -> float:
        seen.append(predict_logits(network, data, part, device=device))
        return accuracy(network, data, part, device=device)

    monkeypatch.setattr(evaluate, "accuracy", noted)
    rng = np.random.default_rng(0)
    pair = [space.sample(rng), space.sample(rng)]
    before = torch.get_num_threads()
    try:
        for threads, order in ((1, pair), (3, pair), (4, pair[::-1])):
            torch.set_num_threads(threads)
            evaluator.errors(order)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    first, second = seen[:2]
    assert not torch.equal(first, second)
    assert all(torch.equal(first, other) for other in (seen[2], seen[5]))
    assert all(torch.equal(second, other) for other in (seen[3], seen[4]))
