"""What must hold before a training begins, so that what cannot be done is refused before anything slow."""

import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import PatchEmbed
from hwnas.training.data import Part
from hwnas.training.distributed import Processes
from hwnas.training.scalars import summary_writer
from hwnas.training.settings import TrainingSettings

__all__ = ["check_settings", "smaller_steps"]


def check_settings(
    settings: TrainingSettings, part: Part, *, network: nn.Module, device: torch.device, processes: Processes
) -> None:
    """Refuses what `settings` cannot do here.

    Args:
        settings: how to train.
        part: the images to train on, without those that a method holds out.
        network: what is to be trained.
        device: where.
        processes: those that share each batch.

    Raises:
        SettingsError: a batch larger than the data, or that the processes cannot share; fp16 on a CPU; growing images for
            a transformer; RandAugment of images that are neither bytes nor from 0 to 1; TensorBoard without its library.
    """
    if len(part) < settings.batch_size:
        raise SettingsError(
            "training.batch_size",
            f"must be at most {len(part)}, the images to train on",
            came=f"{settings.batch_size} came",
        )
    rows = processes.rows(settings.batch_size)
    if (rows.stop - rows.start) % settings.accumulation:
        raise SettingsError(
            "training.accumulation",
            f"must divide {rows.stop - rows.start}, the images of a process in a step",
            came=f"{settings.accumulation} came",
        )
    if settings.first_resolution < 1 and any(isinstance(layer, PatchEmbed) for layer in network.modules()):
        raise SettingsError(
            "training.first_resolution",
            "must be 1 for a transformer, whose positions are those of one resolution",
            came=f"{settings.first_resolution} came",
        )
    if settings.precision == "fp16" and device.type == "cpu":
        raise SettingsError("training.precision", "must be fp32 or bf16 on a CPU", came="fp16 came")
    images = part.images_NCHW
    if settings.augmentation == "randaugment" and images.is_floating_point():
        low, high = (float(value) for value in images.aminmax())
        if low < 0 or high > 1:
            raise SettingsError(
                "training.augmentation",
                "must be none or standard for images outside 0 to 1",
                came=f"randaugment came for images from {low:.3g} to {high:.3g}",
            )
    if settings.tensorboard:
        summary_writer()


def smaller_steps(settings: TrainingSettings, processes: Processes) -> str:
    """What to set, and `check_settings` allows, so that a step takes less memory."""
    batch_size, accumulation = settings.batch_size, settings.accumulation
    unit = processes.count * accumulation
    smaller = batch_size // 2 // unit * unit
    share = batch_size // processes.count
    parts = next((parts for parts in range(accumulation + 1, share // 2 + 1) if share % parts == 0), None)
    advice = [f"training.batch_size = {smaller}"] if smaller > 1 else []
    advice += [f"training.accumulation = {parts}"] if parts else []
    return f"Set {' or '.join(advice)}" if advice else "Use a device with more memory"
