"""The verb `train`: the supernet of a run, or one architecture by itself."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.scoring import Leniency, check_quality, latency_table, make_objectives
from hwnas.api.settings import Start
from hwnas.checks import require_fitting_shapes
from hwnas.errors import ArchitectureError, RunError, SettingsError
from hwnas.files import exclusive, read_json, replacing, write_json
from hwnas.objectives import Objective
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace, SuperNet
from hwnas.training import (
    Part,
    SubnetEvaluator,
    TrainingMethod,
    accuracy,
    is_first_process,
    launched,
    load_supernet,
    make_method,
    own_device,
    train_network,
    train_supernet,
    weighs_latency,
)

__all__ = [
    "AloneSettings",
    "check_training",
    "evaluator_of",
    "find_architecture",
    "supernet_of",
    "train",
    "train_alone",
    "train_architecture",
    "train_run",
    "training_method",
]

SCHEMA_VERSION: Final = 1


def train(
    run: str | Path,
    *,
    architecture: str | Architecture | None = None,
    start: str | None = None,
    epochs: int | None = None,
    distillation: float | None = None,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> Path:
    """Trains the supernet of a run, or one architecture by itself; a stopped training is gone on with.

    Args:
        run: the run folder, or the run.toml in it.
        architecture: to train alone, as `find_architecture` reads it; None: the supernet.
        start: of an architecture: from the weights that it inherits from the supernet, or from scratch; None: as winners.
        epochs: of an architecture; None: `finetune_epochs` for inherited weights, the epochs of the supernet from scratch.
        distillation: of an architecture: the weight of the largest sub-network's predictions; None: as winners.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of loss and accuracy.

    Returns:
        The supernet's checkpoint, or the folder of the architecture: result.json, model.pt and checkpoint.pt.

    Raises:
        HwnasError: see `hwnas.errors`.
    """
    folder = open_run(run, space=space, data=data)
    if architecture is not None:
        return train_architecture(
            folder, architecture, start=start, epochs=epochs, distillation=distillation, on_progress=on_progress
        )
    for name, value in (("start", start), ("epochs", epochs), ("distillation", distillation)):
        if value is not None:
            raise SettingsError(name, "must be left out unless an architecture is trained", came=f"{value} came")
    return train_run(folder, on_progress=on_progress)


def train_run(run: RunFolder, *, on_progress: OnProgress = silent) -> Path:
    """Trains the supernet of `run`; returns the checkpoint. Of several processes the first keeps the run folder."""
    require_fitting_shapes(run.space)
    check_training(run)
    with _kept(run) as first:
        listener = on_progress if first else silent
        objectives: Sequence[Objective] = ()
        if weighs_latency(run.settings.training.method):
            if not launched():
                for device in run.settings.devices:
                    check_quality(latency_table(run, device, Leniency(False, False), listener), Leniency(False, False))
            objectives = make_objectives(run)
        supernet_of(run, objectives, on_progress=listener)
    return run.supernet


def supernet_of(run: RunFolder, objectives: Sequence[Objective], *, on_progress: OnProgress = silent) -> SuperNet:
    """The trained supernet of `run`; what its method prefers is written to preferred.json. Raises as `train_supernet`."""
    method = training_method(run, objectives)
    supernet = train_supernet(
        run.space,
        run.data,
        checkpoint=run.supernet,
        settings=run.settings.training,
        method=method,
        seed=run.settings.seed,
        on_progress=on_progress,
    )
    preferred = method.preferred()
    if preferred is not None and is_first_process():
        described = {
            "schema_version": SCHEMA_VERSION,
            "architecture": preferred.to_json(),
            "description": run.space.describe(preferred),
            **method.notes(),
        }
        write_json(run.preferred, described)
    return supernet


@contextlib.contextmanager
def _kept(run: RunFolder) -> Iterator[bool]:
    """The run folder, begun, for this process alone; of several processes the first does that. Yields whether it is that."""
    first = is_first_process()
    with exclusive(run.path) if first else contextlib.nullcontext():
        if first:
            run.begin()
        yield first


def training_method(run: RunFolder, objectives: Sequence[Objective]) -> TrainingMethod:
    """The run's way to train its supernet, with the latencies of the first device among `objectives` where it weighs them.

    Raises:
        UnknownNameError, SettingsError: no such method or option, or one out of range.
    """
    settings = run.settings.training
    latencies = [one for one in objectives if one.name.startswith("latency") and one.operator_costs is not None]
    return make_method(
        settings.method,
        run.space,
        options=settings.method_options,
        cost_ms=latencies[0].operator_costs if latencies else None,
    )


def check_training(run: RunFolder) -> None:
    """Refuses, before anything slow begins, a batch larger than the train part and a method that cannot be used.

    Raises:
        UnknownNameError, SettingsError: what is wrong.
    """
    settings = run.settings
    make_method(
        settings.training.method,
        run.space,
        options=settings.training.method_options,
        cost_ms=np.zeros(len(run.space.all_operators())) if settings.devices else None,
    )
    images = len(run.data.train)
    if run.settings.training.batch_size > images:
        raise SettingsError(
            "training.batch_size",
            f"must be at most {images}, the images of the train part of {run.data.name}",
            came=f"{run.settings.training.batch_size} came",
        )


def evaluator_of(run: RunFolder, supernet: SuperNet | None = None) -> SubnetEvaluator:
    """Scores sub-networks of the run's trained supernet, which is read where none is given."""
    return SubnetEvaluator(
        load_supernet(run.space, run.supernet) if supernet is None else supernet,
        run.data,
        calibration_images=run.settings.calibration_images,
        validation_images=run.settings.validation_images,
        seed=run.settings.seed,
        device=own_device(None),
    )


@dataclass(frozen=True)
class AloneSettings:
    """How one architecture is trained by itself.

    Attributes:
        start: from the weights inherited from the supernet, or from scratch.
        epochs: passes over the images.
        distillation: the weight of the largest sub-network's predictions, from 0 to 1.
    """

    start: Start
    epochs: int
    distillation: float

    @classmethod
    def of(
        cls,
        run: RunFolder,
        *,
        start: str | None = None,
        epochs: int | None = None,
        distillation: float | None = None,
    ) -> "AloneSettings":
        """What the run says, where nothing else is given. Raises SettingsError."""
        settings = run.settings
        start = settings.winner_start if start is None else start
        known: dict[str, Start] = {"inherited": "inherited", "scratch": "scratch"}
        if start not in known:
            raise SettingsError("start", 'must be "inherited" or "scratch"', came=f"{start!r} came")
        if epochs is None:
            epochs = settings.finetune_epochs if start == "inherited" else settings.training.epochs
        if epochs < 0 or (epochs == 0 and start == "scratch"):
            raise SettingsError("epochs", "must be at least 0, and 1 from scratch", came=f"{epochs} came")
        distillation = settings.distillation if distillation is None else distillation
        if not 0 <= distillation <= 1:
            raise SettingsError("distillation", "must be from 0 to 1", came=f"{distillation} came")
        return cls(known[start], epochs, distillation)


def train_alone(
    run: RunFolder,
    architecture: Architecture,
    own: AloneSettings,
    *,
    part: Part | None = None,
    evaluator: SubnetEvaluator | None = None,
    checkpoint: Path | None = None,
    seed: int | None = None,
    stage: str = "training",
    on_progress: OnProgress = silent,
) -> nn.Module:
    """Trains one architecture of `run` by itself.

    Args:
        run: whose space, data and training settings.
        architecture: of the run's space.
        own: how.
        part: the images; None: the train part.
        evaluator: of the run's supernet; None: it is read where it is needed.
        checkpoint: where the state is kept; None: nowhere.
        seed: of weights, order and augmentation; None: the run's.
        stage: what `on_progress` is told.
        on_progress: told of loss and accuracy.

    Returns:
        The trained plain network in evaluation mode on the CPU.

    Raises:
        HwnasError: see `hwnas.training.train_network`; StoredFileError where the supernet is needed but not trained.
    """
    seed = run.settings.seed if seed is None else seed
    if own.start == "inherited" or own.distillation > 0:
        evaluator = evaluator or evaluator_of(run)
    if own.start == "inherited" and evaluator is not None:
        network = evaluator.subnet(architecture)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = run.space.build(architecture)
    if own.epochs == 0:
        return network.cpu().eval()
    training = run.settings.training
    return train_network(
        network,
        run.data,
        training.for_finetuning(own.epochs) if own.start == "inherited" else replace(training, epochs=own.epochs),
        part=part,
        teacher=evaluator.subnet(run.space.largest()) if evaluator is not None and own.distillation > 0 else None,
        distillation=own.distillation,
        checkpoint=checkpoint,
        identity={
            **run.space.identity(),
            **architecture.to_json(),
            "start": own.start,
            "distillation": own.distillation,
        },
        seed=seed,
        stage=stage,
        on_progress=on_progress,
    )


def find_architecture(run: RunFolder, text: str) -> Architecture:
    """The architecture that `text` means.

    Args:
        run: whose space and front.
        text: "largest", "smallest", "random" or "random:SEED", "front:N" (the Nth member of the front, from 1),
            "preferred" (by a differentiable training), or its choices: numbers between commas, spaces or hyphens, or one
            digit each ("22212202").

    Raises:
        ArchitectureError: none of these, or choices that the space does not have.
        RunError: there is no front yet, or it has fewer members; there is no preferred one.
    """
    space = run.space
    if text == "preferred":
        return _preferred(run)
    if text in {"largest", "smallest"}:
        return space.largest() if text == "largest" else space.smallest()
    kind, _, number = text.partition(":")
    if kind == "random" and (number.isdigit() or not number):
        return space.sample(np.random.default_rng(int(number or 0)))
    if kind == "front" and number.isdigit():
        front = list(run.load_front())
        if not 1 <= int(number) <= len(front):
            raise RunError(f"The front of {run.path}", f"must have a member {number}", came=f"it has {len(front)}")
        return front[int(number) - 1].architecture
    words = re.split(r"[\s,-]+", text.strip())
    if len(words) == 1 and len(words[0]) == len(space.variables):
        words = list(words[0])
    if not all(word.isdigit() for word in words):
        raise ArchitectureError(
            f"The architecture {text!r}",
            "must be largest, smallest, random:SEED, front:N, preferred, or the number of each choice",
            came="it is none of these",
        )
    return space.architecture(int(word) for word in words)


def _preferred(run: RunFolder) -> Architecture:
    if not run.preferred.exists():
        raise RunError(
            f"Run folder {run.path}",
            "must hold a preferred architecture",
            came="it has none",
            do='Train its supernet with training.method = "differentiable"',
        )
    document = read_json(run.preferred, kind="preferred architecture", schema_version=SCHEMA_VERSION)
    return run.space.architecture(document["architecture"]["choices"])


def train_architecture(
    run: RunFolder,
    architecture: str | Architecture,
    *,
    start: str | None = None,
    epochs: int | None = None,
    distillation: float | None = None,
    on_progress: OnProgress = silent,
) -> Path:
    """Trains one architecture of `run` by itself; see `train`. Returns its folder."""
    architecture = find_architecture(run, architecture) if isinstance(architecture, str) else architecture
    own = AloneSettings.of(run, start=start, epochs=epochs, distillation=distillation)
    name = "-".join(map(str, architecture.choices))
    place = run.path / "architectures" / f"{name}-{own.start}-{own.epochs}-{own.distillation:g}"
    with _kept(run) as first:
        place.mkdir(parents=True, exist_ok=True)
        network = train_alone(
            run,
            architecture,
            own,
            checkpoint=place / "checkpoint.pt",
            on_progress=on_progress if first else silent,
        )
        if first:
            _write_result(run, architecture, own, network, place)
    return place


def _write_result(
    run: RunFolder, architecture: Architecture, own: AloneSettings, network: nn.Module, place: Path
) -> None:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with replacing(place / "model.pt") as scratch:
        scratch.write_bytes(buffer.getbuffer())
    space, data = run.space, run.data
    counts = [space.counts[operator] for operator in space.operators(architecture)]
    write_json(
        place / "result.json",
        {
            "schema_version": SCHEMA_VERSION,
            "architecture": architecture.to_json(),
            "description": space.describe(architecture),
            "start": own.start,
            "epochs": own.epochs,
            "distillation": own.distillation,
            "validation_accuracy": accuracy(network, data, data.validation),
            "test_accuracy": accuracy(network, data, data.test),
            "macs": sum(one.macs for one in counts),
            "parameters": sum(one.parameters for one in counts),
        },
    )
