"""What is done to images and targets before a training step.

The draws of a batch follow from one generator and are made for the batch of all processes, so that the shift and the
mirroring of an image do not depend on how many processes there are.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.training.settings import TrainingSettings

__all__ = ["augment", "resized", "shifted", "targets"]

RESOLUTION_STEP: Final = 4
GROUP: Final = 8
"""Neighbouring images that RandAugment treats alike: its operations are chosen a group at a time."""


def augment(
    images_BCHW: Tensor, settings: TrainingSettings, *, flips: bool, generator: torch.Generator, rows: slice, total: int
) -> Tensor:
    """Augments raw images, uint8 or float, as `settings.augmentation` says.

    Args:
        images_BCHW: the images of this process.
        settings: how.
        flips: whether a mirrored image is still of its class.
        generator: of the draws, on the CPU.
        rows: where in the whole batch these images stand.
        total: images in the whole batch.
    """
    if settings.augmentation == "none":
        return images_BCHW
    images_BCHW = shifted(images_BCHW, flips=flips, generator=generator, rows=rows, total=total)
    if settings.augmentation == "randaugment":
        seed = int(torch.randint(2**31, (), generator=generator))
        images_BCHW = _rand_augmented(images_BCHW, seed=seed, first=rows.start)
    return images_BCHW


def shifted(images_BCHW: Tensor, *, flips: bool, generator: torch.Generator, rows: slice, total: int) -> Tensor:
    """Shifts each image by up to an eighth of its side (zeros come in) and, if `flips`, mirrors half of them."""
    _, _, height, width = images_BCHW.shape
    device = images_BCHW.device
    shifts = []
    for side in (height, width):
        reach = max(1, round(side / 8))
        shifts.append(torch.randint(-reach, reach + 1, (total,), generator=generator)[rows].to(device))
    rows_BH = torch.arange(height, device=device) + shifts[0][:, None]
    columns_BW = torch.arange(width, device=device) + shifts[1][:, None]
    inside_BHW = ((rows_BH >= 0) & (rows_BH < height))[:, :, None] & ((columns_BW >= 0) & (columns_BW < width))[:, None]
    if flips:
        mirrored_B = (torch.rand(total, generator=generator)[rows] < 0.5).to(device)
        columns_BW = torch.where(mirrored_B[:, None], width - 1 - columns_BW, columns_BW)
    rows_BH, columns_BW = rows_BH.clamp(0, height - 1), columns_BW.clamp(0, width - 1)
    index_B = torch.arange(len(images_BCHW), device=device)[:, None, None]
    moved_BCHW = images_BCHW.permute(0, 2, 3, 1)[index_B, rows_BH[:, :, None], columns_BW[:, None]].permute(0, 3, 1, 2)
    return (moved_BCHW * inside_BHW[:, None]).contiguous(memory_format=torch.channels_last)


def _rand_augmented(images_BCHW: Tensor, *, seed: int, first: int) -> Tensor:
    """RandAugment (Cubuk et al., NeurIPS 2020), two operations of magnitude 9, drawn for each group of eight images."""
    from torchvision.transforms.v2 import RandAugment

    transform = RandAugment()
    as_bytes = images_BCHW if images_BCHW.dtype == torch.uint8 else (images_BCHW * 255).round().clamp(0, 255).byte()
    out = []
    position = 0
    with torch.random.fork_rng(devices=[]):
        while position < len(as_bytes):
            group = (first + position) // GROUP
            end = min(len(as_bytes), (group + 1) * GROUP - first)
            torch.manual_seed(int(np.random.SeedSequence([seed, group]).generate_state(1)[0]))
            out.append(transform(as_bytes[position:end]))
            position = end
    augmented_BCHW = torch.cat(out)
    return augmented_BCHW if images_BCHW.dtype == torch.uint8 else augmented_BCHW.to(images_BCHW.dtype) / 255


def resized(x_BCHW: Tensor, settings: TrainingSettings, progress: float) -> Tensor:
    """Images shrunk to the resolution that `settings` want when `progress` of the training, from 0 to 1, is done."""
    start, end = settings.growth_start, settings.growth_end
    grown = (progress - start) / (end - start) if end > start else float(progress >= end)
    share = settings.first_resolution + (1 - settings.first_resolution) * min(1.0, max(0.0, grown))
    sides = [
        min(side, max(RESOLUTION_STEP, round(side * share / RESOLUTION_STEP) * RESOLUTION_STEP))
        for side in x_BCHW.shape[2:]
    ]
    if sides == list(x_BCHW.shape[2:]):
        return x_BCHW
    return nn.functional.interpolate(x_BCHW, sides, mode="bilinear", antialias=True)


def targets(
    x_BCHW: Tensor, labels_B: Tensor, settings: TrainingSettings, *, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The images, mixed where the settings say so, and the probability of each class (B, K)."""
    target_BK = nn.functional.one_hot(labels_B, num_classes).to(x_BCHW.dtype)
    kinds = [name for name in ("mixup", "cutmix") if getattr(settings, name) > 0]
    if kinds:
        from torchvision.transforms import v2

        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        seed = int(torch.randint(2**31, (), generator=generator))
        make = v2.MixUp if kind == "mixup" else v2.CutMix
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            x_BCHW, target_BK = make(alpha=getattr(settings, kind), num_classes=num_classes)(x_BCHW, labels_B)
    if settings.label_smoothing:
        target_BK = target_BK * (1 - settings.label_smoothing) + settings.label_smoothing / num_classes
    return x_BCHW, target_BK
