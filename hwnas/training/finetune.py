"""Training a plain network for a while from the weights that it has."""

import copy
import math

import numpy as np
import torch
from torch import nn

from hwnas.training.data import ImageData, Part
from hwnas.training.supernet import best_device, parameter_groups
from hwnas.training.threads import suitable_threads

__all__ = ["finetune"]


def finetune(
    network: nn.Module,
    data: ImageData,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 0.1,
    label_smoothing: float = 0.1,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> nn.Module:
    """Trains `network` by SGD with a cosine schedule on the train and the validation part together.

    The search is over when its winners are trained, so the images that it chose them by may teach them too; the test part
    stays unseen.

    Args:
        network: (B, C, H, W) -> (B, num_classes), with the weights to start from; it is not changed.
        data: whose train and validation parts are trained on.
        epochs: passes over them; with 0 the network is returned as it is.
        batch_size: images in a step.
        learning_rate: at the start; it falls to 0.
        label_smoothing: of the labels.
        seed: of order and augmentation.
        device: where to train; None: a GPU where there is one.

    Returns:
        A trained copy in evaluation mode on the CPU.
    """
    target = torch.device(device or best_device())
    student = copy.deepcopy(network).to(target).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(parameter_groups(student, 1e-4), lr=learning_rate, momentum=0.9, nesterov=True)
    both = Part(
        torch.cat([data.train.images_NCHW, data.validation.images_NCHW]),
        torch.cat([data.train.labels_N, data.validation.labels_N]),
    )
    batch_size = min(batch_size, len(both))
    steps = epochs * (len(both) // batch_size)
    step = 0
    student.train()
    with suitable_threads(data.input_shape):
        for epoch in range(epochs):
            generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
            for x_BCHW, labels_B in data.batches(both, batch_size, device=target, generator=generator):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
                optimizer.zero_grad(set_to_none=True)
                loss = nn.functional.cross_entropy(student(x_BCHW), labels_B, label_smoothing=label_smoothing)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
    return student.cpu().eval()
