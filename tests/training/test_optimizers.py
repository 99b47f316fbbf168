import pytest
import torch
from torch import nn

from hwnas.spaces import VisionTransformer
from hwnas.training import TrainingSettings
from hwnas.training.optimizers import make_optimizer, parameter_groups


@pytest.mark.parametrize("of", ["convolutions", "transformers"])
def test_weight_decay_spares_biases_norms_and_positions(space, of):
    space = space if of == "convolutions" else VisionTransformer((1, 8, 8), 10, embed_dim=48, depth=4, head_dim=16)
    network = space.build(space.smallest())
    decayed, spared = parameter_groups(network, 0.5)
    names = {id(parameter): name.rpartition(".")[2] for name, parameter in network.named_parameters()}
    assert {names[id(p)] for p in spared["params"] if p.ndim > 1} == ({"position"} if of == "transformers" else set())
    assert 1 not in {parameter.ndim for parameter in decayed["params"]}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(network.parameters()))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizers(name, kind):
    optimizer = make_optimizer(nn.Linear(2, 2), TrainingSettings(optimizer=name, momentum=0.8))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0].get("momentum", optimizer.param_groups[0].get("betas", [None])[0]) == 0.8
