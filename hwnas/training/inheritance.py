"""Scoring networks that are each trained by themselves, from their parent's weights or from scratch.

The Lamarckian half of LEMONADE (Elsken et al., ICLR 2019): what a parent has learnt its children start from, so that each
needs a short training only, and a lineage together has a long one. As in NASH (Elsken et al., 2017) each such training is
a warm restart: the learning rate falls to 0 as a cosine, from the top again (Loshchilov & Hutter, SGDR, ICLR 2017).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from hwnas.errors import StoredFileError
from hwnas.files import first_difference
from hwnas.layers import settle_batch_norms
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training.checkpoint import read_checkpoint, training_identity, write_checkpoint
from hwnas.training.data import ImageData
from hwnas.training.distributed import own_device
from hwnas.training.evaluate import accuracy, draw_parts, recalibrate_batch_norm
from hwnas.training.network import train_network
from hwnas.training.settings import TrainingSettings
from hwnas.training.threads import one_thread

__all__ = ["NetworkEvaluator"]

STATISTICS_IMAGES: Final = 256


class NetworkEvaluator:
    """Trains networks one by one, keeps each in a file of its own, and scores them on the validation part.

    What it finds follows from the architecture, its parent's network, the settings and the seed; on a CPU it trains on
    one thread, as sums over several would depend on how many there are, so that several cores are used by several
    workers. A network that was trained is read again, not trained again; a training that is killed leaves nothing and
    begins anew.

    Args:
        space: whose networks.
        data: to train and to score on.
        folder: where the trained networks lie.
        settings: how to train; warm-up and growing images are for networks without a parent.
        epochs: of each network.
        inherits: whether a network with a parent starts from that one's weights; otherwise all start from scratch.
        validation_images: of the validation part, how many each is scored on; None: all.
        seed: of weights, order, augmentation and the choice of images.
        device: where to train; None: a GPU where there is one.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: ImageData,
        folder: Path,
        *,
        settings: TrainingSettings,
        epochs: int,
        inherits: bool = True,
        validation_images: int | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self._space = space
        self._data = data
        self._folder = folder
        self._settings = replace(settings, epochs=epochs)
        self._inherits = inherits
        self._seed = seed
        self._device = own_device(device)
        self._statistics, self._validation = draw_parts(data, STATISTICS_IMAGES, validation_images, seed=seed)
        self._of = {
            **space.identity(),
            **training_identity(data, self._settings, seed),
            "validation_images": validation_images,
        }

    def error(self, architecture: Architecture, parent: Architecture | None = None) -> float:
        """The share of the validation part that the trained network classifies wrongly, from 0 to 1.

        Args:
            architecture: to train.
            parent: whose trained network it starts from; None: it starts from scratch.

        Raises:
            StoredFileError: the parent was not trained here, or a file is broken or cannot be written.
            TrainingError: as `train_network`.
        """
        identity = self._identity(architecture, parent if self._inherits else None)
        known = self._read(architecture, identity)
        if known is not None:
            return float(known["error"])
        network = self.initial(architecture, parent)
        settings = self._settings
        if parent is not None and self._inherits:
            settings = settings.for_finetuning(settings.epochs)
        seed = self._seed_of(architecture)
        with one_thread():
            trained = train_network(network, self._data, settings, seed=seed, device=self._device, stage="searching")
            error = 1 - accuracy(trained.to(self._device), self._data, self._validation, device=self._device)
        write_checkpoint(self._path(architecture), identity, {"network": trained.cpu().state_dict(), "error": error})
        return error

    def errors(self, architectures: Sequence[Architecture]) -> list[float]:
        """The same of several networks without parents."""
        return [self.error(architecture) for architecture in architectures]

    def initial(self, architecture: Architecture, parent: Architecture | None = None) -> nn.Module:
        """The network that the training of `architecture` starts from; raises StoredFileError as `error`.

        Where the step from the parent keeps its function, so does this network, and its batch norms have the statistics
        of images of the train part; elsewhere its batch norms are recalibrated.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed_of(architecture))
            if parent is None or not self._inherits:
                return self._space.build(architecture)
            network = self._space.inherit(self.network(parent), parent, architecture).to(self._device)
        x_BCHW = self._data.normalized(self._statistics.images_NCHW, self._device)
        with one_thread():
            if self._space.keeps_function(parent, architecture):
                settle_batch_norms(network, x_BCHW)
            else:
                recalibrate_batch_norm(network, [x_BCHW])
        return network.cpu()

    def network(self, architecture: Architecture) -> nn.Module:
        """The trained network of `architecture`, in evaluation mode on the CPU. Raises StoredFileError."""
        known = self._read(architecture, {**self._of, **architecture.to_json()})
        if known is None:
            raise StoredFileError(
                str(self._path(architecture)),
                f"must hold the network of {self._space.describe(architecture)}, trained by the settings of the run",
                came="it does not",
                do="Search in another output folder, or start from scratch",
            )
        with torch.random.fork_rng(devices=[]):
            network = self._space.build(architecture)
        network.load_state_dict(known["network"])
        return network.eval()

    def _identity(self, architecture: Architecture, parent: Architecture | None) -> dict[str, Any]:
        return {**self._of, **architecture.to_json(), "parent": None if parent is None else list(parent.choices)}

    def _read(self, architecture: Architecture, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """What is stored of `architecture`; None where there is nothing, or of something else than `wanted`."""
        path = self._path(architecture)
        if not path.exists():
            return None
        state = read_checkpoint(path)
        return state if first_difference(state["identity"], wanted) is None else None

    def _path(self, architecture: Architecture) -> Path:
        return self._folder / f"{architecture.slug}.pt"

    def _seed_of(self, architecture: Architecture) -> int:
        return int(np.random.SeedSequence([self._seed, *architecture.choices]).generate_state(1)[0])
