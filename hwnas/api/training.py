"""The verb `train`: the supernet of a run, or one architecture by itself."""

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from hwnas.api.architectures import PREFERRED_SCHEMA, find_architecture
from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.scoring import Leniency, check_quality, latency_table, make_objectives
from hwnas.api.settings import Start
from hwnas.api.stages import stage
from hwnas.checks import require_fitting_shapes
from hwnas.errors import SettingsError
from hwnas.files import exclusive, replacing, write_json
from hwnas.objectives import Objective
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace, SuperNet
from hwnas.training import (
    ImageData,
    NetworkEvaluator,
    Part,
    SubnetEvaluator,
    TrainingMethod,
    accuracy,
    check_network_training,
    check_trainable,
    is_first_process,
    launched,
    load_supernet,
    make_method,
    own_device,
    train_network,
    train_supernet,
    training_identity,
    weighs_latency,
)

__all__ = [
    "AloneSettings",
    "accuracy_alone",
    "check_training",
    "evaluator_of",
    "network_evaluator_of",
    "supernet_of",
    "train",
    "train_alone",
    "train_run",
    "training_method",
]

SCHEMA_VERSION: Final = 1


def train(
    run: str | Path,
    *,
    output: str | Path | None = None,
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
        run: the run folder, or a run.toml.
        output: the run folder of a run.toml, whatever it says.
        architecture: to train alone, as `find_architecture` reads it; None: the supernet.
        start: of an architecture: from the weights that it inherits from the search, or from scratch; None: as winners.
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
    folder = open_run(run, space=space, data=data, output=None if output is None else Path(output))
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
    _require_supernet(run)
    require_fitting_shapes(run.network_space)
    check_training(run)
    with _kept(run) as first:
        listener = on_progress if first else silent
        objectives: Sequence[Objective] = ()
        if weighs_latency(run.settings.training.method):
            if not launched():
                for device, precision in itertools.product(run.settings.devices, run.settings.precisions):
                    strict = Leniency(False, False)
                    check_quality(latency_table(run, device, precision, strict, listener), strict)
            objectives = make_objectives(run)
        with stage(run, "training") if first else contextlib.nullcontext():
            supernet_of(run, objectives, on_progress=listener)
    return run.supernet


def supernet_of(run: RunFolder, objectives: Sequence[Objective], *, on_progress: OnProgress = silent) -> SuperNet:
    """The trained supernet of `run`; preferred.json then says what its method prefers. Raises as `train_supernet`."""
    method = training_method(run, objectives)
    supernet = train_supernet(
        run.network_space,
        run.data,
        checkpoint=run.supernet,
        settings=run.settings.training,
        method=method,
        seed=run.settings.seed,
        on_progress=on_progress,
    )
    preferred = method.preferred()
    if not is_first_process():
        return supernet
    if preferred is None:
        run.preferred.unlink(missing_ok=True)
    else:
        described = {
            "schema_version": PREFERRED_SCHEMA,
            "architecture": preferred.to_json(),
            "description": run.network_space.describe(preferred),
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
    space = run.network_space
    latencies = [one.operator_costs for one in objectives if one.name.startswith("latency")]
    costs = next((one for one in latencies if one is not None), None)
    if costs is not None:
        costs = costs.reshape(-1, len(space.all_operators())).mean(axis=0)  # over the precisions that it may run in
    return make_method(settings.method, space, options=settings.method_options, cost_ms=costs)


def check_training(run: RunFolder) -> None:
    """Refuses, before anything slow begins, what the training of the run's supernet, or of its networks, would refuse.

    Raises:
        UnknownNameError, SettingsError, SpaceError, DataError: what is wrong.
    """
    settings, space = run.settings.training, run.network_space
    if run.settings.weights != "shared":
        check_network_training(space, run.data, settings, device=own_device(None))
        return
    method = make_method(
        settings.method,
        space,
        options=settings.method_options,
        cost_ms=np.zeros(len(space.all_operators())) if run.settings.devices else None,
    )
    check_trainable(space, run.data, settings, method=method, device=own_device(None))


def evaluator_of(run: RunFolder, supernet: SuperNet | None = None) -> SubnetEvaluator:
    """Scores sub-networks of the run's trained supernet, which is read where none is given.

    Raises:
        RunError: the supernet was trained on other data, by other settings or from another seed than the run's.
        SettingsError: the run has none.
        StoredFileError: it is not trained, or its file is broken.
    """
    _require_supernet(run)
    settings = run.settings
    if supernet is None:
        trained_by = training_identity(run.data, settings.training, settings.seed)
        supernet = load_supernet(run.network_space, run.supernet, trained_by=trained_by)
    return SubnetEvaluator(
        supernet,
        run.data,
        calibration_images=settings.calibration_images,
        validation_images=settings.validation_images,
        seed=settings.seed,
        device=own_device(None),
    )


def network_evaluator_of(run: RunFolder) -> NetworkEvaluator:
    """Trains and scores the networks of a run one by one, and keeps them in its folder "networks".

    In a search among precisions each pair of a network and a precision has a network of its own: what it is made from, and
    so what it inherits, differs.
    """
    settings = run.settings
    return NetworkEvaluator(
        run.space,
        run.data,
        run.networks,
        settings=settings.training,
        epochs=settings.network_epochs,
        inherits=settings.weights == "inherited",
        validation_images=settings.validation_images,
        seed=settings.seed,
    )


def _require_supernet(run: RunFolder) -> None:
    if run.settings.weights != "shared":
        raise SettingsError(
            f"Run folder {run.path}",
            'must have weights = "shared" to have a supernet',
            came=f'it has weights = "{run.settings.weights}", by which each network is trained by itself',
        )


@dataclass(frozen=True)
class AloneSettings:
    """How one architecture is trained by itself.

    Attributes:
        start: from the weights inherited from the search, or from scratch.
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

    def name(self, architecture: Architecture) -> str:
        """What the files of such a training of `architecture` are called."""
        return f"{architecture.slug}-{self.start}-{self.epochs}-{self.distillation:g}"


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
        architecture: of the run's space, or a network itself.
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
    space, (chosen, _) = run.network_space, run.split(architecture)
    shared = run.settings.weights == "shared"
    if own.distillation > 0 or (own.start == "inherited" and shared):
        evaluator = evaluator or evaluator_of(run)
    if own.start == "inherited":
        network = evaluator.subnet(chosen) if evaluator else network_evaluator_of(run).network(architecture)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = space.build(chosen)
    if own.epochs == 0:
        return network.cpu().eval()
    training = run.settings.training
    return train_network(
        network,
        run.data,
        training.for_finetuning(own.epochs) if own.start == "inherited" else replace(training, epochs=own.epochs),
        part=part,
        teacher=evaluator.subnet(space.largest()) if evaluator is not None and own.distillation > 0 else None,
        distillation=own.distillation,
        checkpoint=checkpoint,
        identity={
            **space.identity(),
            **chosen.to_json(),
            "start": own.start,
            "distillation": own.distillation,
        },
        seed=seed,
        stage=stage,
        on_progress=on_progress,
    )


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
    if isinstance(architecture, str):
        architecture = find_architecture(run, architecture)
    else:
        space = run.network_space if architecture.space == run.network_space.name else run.space
        architecture = space.from_json(architecture.to_json())
    own = AloneSettings.of(run, start=start, epochs=epochs, distillation=distillation)
    place = run.path / "architectures" / own.name(architecture)
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


def accuracy_alone(network: nn.Module, data: ImageData, part: Part) -> float:
    """The share of `part` that a network trained alone classifies rightly, scored where it was trained and left there."""
    device = own_device(None)
    return accuracy(network.to(device), data, part, device=device)


def _write_result(
    run: RunFolder, architecture: Architecture, own: AloneSettings, network: nn.Module, place: Path
) -> None:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with replacing(place / "model.pt") as scratch:
        scratch.write_bytes(buffer.getbuffer())
    space, data = run.network_space, run.data
    architecture, _ = run.split(architecture)
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
            "validation_accuracy": accuracy_alone(network, data, data.validation),
            "test_accuracy": accuracy_alone(network, data, data.test),
            "macs": sum(one.macs for one in counts),
            "parameters": sum(one.parameters for one in counts),
        },
    )
