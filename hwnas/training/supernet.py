"""Training a supernet, and reading a trained one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from hwnas.errors import RunError, SpaceError
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, SuperNet
from hwnas.training.checkpoint import check_identity, read_checkpoint
from hwnas.training.data import ImageData, split_part
from hwnas.training.distributed import Processes, joined, launched_processes, own_device
from hwnas.training.engine import Training
from hwnas.training.methods import TrainingMethod, make_method
from hwnas.training.preconditions import check_settings
from hwnas.training.settings import TrainingSettings

__all__ = ["check_trainable", "load_supernet", "supernet_training", "train_supernet"]

logger = logging.getLogger(__name__)


def train_supernet(
    space: SearchSpace,
    data: ImageData,
    *,
    checkpoint: Path,
    settings: TrainingSettings | None = None,
    method: TrainingMethod | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    on_progress: OnProgress = silent,
) -> SuperNet:
    """Trains a supernet, or goes on with the one at `checkpoint`, and returns it.

    Started by torchrun, each process trains on its share of every batch, and the first writes the checkpoint.

    Args:
        space: whose supernet.
        data: of the space's input shape and number of classes.
        checkpoint: where it is kept, every 15 s and at the end.
        settings: how to train.
        method: the way to train, where it needs more than `settings` can say; None: the one that they name.
        seed: of weights, order, augmentation and sampled sub-networks.
        device: where to train; None: a GPU where there is one.
        on_progress: told of loss and accuracy.

    Raises:
        RunError: the checkpoint is of another space, data or settings.
        SettingsError: a batch larger than the data, and what else the settings cannot do here.
        SpaceError: the space does not allow the method, or makes no SuperNet.
        TrainingError: the loss is not a number any more (the checkpoint is the last good one), the memory does not
            suffice, or another process has ended.
        StoredFileError: the checkpoint is broken or could not be written.
    """
    target = own_device(device)
    with joined(target) as processes:
        training = supernet_training(
            space, data, settings or TrainingSettings(), method, seed=seed, device=target, processes=processes
        )
        if checkpoint.exists():
            training.load(checkpoint)
            done = training.steps_done == training.total_steps
            if processes.is_first:
                logger.info(
                    "Nothing to train: %s has all %d steps" if done else "Going on from %s after %d steps",
                    checkpoint,
                    training.steps_done,
                )
        training.run(checkpoint, on_progress=on_progress)
    return cast("SuperNet", training.trained())


def supernet_training(
    space: SearchSpace,
    data: ImageData,
    settings: TrainingSettings,
    method: TrainingMethod | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
) -> Training:
    """The training of a new supernet of `space`; arguments as for `train_supernet`."""
    method = method or make_method(settings.method, space, options=settings.method_options)
    return Training(
        _new_supernet(space, method, seed),
        data,
        settings,
        method,
        identity=space.identity(),
        seed=seed,
        device=device,
        processes=processes,
    )


def check_trainable(
    space: SearchSpace,
    data: ImageData,
    settings: TrainingSettings,
    *,
    method: TrainingMethod,
    device: torch.device | str,
) -> None:
    """Refuses within seconds what `train_supernet` with these arguments would refuse.

    Raises:
        SettingsError, SpaceError, DataError: as `train_supernet`.
    """
    part = data.train
    if method.held_out_share > 0:
        part, _ = split_part(part, method.held_out_share, 0)
    supernet = _new_supernet(space, method, 0)
    check_settings(settings, part, network=supernet, device=torch.device(device), processes=launched_processes())


def _new_supernet(space: SearchSpace, method: TrainingMethod, seed: int) -> SuperNet:
    """A supernet that `method` can train. Raises SpaceError."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        supernet: object = space.supernet()
    if not isinstance(supernet, SuperNet):
        raise SpaceError(
            f"The space {space.name}", "must make a SuperNet", came=f"it makes an object of {type(supernet).__name__}"
        )
    method.check(supernet, torch.zeros(1, *space.input_shape))
    return supernet


def load_supernet(space: SearchSpace, path: Path, *, trained_by: Mapping[str, Any] | None = None) -> SuperNet:
    """The trained supernet of `space` at `path`, on the CPU.

    Args:
        space: whose supernet.
        path: its checkpoint.
        trained_by: what it must have been trained by, as `training_identity` says it; None: anything.

    Raises:
        RunError: it is of something else, or its training has not ended.
        StoredFileError: it is not there, or broken.
    """
    state: Mapping[str, Any] = read_checkpoint(path)
    check_identity(path, state["identity"], {**space.identity(), **(trained_by or {})})
    if state["steps_done"] < state["steps"]:
        raise RunError(
            f"Checkpoint {path}",
            f"must have all {state['steps']} steps",
            came=f"it has {state['steps_done']}",
            do="Go on with it: hwnas train RUN",
        )
    supernet = space.supernet()
    supernet.load_state_dict(state["network"] if state["average"] is None else state["average"])
    return supernet
