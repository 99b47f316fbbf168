"""The optimizer of a training, and which weights it decays."""

from typing import Any

import torch
from torch import nn

from hwnas.training.settings import TrainingSettings

__all__ = ["make_optimizer", "parameter_groups"]


def make_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer of the settings over all parameters of `network`."""
    groups = parameter_groups(network, settings.weight_decay)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
    )


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of `network`: weights of two or more dimensions decay; biases, norms and positions do not."""
    named = dict(network.named_parameters())
    decayed = {name for name, parameter in named.items() if parameter.ndim > 1 and name.endswith("weight")}
    return [
        {"params": [named[name] for name in named if name in decayed], "weight_decay": weight_decay},
        {"params": [named[name] for name in named if name not in decayed], "weight_decay": 0.0},
    ]
