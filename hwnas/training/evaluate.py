"""Evaluation of a network: batch-norm statistics of its own, then its accuracy.

Shapes: N images, B batch, C channels, H height, W width, K classes.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from hwnas.spaces import Architecture, SuperNet
from hwnas.training.data import ImageData, Part
from hwnas.training.threads import suitable_threads

__all__ = ["SubnetEvaluator", "accuracy", "evaluation_batch_size", "predict_logits", "recalibrate_batch_norm"]

CALIBRATION_BATCH: Final = 512
GPU_BATCH: Final = 512
CPU_PIXELS: Final = 2**16
"""Pixels a channel of a batch on a CPU, about: activations of larger ones leave the caches, at half the speed."""


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
    batches = data.batches(part, evaluation_batch_size(data, device), device=device)
    return torch.cat([network(x).cpu() for x, _ in batches])


def evaluation_batch_size(data: ImageData, device: torch.device | str) -> int:
    """How many images are passed through a network at once where no gradients are wanted."""
    if torch.device(device).type != "cpu":
        return GPU_BATCH
    return max(16, min(GPU_BATCH, CPU_PIXELS // math.prod(data.input_shape[1:])))


def accuracy(network: nn.Module, data: ImageData, part: Part, *, device: torch.device | str = "cpu") -> float:
    """The share of `part` that `network` classifies rightly, from 0 to 1."""
    predicted_N = predict_logits(network, data, part, device=device).argmax(1)
    return (predicted_N == part.labels_N).float().mean().item()


class SubnetEvaluator:
    """Scores sub-networks of a trained supernet on the validation part.

    Args:
        supernet: the trained supernet.
        data: whose train part recalibrates batch norms, and whose validation part is scored on.
        calibration_images: images of the train part for the batch norms of each sub-network.
        validation_images: of the validation part, how many each is scored on; None: all.
        seed: of the choice of those images.
        device: where to run.
    """

    def __init__(
        self,
        supernet: SuperNet,
        data: ImageData,
        *,
        calibration_images: int = 256,
        validation_images: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._supernet = supernet.to(device)
        self._data = data
        self._device = device
        generator = torch.Generator().manual_seed(seed)
        chosen = data.train.select(torch.randperm(len(data.train), generator=generator)[:calibration_images])
        drawn_N = torch.randperm(len(data.validation), generator=generator)[:validation_images]
        self._validation = data.validation if validation_images is None else data.validation.select(drawn_N)
        self._calibration = [x_BCHW for x_BCHW, _ in data.batches(chosen, CALIBRATION_BATCH, device=device)]

    def subnet(self, architecture: Architecture) -> nn.Module:
        """The sub-network as a plain network of its own, batch norms recalibrated, in evaluation mode."""
        with suitable_threads(self._data.input_shape):
            network = self._supernet.subnet(architecture)
            recalibrate_batch_norm(network, self._calibration)
        return network

    def errors(self, architectures: Sequence[Architecture]) -> list[float]:
        """The share of the validation part that each sub-network classifies wrongly, from 0 to 1."""
        data, device = self._data, self._device
        with suitable_threads(data.input_shape):
            return [1 - accuracy(self.subnet(one), data, self._validation, device=device) for one in architectures]
