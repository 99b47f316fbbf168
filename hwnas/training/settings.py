"""How a network or a supernet is trained: the section [training] of a run.toml."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from hwnas.errors import SettingsError, UnknownNameError

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "PRECISIONS", "TrainingSettings"]

OPTIMIZERS: Final = ("sgd", "adamw")
PRECISIONS: Final = ("fp32", "bf16", "fp16")
AUGMENTATIONS: Final = ("none", "standard", "randaugment")

NOT_OF_THE_RESULT: Final = ("compile", "tensorboard")

LIMITS: Final = {
    "epochs": (1, math.inf),
    "batch_size": (2, math.inf),
    "accumulation": (1, 4096),
    "learning_rate": (1e-9, 1e3),
    "warmup_epochs": (0, math.inf),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 10),
    "clip_norm": (0, math.inf),
    "label_smoothing": (0, 0.9999),
    "ema_decay": (0, 0.999999),
    "first_resolution": (0.25, 1),
    "growth_start": (0, 1),
    "growth_end": (0, 1),
    "drop_path": (0, 0.9),
    "mixup": (0, 10),
    "cutmix": (0, 10),
}


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        method: the way to train a supernet (see METHODS).
        method_options: its hyperparameters.
        epochs: passes over the train part.
        batch_size: images in a step, over all processes.
        accumulation: parts that a batch is cut into, whose gradients are summed: less memory, the same step but for the
            batch norms' statistics; of images that a method holds out it takes a part's worth.
        optimizer: "sgd" with Nesterov's momentum, or "adamw".
        learning_rate: the highest, after the warm-up; it falls to 0 as a cosine.
        warmup_epochs: epochs in which it rises from 0.
        momentum: of SGD; the first β of AdamW.
        weight_decay: on weights of convolutions and linear layers; not on biases and norms.
        clip_norm: the largest norm of the gradients; 0: any.
        label_smoothing: share of the target that is spread over all classes.
        augmentation: "none"; "standard": shifted by up to an eighth and, where the data allow it, mirrored;
            "randaugment": that and RandAugment.
        mixup, cutmix: parameter of the Beta distribution of the mixing weight (Zhang et al., ICLR 2018; Yun et al., ICCV
            2019); 0: off; with both on, each batch is mixed by one of them.
        first_resolution: side of the images at the start, as a share of their own, to all of which it grows in steps of
            4 pixels (Tan & Le, EfficientNetV2, ICML 2021).
        growth_start, growth_end: the parts of the training that are done when it begins and when it has ended to grow.
        drop_path: probability that the last residual block of a transformer is left out for an image, growing to it from
            0 at the first (Huang et al., Deep Networks with Stochastic Depth, ECCV 2016).
        ema_decay: of the moving average of all weights, which is then what is evaluated and kept; 0: none.
        precision: of the passes: "fp32", or "bf16" or "fp16" by autocast (fp16 on GPUs only).
        channels_last: whether images are stored with their channels last, which is faster on most processors.
        compile: whether layers are compiled by torch.compile.
        tensorboard: whether scalars are written for TensorBoard (`pip install hwnas[tensorboard]`).
    """

    method: str = "sandwich"
    method_options: Mapping[str, int | float] = field(default_factory=dict)
    epochs: int = 60
    batch_size: int = 64
    accumulation: int = 1
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    warmup_epochs: float = 2.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    augmentation: str = "standard"
    mixup: float = 0.0
    cutmix: float = 0.0
    first_resolution: float = 1.0
    growth_start: float = 0.0
    growth_end: float = 0.75
    drop_path: float = 0.0
    ema_decay: float = 0.0
    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"training.{name}", f"must be from {low} to {high}", came=f"{value} came")
        for name, known in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS), ("augmentation", AUGMENTATIONS)):
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known, where="training")
        if self.growth_start > self.growth_end:
            raise SettingsError(
                "training.growth_start",
                f"must be at most growth_end={self.growth_end}",
                came=f"{self.growth_start} came",
            )
        if self.batch_size % self.accumulation:
            raise SettingsError(
                "training.accumulation",
                f"must divide batch_size={self.batch_size}",
                came=f"{self.accumulation} came",
            )

    def identity(self) -> dict[str, Any]:
        """The fields that trained weights follow from: all but `compile` and `tensorboard`."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_OF_THE_RESULT}

    def for_finetuning(self, epochs: int) -> "TrainingSettings":
        """These settings for `epochs` of weights that are trained already: no warm-up, and full resolution throughout."""
        return replace(self, epochs=epochs, warmup_epochs=0.0, first_resolution=1.0)

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs: a linear warm-up, then half a cosine to 0."""
        warmup = min(self.warmup_epochs, self.epochs / 2)
        if epoch < warmup:
            return self.learning_rate * min(1.0, (epoch + 1e-2) / warmup)
        progress = (epoch - warmup) / max(self.epochs - warmup, 1e-9)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
