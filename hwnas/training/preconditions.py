"""What must hold before a training begins, so that what cannot be done is refused before anything slow."""

import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import PatchEmbed
from hwnas.training.data import Part
from hwnas.training.distributed import Processes
from hwnas.training.scalars import summary_writer
from hwnas.training.settings import TrainingSettings

__all__ = ["check_settings"]


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
            a transformer; TensorBoard without its library.
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
    if settings.tensorboard:
        summary_writer()
