"""Evaluation of a network: batch-norm statistics of its own, then its accuracy.

Shapes: N images, B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hwnas.training.data import ImageData, Part

__all__ = ["accuracy", "predict_logits", "recalibrate_batch_norm"]

EVALUATION_BATCH = 512


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, batches_BCHW: Iterable[Tensor]) -> None:
    """Replaces the running statistics of every batch norm by averages over `batches_BCHW`.

    A sub-network's activations are not distributed as those of the supernet that its weights come from, so its
    statistics must be its own (Yu & Huang, Universally Slimmable Networks, ICCV 2019). The network is left in
    evaluation mode.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for x_BCHW in batches_BCHW:
        network(x_BCHW)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


@torch.no_grad()
def predict_logits(network: nn.Module, data: ImageData, part: Part, *, device: torch.device | str = "cpu") -> Tensor:
    """The logits (N, K) of `network`, in evaluation mode, for all images of `part`; on the CPU."""
    network.eval()
    return torch.cat([network(x).cpu() for x, _ in data.batches(part, EVALUATION_BATCH, device=device)])


def accuracy(network: nn.Module, data: ImageData, part: Part, *, device: torch.device | str = "cpu") -> float:
    """The share of `part` that `network` classifies rightly, from 0 to 1."""
    predicted_N = predict_logits(network, data, part, device=device).argmax(1)
    return (predicted_N == part.labels_N).float().mean().item()
