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
from hwnas.training.memory import in_fitting_batches, within_memory
from hwnas.training.threads import one_thread, suitable_threads

__all__ = [
    "SubnetEvaluator",
    "accuracy",
    "calibration_batches",
    "draw_parts",
    "evaluation_batch_size",
    "predict_logits",
    "recalibrate_batch_norm",
]

LARGEST_BATCH: Final = 512
GPU_PIXELS: Final = 2**23
"""Pixels a channel of a batch on a GPU, at most about."""
CPU_PIXELS: Final = 2**16
"""The same on a CPU: activations of larger ones leave the caches, at half the speed."""


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
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        for x_BCHW in batches_BCHW:
            network(x_BCHW)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.eval()


@torch.no_grad()
def predict_logits(network: nn.Module, data: ImageData, part: Part, *, device: torch.device | str = "cpu") -> Tensor:
    """The logits (N, K) of `network`, in evaluation mode, for all images of `part`; on the CPU.

    Raises:
        TrainingError: the device's memory does not suffice for one image.
    """
    network.eval()

    def predict(batch_size: int) -> Tensor:
        return torch.cat([network(x_BCHW).cpu() for x_BCHW, _ in data.batches(part, batch_size, device=device)])

    return in_fitting_batches(predict, evaluation_batch_size(data, device), device=device)


def evaluation_batch_size(data: ImageData, device: torch.device | str) -> int:
    """How many images are passed through a network at once where no gradients are wanted."""
    return _images_within(CPU_PIXELS if torch.device(device).type == "cpu" else GPU_PIXELS, data)


def calibration_batches(images_NCHW: Tensor, batch_size: int) -> list[Tensor]:
    """Batches of at most `batch_size` images and as even as can be, since each counts the same for the statistics."""
    return list(images_NCHW.tensor_split(math.ceil(len(images_NCHW) / batch_size)))


def _images_within(pixels: int, data: ImageData) -> int:
    return max(16, min(LARGEST_BATCH, pixels // math.prod(data.input_shape[1:])))


def draw_parts(
    data: ImageData, calibration_images: int, validation_images: int | None, *, seed: int
) -> tuple[Part, Part]:
    """Random images of the train part, and of the validation part (None: all of it as it is): always the same of a seed."""
    generator = torch.Generator().manual_seed(seed)
    calibration = data.train.select(torch.randperm(len(data.train), generator=generator)[:calibration_images])
    drawn_N = torch.randperm(len(data.validation), generator=generator)[:validation_images]
    return calibration, data.validation if validation_images is None else data.validation.select(drawn_N)


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

    Raises:
        TrainingError: the device's memory does not suffice.
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
        self._data = data
        self._device = device
        chosen, self._validation = draw_parts(data, calibration_images, validation_images, seed=seed)
        with within_memory(
            f"Evaluating on {device}",
            came="the supernet and its calibration images do not",
            do="Set calibration_images lower, or use a device with more memory",
        ):
            self._supernet = supernet.to(device)
            self._calibration_NCHW = data.normalized(chosen.images_NCHW, device)

    def subnet(self, architecture: Architecture) -> nn.Module:
        """The sub-network as a plain network of its own, batch norms recalibrated, in evaluation mode."""
        data, images_NCHW = self._data, self._calibration_NCHW
        with suitable_threads(data.input_shape):
            network = self._supernet.subnet(architecture)
            in_fitting_batches(
                lambda batch_size: recalibrate_batch_norm(network, calibration_batches(images_NCHW, batch_size)),
                _images_within(GPU_PIXELS, data),
                device=self._device,
            )
        return network

    def errors(self, architectures: Sequence[Architecture]) -> list[float]:
        """The share of the validation part that each sub-network classifies wrongly, from 0 to 1.

        It depends on the sub-network alone, not on what was scored before it. On a CPU it is found with one thread: with
        more, the last digits of the batch norms' statistics, and with them now and then the class of an image, would
        depend on how many there are. Several sub-networks at once, in processes of their own, are faster anyway.
        """
        data, device = self._data, self._device
        with one_thread():
            return [1 - accuracy(self.subnet(one), data, self._validation, device=device) for one in architectures]
