"""Training one plain network: a winner from the weights that it inherits, or any architecture from scratch."""

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace
from hwnas.training.data import ImageData, Part
from hwnas.training.distributed import joined, launched_processes, own_device
from hwnas.training.engine import Training
from hwnas.training.methods import Plain
from hwnas.training.preconditions import check_settings
from hwnas.training.settings import TrainingSettings

__all__ = ["check_network_training", "train_network"]

logger = logging.getLogger(__name__)


def check_network_training(
    space: SearchSpace, data: ImageData, settings: TrainingSettings, *, device: torch.device
) -> None:
    """Refuses within seconds what `train_network` of any network of `space` would refuse. Raises SettingsError."""
    with torch.device("meta"):
        network = space.build(space.smallest())
    check_settings(settings, data.train, network=network, device=device, processes=launched_processes())


def train_network(
    network: nn.Module,
    data: ImageData,
    settings: TrainingSettings,
    *,
    part: Part | None = None,
    teacher: nn.Module | None = None,
    distillation: float = 0.5,
    checkpoint: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    stage: str = "training",
    on_progress: OnProgress = silent,
) -> nn.Module:
    """Trains a copy of `network`, or goes on with the one at `checkpoint`.

    Args:
        network: (B, C, H, W) -> (B, num_classes), with the weights to start from; it is not changed.
        data: whose normalisation and classes.
        settings: how; the method is not read.
        part: the images; None: the train part.
        teacher: a network whose predictions are learnt too (Hinton et al., 2015); None: the labels alone.
        distillation: the weight of the teacher's predictions, from 0 to 1.
        checkpoint: where the state is kept, every 15 s and at the end; None: nowhere.
        identity: what the network is, for the checkpoint.
        seed: of order and augmentation.
        device: where to train; None: a GPU where there is one.
        stage: what `on_progress` is told.
        on_progress: told of loss and accuracy.

    Returns:
        The trained copy in evaluation mode on the CPU.

    Raises:
        RunError, SettingsError, TrainingError, StoredFileError: as `train_supernet`.
    """
    target = own_device(device)
    with joined(target) as processes:
        training = Training(
            copy.deepcopy(network),
            data,
            settings,
            Plain(teacher=copy.deepcopy(teacher), distillation=distillation),
            part=part,
            identity=identity,
            seed=seed,
            device=target,
            processes=processes,
        )
        if checkpoint is not None and checkpoint.exists():
            training.load(checkpoint)
            if processes.is_first:
                logger.info("Going on from %s after %d steps", checkpoint, training.steps_done)
        training.run(checkpoint, stage=stage, on_progress=on_progress)
    return training.trained().cpu().eval()
