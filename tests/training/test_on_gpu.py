"""Training and evaluation on a GPU."""

import math

import pytest
import torch

from hwnas.training import METHODS, SubnetEvaluator, TrainingSettings, make_method, supernet_training, weighs_latency

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]

SETTINGS = TrainingSettings(
    epochs=4, batch_size=20, accumulation=2, precision="fp16", clip_norm=1.0, ema_decay=0.9, learning_rate=0.05
)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_trains_and_is_gone_on_with(space, data, tmp_path, method):
    def make():
        costs = [0.01] * len(space.all_operators()) if weighs_latency(method) else None
        return supernet_training(space, data, SETTINGS, make_method(method, space, cost_ms=costs), device="cuda")

    part = make()
    untrained = {name: value.clone() for name, value in part.network.named_parameters()}
    part.run(tmp_path / "a.pt", until=5)
    resumed = make()
    resumed.load(tmp_path / "a.pt")
    assert resumed._scaler.get_scale() == part._scaler.get_scale() > 0
    for name, value in resumed.network.state_dict().items():
        assert value.is_cuda
        assert torch.equal(value, part.network.state_dict()[name])
    told = []
    resumed.run(tmp_path / "a.pt", on_progress=lambda *news: told.append(news))
    assert told[-1][1] == resumed.total_steps
    network = resumed.trained()
    assert all(math.isfinite(value.sum()) for value in network.parameters())
    assert any(not torch.equal(untrained[name], value) for name, value in network.named_parameters())


def test_images_are_held_where_they_are_trained_on(space, data):
    training = supernet_training(space, data, SETTINGS, device="cuda")
    assert training._part.images_NCHW.is_cuda
    x_BCHW, target_BK = training._batch(training._part, torch.arange(20), 0.5, 0)
    assert x_BCHW.is_cuda
    assert target_BK.is_cuda


def test_evaluation_is_that_on_a_cpu(space, data):
    supernet = space.supernet()
    architectures = [space.smallest(), space.largest()]
    on_cpu = SubnetEvaluator(supernet, data).errors(architectures)
    on_gpu = SubnetEvaluator(supernet, data, device="cuda").errors(architectures)
    assert on_gpu == pytest.approx(on_cpu, abs=2.1 / len(data.validation))
