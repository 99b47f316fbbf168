"""Training a supernet by the sandwich rule with in-place distillation (BigNAS, Yu et al., ECCV 2020).

Each step trains the largest sub-network on the labels, and the smallest and two random ones on the largest one's
predictions; their gradients are summed. An epoch's order, augmentation and random sub-networks follow from the seed and
the epoch's number alone, so a run that is stopped and gone on with does as one that was not.
"""

import io
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.errors import RunError, SettingsError, StoredFileError, TrainingError
from hwnas.files import replacing
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, SuperNet
from hwnas.training.data import ImageData
from hwnas.training.threads import suitable_threads

__all__ = ["SupernetTraining", "TrainingSettings", "load_supernet", "train_supernet"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
CHECKPOINT_SECONDS: Final = 15.0


@dataclass(frozen=True)
class TrainingSettings:
    """How to train a supernet.

    Attributes:
        epochs: passes over the train part.
        batch_size: images in a step.
        learning_rate: the highest, after the warm-up; it falls to 0 as a cosine.
        warmup_epochs: epochs in which it rises from 0.
        momentum: of SGD with Nesterov's momentum.
        weight_decay: on weights of convolutions and linear layers; not on biases and batch norms.
        label_smoothing: of the largest sub-network's labels.
        random_subnets: random sub-networks a step, beside the largest and the smallest.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup_epochs: float = 2.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    random_subnets: int = 2

    def __post_init__(self) -> None:
        limits = {
            "epochs": (1, math.inf),
            "batch_size": (2, math.inf),
            "learning_rate": (1e-9, 1e3),
            "warmup_epochs": (0, math.inf),
            "momentum": (0, 0.9999),
            "weight_decay": (0, 1),
            "label_smoothing": (0, 0.9999),
            "random_subnets": (0, 64),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"training.{name}", f"must be from {low} to {high}", came=f"{value} came")


def train_supernet(
    space: SearchSpace,
    data: ImageData,
    *,
    checkpoint: Path,
    settings: TrainingSettings | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    on_progress: OnProgress = silent,
) -> SuperNet:
    """Trains a supernet, or goes on with the one at `checkpoint`, and returns it.

    Args:
        space: whose supernet.
        data: of the space's input shape and number of classes.
        checkpoint: where it is kept, every 15 s and at the end.
        settings: how to train.
        seed: of weights, order, augmentation and sampled sub-networks.
        device: where to train; None: a GPU where there is one.
        on_progress: told of each epoch.

    Raises:
        RunError: the checkpoint is of another space, data or settings.
        TrainingError: the loss is not a number any more; the checkpoint is the last good one.
        StoredFileError: the checkpoint is broken or could not be written.
    """
    training = SupernetTraining(space, data, settings or TrainingSettings(), seed=seed, device=device)
    if checkpoint.exists():
        training.load(checkpoint)
        if training.epoch == training.settings.epochs:
            logger.info("Nothing to train: %s has all %d epochs", checkpoint, training.epoch)
            return training.supernet
        logger.info("Going on after epoch %d of %d from %s", training.epoch, training.settings.epochs, checkpoint)
    saved = time.monotonic()
    while training.epoch < training.settings.epochs:
        loss = training.run_epoch()
        if time.monotonic() - saved > CHECKPOINT_SECONDS or training.epoch == training.settings.epochs:
            training.save(checkpoint)
            saved = time.monotonic()
        on_progress("training", training.epoch, training.settings.epochs, f"loss {loss:.3f}")
    return training.supernet


class SupernetTraining:
    """The state of a training: supernet, optimizer and how many epochs are done.

    Args:
        space: whose supernet.
        data: of the space's input shape and number of classes.
        settings: how to train.
        seed: of weights, order, augmentation and sampled sub-networks.
        device: where to train; None: a GPU where there is one.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: ImageData,
        settings: TrainingSettings,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        if len(data.train) < settings.batch_size:
            raise SettingsError(
                "training.batch_size",
                f"must be at most {len(data.train)}, the images of the train part of {data.name}",
                came=f"{settings.batch_size} came",
            )
        self.space = space
        self.data = data
        self.settings = settings
        self.seed = seed
        self.epoch = 0
        self.device = torch.device(device or best_device())
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.supernet = space.supernet().to(self.device)
        self.supernet.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            parameter_groups(self.supernet, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must be of to be gone on with."""
        return {
            **self.space.identity(),
            "data": self.data.name,
            "data_digest": self.data.digest,
            "seed": self.seed,
            "settings": asdict(self.settings),
        }

    def run_epoch(self) -> float:
        """One pass over the train part; returns the mean loss of the largest sub-network. Raises TrainingError."""
        entropy = np.random.SeedSequence([self.seed, self.epoch])
        generator = torch.Generator().manual_seed(int(entropy.generate_state(1)[0]))
        rng = np.random.default_rng([self.seed, self.epoch])
        batch_size = self.settings.batch_size
        steps = len(self.data.train) // batch_size
        self.supernet.train()
        losses = []
        with suitable_threads(self.data.input_shape):
            batches = self.data.batches(self.data.train, batch_size, device=self.device, generator=generator)
            for step, (x_BCHW, labels_B) in enumerate(batches):
                rate = learning_rate_at(self.epoch + step / steps, self.settings)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                losses.append(self.step(x_BCHW, labels_B, rng))
        loss = torch.stack(losses).mean().item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"Training, epoch {self.epoch + 1}",
                "must have a finite loss",
                came=f"it is {loss}; the last checkpoint is kept",
                do="Lower training.learning_rate",
            )
        self.epoch += 1
        return loss

    def step(self, x_BCHW: Tensor, labels_B: Tensor, rng: np.random.Generator) -> Tensor:
        """One sandwich; returns the largest sub-network's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        self.supernet.activate(self.space.largest())
        logits_BK = self.supernet(x_BCHW)
        loss = nn.functional.cross_entropy(logits_BK, labels_B, label_smoothing=self.settings.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        target_BK = logits_BK.detach().softmax(1)
        for architecture in (
            self.space.smallest(),
            *(self.space.sample(rng) for _ in range(self.settings.random_subnets)),
        ):
            self.supernet.activate(architecture)
            nn.functional.cross_entropy(self.supernet(x_BCHW), target_BK).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def save(self, path: Path) -> None:
        """Writes the state atomically. Raises StoredFileError."""
        state = {
            "schema_version": SCHEMA_VERSION,
            "identity": self.identity,
            "epoch": self.epoch,
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with replacing(path) as scratch:
            scratch.write_bytes(buffer.getbuffer())

    def load(self, path: Path) -> None:
        """Goes on from what `save` wrote. Raises RunError, StoredFileError."""
        state = read_checkpoint(path)
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                raise RunError(
                    f"Checkpoint {path}",
                    f"must be of {name}={value}",
                    came=f"it is of {name}={state['identity'].get(name)}",
                    do="Choose another output folder, or delete the checkpoint to train anew",
                )
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def load_supernet(space: SearchSpace, path: Path) -> SuperNet:
    """The supernet of `space` at `path`, on the CPU. Raises RunError, StoredFileError."""
    state = read_checkpoint(path)
    for name, value in space.identity().items():
        if state["identity"].get(name) != value:
            raise RunError(
                f"Checkpoint {path}", f"must be of {name}={value}", came=f"it is of {state['identity'].get(name)}"
            )
    supernet = space.supernet()
    supernet.load_state_dict(state["supernet"])
    return supernet


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that `SupernetTraining.save` wrote, on the CPU. Raises StoredFileError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StoredFileError(
            str(path), "must be a supernet's checkpoint", came="it does not exist", do="Train it: hwnas train RUN"
        ) from error
    except Exception as error:  # torch.load raises errors of many kinds for a broken file
        raise StoredFileError(
            str(path), "must be a supernet's checkpoint", came="it is broken", do="Delete it to train anew"
        ) from error
    if not isinstance(state, dict) or state.get("schema_version") != SCHEMA_VERSION or "identity" not in state:
        raise StoredFileError(
            str(path), f"must be a supernet's checkpoint of schema_version {SCHEMA_VERSION}", came="it is not"
        )
    return state


def best_device() -> str:
    """A GPU where torch has one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def learning_rate_at(epoch: float, settings: TrainingSettings) -> float:
    """The learning rate after `epoch` epochs: a linear warm-up, then half a cosine to 0."""
    warmup = min(settings.warmup_epochs, settings.epochs / 2)
    if epoch < warmup:
        return settings.learning_rate * (epoch + 1e-2) / warmup
    progress = (epoch - warmup) / max(settings.epochs - warmup, 1e-9)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of `network` with weight decay on those of two or more dimensions only."""
    parameters = list(network.parameters())
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
