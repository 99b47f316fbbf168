"""The training loop: one network, one way of training it, one state that a stopped run goes on from.

Everything random in a step follows from the seed, the epoch and the step's number alone, so a training that is stopped
anywhere and gone on with does, on the CPU, bit for bit as one that was not. Several processes may share each batch.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.errors import TrainingError
from hwnas.layers import Elastic, set_drop_path, synchronize
from hwnas.progress import OnProgress, silent
from hwnas.training.augmentation import augment, resized, targets
from hwnas.training.checkpoint import check_identity, read_checkpoint, training_identity, write_checkpoint
from hwnas.training.data import ImageData, Part, split_part
from hwnas.training.distributed import Processes
from hwnas.training.memory import within_memory
from hwnas.training.methods import Step, TrainingMethod
from hwnas.training.metrics import EpochMetrics
from hwnas.training.optimizers import make_optimizer
from hwnas.training.preconditions import check_settings, smaller_steps
from hwnas.training.scalars import Scalars
from hwnas.training.settings import TrainingSettings
from hwnas.training.threads import suitable_threads

__all__ = ["Training"]

CHECKPOINT_SECONDS: Final = 15.0
CHECKPOINT_SHARE: Final = 0.05
"""Of the time, at most, that goes into writing checkpoints."""

TOLD_SECONDS: Final = 0.5
MAX_RECOMPILATIONS: Final = 64


class Training:
    """A network that is being trained.

    Args:
        network: what is trained; it is moved to `device`.
        data: whose images, normalisation and classes.
        settings: how.
        method: which passes a step consists of.
        part: the images; None: the train part.
        identity: what the checkpoint is of, besides data, seed and settings.
        seed: of order, augmentation and whatever the method draws.
        device: where to train.
        processes: those that share each batch.

    Raises:
        SettingsError: as `check_settings`.
        TrainingError: the memory of the device does not suffice.
    """

    def __init__(
        self,
        network: nn.Module,
        data: ImageData,
        settings: TrainingSettings,
        method: TrainingMethod,
        *,
        part: Part | None = None,
        identity: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.processes = processes or Processes()
        self.settings = settings
        self.seed = seed
        self.steps_done = 0
        self._data = data
        self._method = method
        self._held: Part | None = None
        part = data.train if part is None else part
        if method.held_out_share > 0:
            part, self._held = split_part(part, method.held_out_share, seed)
        check_settings(settings, part, network=network, device=self.device, processes=self.processes)
        self.steps_per_epoch = len(part) // settings.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        with within_memory(
            f"Training on {self.device}",
            came="the weights and images do not",
            do="Choose a smaller space, or a device with more memory",
        ):
            self._part = part.to(self.device)
            self._held = None if self._held is None else self._held.to(self.device)
            self.network = network.to(self.device)
            if settings.channels_last:
                self.network.to(memory_format=torch.channels_last)
            method.to(self.device)
            self._average = self._new_average()
        set_drop_path(self.network, settings.drop_path)
        if self.processes.count > 1:
            synchronize(self.network)
        self._optimizer = make_optimizer(self.network, settings)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self._identity = {**(identity or {}), **training_identity(data, settings, seed)}
        self._metrics = EpochMetrics(self.device)
        if settings.compile:
            _compile(self.network)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.steps_done // self.steps_per_epoch

    def run(
        self,
        checkpoint: Path | None = None,
        *,
        until: int | None = None,
        stage: str = "training",
        on_progress: OnProgress = silent,
    ) -> None:
        """Trains to the end, or until so many steps are done, from where the state is.

        Args:
            checkpoint: where the state is kept, every 15 s and at the end; None: nowhere.
            until: steps; None: all.
            stage: what `on_progress` is told.
            on_progress: told of loss and accuracy.

        Raises:
            TrainingError: the loss or a weight is no number any more (the checkpoint is the last good one), the memory
                does not suffice, or another process has ended.
            StoredFileError: the checkpoint could not be written.
        """
        end = self.total_steps if until is None else min(until, self.total_steps)
        first = self.processes.is_first
        logs = None
        if checkpoint is not None and first and self.settings.tensorboard:
            logs = checkpoint.parent / "tensorboard" / checkpoint.stem
        told = saved = time.monotonic()
        pause = CHECKPOINT_SECONDS
        with (
            self._guarded(),
            suitable_threads(self._data.input_shape),
            _own_rng(self.device),
            Scalars(logs, self.steps_done) as scalars,
        ):
            while self.steps_done < end:
                self.run_step()
                now = time.monotonic()
                ended = self.steps_done == end
                if ended or self.steps_done % self.steps_per_epoch == 0 or now - told > TOLD_SECONDS:
                    loss, accuracy = self._tell(scalars)
                    told = now
                    note = f"epoch {self.epoch + (not ended)}/{self.settings.epochs}, loss {loss:.3f}, {accuracy:.1%}"
                    if first:
                        on_progress(stage, self.steps_done, self.total_steps, note)
                if ended or (checkpoint is not None and first and now - saved > pause):
                    self._check_loss()
                    self._check_weights()
                    if checkpoint is not None and first:
                        self.save(checkpoint)
                    saved = time.monotonic()
                    pause = max(CHECKPOINT_SECONDS, (saved - now) / CHECKPOINT_SHARE)

    def run_step(self) -> None:
        """One step: the method's passes over one batch, and one update of the weights."""
        epoch, number = divmod(self.steps_done, self.steps_per_epoch)
        progress = self.steps_done / self.total_steps
        seed = _seed(self.seed, epoch, number)
        torch.manual_seed(seed)
        self.network.train()
        if self._method.prepare(self.network, progress):
            self._optimizer.state.clear()
            self._average = self._new_average()
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.steps_done / self.steps_per_epoch)
        batch_size = self.settings.batch_size
        indices_B = self._order(len(self._part), epoch)[number * batch_size : (number + 1) * batch_size]
        x_BCHW, target_BK = self._batch(self._part, indices_B, progress, seed)
        self._optimizer.zero_grad(set_to_none=True)
        parts = self.settings.accumulation
        for x_bCHW, target_bK in zip(x_BCHW.chunk(parts), target_BK.chunk(parts), strict=True):
            step = self._step(x_bCHW, target_bK, progress, seed)
            trained = self._method.step(self.network, step)
            self._metrics.add(trained.loss, trained.logits_BK, target_bK)
        self._update()
        self._method.finish(self.network, step)
        self.steps_done += 1

    def save(self, path: Path) -> None:
        """Writes the state atomically. Raises StoredFileError."""
        state = {
            "steps_done": self.steps_done,
            "steps": self.total_steps,
            "network": self.network.state_dict(),
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "method": self._method.state_dict(),
            "seen": self._metrics.state_dict(),
        }
        write_checkpoint(path, self._identity, state)

    def load(self, path: Path) -> None:
        """Goes on from what `save` wrote. Raises RunError, StoredFileError."""
        state = read_checkpoint(path)
        check_identity(path, state["identity"], self._identity)
        self.network.load_state_dict(state["network"])
        if self._average is not None:
            for name, value in state["average"].items():
                self._average[name].copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._method.load_state_dict(state["method"])
        self._metrics.load_state_dict(state["seen"])
        self.steps_done = state["steps_done"]

    def trained(self) -> nn.Module:
        """The network with the weights to use: their moving average where the settings keep one."""
        if self._average is not None:
            self.network.load_state_dict(self._average)
        return self.network

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        settings = self.settings
        with (
            within_memory(
                f"Training on {self.device}",
                came=f"training.batch_size={settings.batch_size} in {settings.accumulation} part(s) does not",
                do=smaller_steps(settings, self.processes),
            ),
            self.processes.hearing(),
        ):
            yield

    def _tell(self, scalars: Scalars) -> tuple[float, float]:
        loss, accuracy = self._check_loss(), self._metrics.accuracy()
        if self.steps_done % self.steps_per_epoch == 0:
            scalars.write(
                self.steps_done,
                {
                    "loss": loss,
                    "accuracy": accuracy,
                    "learning_rate": self._optimizer.param_groups[0]["lr"],
                    **self._method.notes(),
                },
            )
            self._metrics.start()
        return loss, accuracy

    def _check_loss(self) -> float:
        loss = self._metrics.loss()
        if not math.isfinite(loss):
            raise self._diverged("must have a finite loss", f"it is {loss}")
        return loss

    def _check_weights(self) -> None:
        values = [value for value in self.network.state_dict().values() if value.is_floating_point()]
        if not torch.stack([value.isfinite().all() for value in values]).all():
            raise self._diverged("must have finite weights", "some are infinite or NaN")

    def _diverged(self, must: str, came: str) -> TrainingError:
        return TrainingError(
            f"Training, epoch {(self.steps_done - 1) // self.steps_per_epoch + 1}, step {self.steps_done}",
            must,
            came=f"{came}; the last checkpoint is kept",
            do="Lower training.learning_rate, or set training.clip_norm = 1.0",
        )

    def _step(self, x_BCHW: Tensor, target_BK: Tensor, progress: float, seed: int) -> Step:
        return Step(
            x_BCHW,
            target_BK,
            None if self._held is None else lambda: self._held_out_batch(progress, seed),
            np.random.default_rng(seed),
            progress,
            self._autocast,
            lambda loss: self._scaler.scale(loss / self.settings.accumulation),
            self.processes.average_gradients,
        )

    def _held_out_batch(self, progress: float, seed: int) -> tuple[Tensor, Tensor]:
        if self._held is None:
            raise RuntimeError("the method holds nothing out")
        generator = torch.Generator().manual_seed(seed + 1)
        most = len(self._held) // self.processes.count * self.processes.count
        size = min(self.settings.batch_size // self.settings.accumulation, most)
        indices_B = torch.randperm(len(self._held), generator=generator)[:size]
        return self._batch(self._held, indices_B, progress, seed + 1)

    def _batch(self, part: Part, indices_B: Tensor, progress: float, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        rows = self.processes.rows(len(indices_B))
        own = part.select(indices_B[rows])
        images_BCHW = augment(
            own.images_NCHW,
            self.settings,
            flips=self._data.flips,
            generator=generator,
            rows=rows,
            total=len(indices_B),
        )
        x_BCHW = resized(self._data.normalized(images_BCHW, self.device), self.settings, progress)
        labels_B = own.labels_N.to(self.device)
        x_BCHW, target_BK = targets(
            x_BCHW, labels_B, self.settings, num_classes=self._data.num_classes, generator=generator
        )
        wanted = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return x_BCHW.contiguous(memory_format=wanted), target_BK

    def _new_average(self) -> dict[str, Tensor] | None:
        return copy.deepcopy(self.network.state_dict()) if self.settings.ema_decay else None

    def _order(self, count: int, epoch: int) -> Tensor:
        return torch.randperm(count, generator=torch.Generator().manual_seed(_seed(self.seed, epoch)))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.settings.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.settings.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    @torch.no_grad()
    def _update(self) -> None:
        parameters = list(self.network.parameters())
        self.processes.average_gradients(parameters)
        if self.settings.clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            decay = min(self.settings.ema_decay, (1 + self.steps_done) / (10 + self.steps_done))
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
                else:
                    self._average[name].copy_(value)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextlib.contextmanager
def _own_rng(device: torch.device) -> Iterator[None]:
    """Within, torch's global generators may be seeded; afterwards they are as before."""
    devices: Sequence[int] = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def _compile(network: nn.Module) -> None:
    """Compiles each elastic layer by itself, since what runs between them changes from step to step; else the whole."""
    torch._dynamo.config.recompile_limit = MAX_RECOMPILATIONS
    layers: list[nn.Module] = [layer for layer in network.modules() if isinstance(layer, Elastic)]
    for layer in layers or [network]:
        layer.compile()
