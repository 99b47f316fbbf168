"""Fine-tuning a plain network."""

import torch

from hwnas.spaces import MobileNetV3
from hwnas.training import ImageData, finetune


def loss_of(network: torch.nn.Module, data: ImageData) -> float:
    network.train()
    logits = network(data.normalized(data.train.images_NCHW))
    return torch.nn.functional.cross_entropy(logits, data.train.labels_N).item()


def test_it_learns_and_leaves_the_original_alone(space: MobileNetV3, data: ImageData) -> None:
    torch.manual_seed(0)
    network = space.build(space.smallest())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tuned = finetune(network, data, epochs=6, batch_size=20, learning_rate=0.05, device="cpu")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not tuned.training
    assert loss_of(tuned, data) < loss_of(network, data)


def test_no_epochs_give_the_same_weights(space: MobileNetV3, data: ImageData) -> None:
    network = space.build(space.smallest())
    tuned = finetune(network, data, epochs=0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), tuned.parameters(), strict=True))


def test_the_seed_decides(space: MobileNetV3, data: ImageData) -> None:
    network = space.build(space.smallest())
    first, again, other = (finetune(network, data, epochs=1, batch_size=20, seed=s, device="cpu") for s in (0, 0, 1))
    weights = [torch.cat([p.flatten() for p in tuned.parameters()]) for tuned in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
