"""The check that a sub-network is evaluated with batch-norm statistics of its own.

Without them a sub-network of a well-trained supernet guesses (Yu & Huang, Universally Slimmable Networks, ICCV 2019).

Shapes: B batch, C channels, H height, W width.
"""

from typing import Final

import torch
from torch import Tensor, nn

from hwnas.checks.subject import Skipped, SpaceUnderTest
from hwnas.spaces import Architecture
from hwnas.training import ImageData, Part, SubnetEvaluator

__all__ = ["check_recalibration"]

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
IMAGES: Final = 8
CLOSE: Final = 1e-3
"""How near statistics are to the true ones, as a share of the standard deviation, and how far from the supernet's."""


def check_recalibration(subject: SpaceUnderTest) -> str | Skipped:
    """The statistics of an evaluated sub-network are the true ones of the calibration images, not the supernet's.

    Raises SpaceError.
    """
    architectures = subject.networks[1:3]
    evaluator = SubnetEvaluator(subject.supernet, _data(subject), calibration_images=IMAGES)
    images_BCHW = subject.images(IMAGES)
    compared = 0

    @torch.no_grad()
    def fault(architecture: Architecture) -> str | None:
        nonlocal compared
        inherited = subject.supernet.subnet(architecture)
        unknown = [
            f"{type(layer).__name__} {name}"
            for name, layer in inherited.named_modules()
            if getattr(layer, "running_mean", None) is not None and not isinstance(layer, BatchNorm)
        ]
        if unknown:
            return f"{unknown[0]} keeps statistics and is no torch.nn.BatchNorm2d"
        before = _statistics(inherited)
        network = evaluator.subnet(architecture)
        after, truth = _statistics(network), _true_statistics(network, images_BCHW)
        for name, (mean_C, var_C) in after.items():
            if not _distance(truth[name], (mean_C, var_C)) <= CLOSE:
                return (
                    f"those of {name} are {_distance(truth[name], (mean_C, var_C)):.1e} deviations from the true ones"
                )
            if not _distance(truth[name], before[name]) > CLOSE:
                return f"those of {name} were the true ones before, so the supernet shows nothing"
        compared += len(after)
        return None

    must = "must evaluate sub-networks with batch-norm statistics of the calibration images"
    subject.require(architectures, must, fault)
    return f"{compared} batch norms of {len(architectures)} networks" if compared else Skipped("it has no batch norm")


def _data(subject: SpaceUnderTest) -> ImageData:
    """Random images with a mean of 0 and a deviation of 1, which ImageData leaves as they are."""
    part = Part(subject.images(IMAGES), torch.zeros(IMAGES, dtype=torch.int64))
    channels = subject.space.input_shape[0]
    names = tuple(f"class {index}" for index in range(subject.space.num_classes))
    return ImageData("random images", part, part, part, names, (0.0,) * channels, (1.0,) * channels, flips=False)


def _layers(network: nn.Module) -> dict[str, BatchNorm]:
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, BatchNorm) and layer.running_mean is not None
    }


def _statistics(network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The running means and variances of every batch norm, by its name."""
    return {
        name: (layer.running_mean.clone(), layer.running_var.clone())
        for name, layer in _layers(network).items()
        if layer.running_mean is not None and layer.running_var is not None
    }


def _true_statistics(network: nn.Module, images_BCHW: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """The means and variances of what every batch norm is given, in a pass that normalises by the batch itself."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    layers = _layers(network)
    for name, layer in layers.items():

        def note(_layer: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            x_CN = inputs[0].detach().double().transpose(0, 1).flatten(1)
            found[name] = (x_CN.mean(1), x_CN.var(1))

        layer.register_forward_pre_hook(note)
        layer.momentum = 0.0  # so that the pass leaves the statistics as they are
        layer.train()
    network(images_BCHW)
    return found


def _distance(true: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """How far means and deviations are apart, in true standard deviations."""
    true_mean_C, true_var_C = (value.double() for value in true)
    mean_C, var_C = (value.double() for value in other)
    deviation_C = true_var_C.clamp_min(1e-12).sqrt()
    apart = torch.maximum((mean_C - true_mean_C).abs(), (var_C.clamp_min(0).sqrt() - deviation_C).abs())
    return float((apart / deviation_C).max())
