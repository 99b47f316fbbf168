"""The verb `export`: members of the front as plain, fine-tuned networks, each in a bundle of its own."""

import contextlib
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from hwnas.api.bundling import WEIGHTS, write_bundle
from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.stages import stage
from hwnas.api.training import AloneSettings, evaluator_of, train_alone
from hwnas.bundles import altered_files, load_manifest, sha256_of
from hwnas.errors import RunError, SettingsError, StoredFileError
from hwnas.exporters.metadata import UNSTATED_LICENCE
from hwnas.files import exclusive, read_json, write_json
from hwnas.front import Evaluation
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training import SubnetEvaluator

__all__ = ["Winner", "export", "export_evaluations", "load_network", "load_winners"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 2
CHECKPOINT: Final = ".checkpoint.pt"


@dataclass(frozen=True)
class Winner:
    """One exported member of the front.

    Attributes:
        name: "winner-1".
        bundle: the folder of its files, relative to the run folder.
        architecture: {"space", "choices"}, as the search saw it.
        description: the architecture for a person.
        precision: its own, that of the search.
        values: its objectives as the search saw them.
        finetune_epochs: that it was trained for by itself.
        start: the weights that this training started from: "inherited" or "scratch".
        distillation: the weight of the largest sub-network's predictions in it.
        options: what its bundle was asked to hold, the fields of BundleOptions.
    """

    name: str
    bundle: str
    architecture: Mapping[str, Any]
    description: str
    precision: str
    values: Mapping[str, float]
    finetune_epochs: int
    start: str
    distillation: float
    options: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The ONNX file of its own precision, relative to the run folder."""
        return f"{self.bundle}/{self.precision}.onnx"

    @property
    def trained_by(self) -> tuple[Any, ...]:
        """What its weights follow from, besides the run."""
        return dict(self.architecture), self.finetune_epochs, self.start, self.distillation


def export(
    run: str | Path,
    *,
    winners: int | None = None,
    finetune_epochs: int | None = None,
    precisions: Sequence[str] | None = None,
    max_drop: float = 0.5,
    opset: int | None = None,
    batch_size: int | Literal["dynamic"] | None = None,
    image_input: bool = False,
    engine: str | None = None,
    openvino: bool = False,
    licence: str = UNSTATED_LICENCE,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Exports a chosen number of the front: its extremes, its knee, and the rest spread between.

    Each is taken out of the supernet as a plain network with only its own weights, or is the network that the search has
    trained; it is fine-tuned, and written as a bundle: see `hwnas.bundles`.
    Bundles that were exported before by the same settings, and are whole, are kept; other options train nothing again; a
    stopped export goes on within a training.

    Args:
        run: the run folder, or the run.toml in it.
        winners: how many; None: as in run.toml.
        finetune_epochs: of each; None: as in run.toml.
        precisions: of the files, some of "fp32", "fp16" and "int8"; None: those of the run. Each winner's own is added.
        max_drop: percentage points of accuracy that int8 may cost; layers that cost more stay in float.
        opset: the version of ONNX's operators; None: torch's default.
        batch_size: images in one inference, or "dynamic"; None: as in run.toml.
        image_input: also write each file with its preprocessing inside: an image of bytes in, probabilities out.
        engine: also build a TensorRT engine of each file: "tensorrt" or "tensorrt-rtx".
        openvino: also write each file as OpenVINO IR.
        licence: of the weights.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each training and each winner.

    Returns:
        The bundles.

    Raises:
        RunError: nothing was searched yet, or the front is empty, or the supernet is of other settings.
        SettingsError: an option that cannot be used.
        ExportError: a network cannot be exported.
        MissingRuntimeError: the library of an engine or of OpenVINO is not installed.
        StoredFileError: a file could not be written.
    """
    require_one_process("export")
    folder = open_run(run, space=space, data=data)
    options = BundleOptions.of(
        folder,
        precisions=precisions,
        max_drop=max_drop,
        opset=opset,
        batch_size=batch_size,
        image_input=image_input,
        engine=engine,
        openvino=openvino,
        licence=licence,
    )
    count = folder.settings.winners if winners is None else winners
    if count < 1:
        raise SettingsError("winners", "must be at least 1", came=f"{count} came")
    front = folder.load_front(empty=False)
    own = AloneSettings.of(folder, epochs=finetune_epochs)
    wanted = [_describe(folder, one, number, own, options) for number, one in enumerate(front.choose(count), start=1)]
    with exclusive(folder.path), stage(folder, "exporting"):
        _make(folder, wanted, on_progress=on_progress)
    return [folder.path / winner.bundle for winner in wanted]


def export_evaluations(
    folder: RunFolder,
    evaluations: Sequence[Evaluation],
    *,
    finetune_epochs: int | None = None,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Exports evaluations besides the winners that there are, with the same options; those that are there stay.

    Returns:
        The bundle of each.

    Raises:
        RunError, ExportError, StoredFileError: as `export`.
    """
    require_one_process("export")
    own = AloneSettings.of(folder, epochs=finetune_epochs)
    with exclusive(folder.path), stage(folder, "exporting"):
        wanted = load_winners(folder) if folder.manifest.exists() else []
        options = BundleOptions.from_json(wanted[0].options) if wanted else BundleOptions.of(folder)
        chosen = []
        for evaluation in evaluations:
            described = _describe(folder, evaluation, len(wanted) + 1, own, options)
            known = next((one for one in wanted if one.trained_by == described.trained_by), None)
            if known is None:
                wanted.append(described)
            chosen.append(known or described)
        _make(folder, wanted, on_progress=on_progress)
    return [folder.path / winner.bundle for winner in chosen]


def _make(folder: RunFolder, wanted: Sequence[Winner], *, on_progress: OnProgress) -> None:
    """Makes `wanted` the run's winners: keeps the bundles that are theirs and whole, and writes the others."""
    kept = {winner.name: winner for winner in load_winners(folder)} if folder.manifest.exists() else {}
    missing = [one for one in wanted if kept.get(one.name) != one or not _is_whole(folder, one)]
    networks = _trained_before(folder, missing, kept.values())
    _forget(folder, [one for one in kept.values() if one not in wanted], wanted)
    evaluator: SubnetEvaluator | None = None
    for number, winner in enumerate(wanted, start=1):
        if winner not in missing:
            logger.info("Nothing to export: %s is there", winner.bundle)
        else:
            training = _training(folder, winner)
            if training not in networks:
                evaluator = evaluator or (evaluator_of(folder) if folder.settings.weights == "shared" else None)
                networks[training] = _train(folder, winner, evaluator, of=len(wanted), on_progress=on_progress)
            _write(folder, winner, networks[training])
        later = [one for one in wanted[number:] if kept.get(one.name) == one]
        _save_winners(folder, [*wanted[:number], *later])
        on_progress("exporting winners", number, len(wanted))
    for checkpoint in folder.models.glob(f"*{CHECKPOINT}"):
        checkpoint.unlink()


def load_winners(folder: RunFolder) -> list[Winner]:
    """What `export` has written. Raises RunError where nothing was exported, StoredFileError."""
    if not folder.manifest.exists():
        raise RunError(
            f"Run folder {folder.path}",
            "must hold exported models",
            came="it has none",
            do=f"Export them: hwnas export {folder.path}",
        )
    document = read_json(folder.manifest, kind="list of exported models", schema_version=SCHEMA_VERSION)
    try:
        return [Winner(**entry) for entry in document["models"]]
    except (KeyError, TypeError) as error:
        raise StoredFileError(
            str(folder.manifest),
            "must list exported models",
            came=f"reading it says: {error}",
            do=f"Delete it and export again: hwnas export {folder.path}",
        ) from error


def load_network(folder: RunFolder, winner: Winner) -> nn.Module:
    """The plain torch network of `winner` in evaluation mode. Raises StoredFileError."""
    network = folder.network_space.build(_network_of(folder, winner))
    path = folder.path / winner.bundle / WEIGHTS
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises errors of many kinds for a broken file
        raise StoredFileError(
            str(path),
            f"must hold the weights of {winner.name}",
            came="it does not",
            do=f"Export again: hwnas export {folder.path}",
        ) from error
    return network.eval()


def _network_of(folder: RunFolder, winner: Winner) -> Architecture:
    return folder.split(folder.space.from_json(winner.architecture))[0]


def _describe(
    folder: RunFolder, evaluation: Evaluation, number: int, own: AloneSettings, options: BundleOptions
) -> Winner:
    network, precision = folder.split(evaluation.architecture)
    bundle = (folder.models / f"winner-{number}").relative_to(folder.path).as_posix()
    return Winner(
        f"winner-{number}",
        bundle,
        evaluation.architecture.to_json(),
        folder.network_space.describe(network),
        precision,
        dict(evaluation.values),
        own.epochs,
        own.start,
        own.distillation,
        options.with_precision(precision).to_json(),
    )


def _is_whole(folder: RunFolder, winner: Winner) -> bool:
    bundle = folder.path / winner.bundle
    try:
        return not altered_files(bundle, load_manifest(bundle))
    except StoredFileError:
        return False


def _forget(folder: RunFolder, gone: Sequence[Winner], wanted: Sequence[Winner]) -> None:
    """Removes the bundles that have no successor, and what was said of the models that were there before."""
    if gone:
        for path in (folder.verification, folder.comparison, folder.report):
            path.unlink(missing_ok=True)
    for name in {winner.bundle for winner in gone} - {winner.bundle for winner in wanted}:
        shutil.rmtree(folder.path / name, ignore_errors=True)


def _training(folder: RunFolder, winner: Winner) -> tuple[Any, ...]:
    """What the weights of `winner` follow from, whatever its precision."""
    return _network_of(folder, winner), winner.finetune_epochs, winner.start, winner.distillation


def _trained_before(
    folder: RunFolder, missing: Sequence[Winner], kept: Iterable[Winner]
) -> dict[tuple[Any, ...], nn.Module]:
    """The networks of `missing` that some bundle has, trained in the same way and with its weights whole.

    All are read before any bundle is written: a winner may come to stand where another was.
    """
    needed = {_training(folder, winner) for winner in missing}
    found = {}
    for winner in kept:
        training, bundle = _training(folder, winner), folder.path / winner.bundle
        if training in needed and training not in found:
            with contextlib.suppress(StoredFileError, OSError):
                if sha256_of(bundle / WEIGHTS) == load_manifest(bundle)["files"][WEIGHTS]["sha256"]:
                    found[training] = load_network(folder, winner)
    return found


def _train(
    folder: RunFolder, winner: Winner, evaluator: SubnetEvaluator | None, *, of: int, on_progress: OnProgress
) -> nn.Module:
    architecture = folder.space.from_json(winner.architecture)
    own = AloneSettings.of(folder, start=winner.start, epochs=winner.finetune_epochs, distillation=winner.distillation)
    return train_alone(
        folder,
        architecture,
        own,
        part=folder.data.train_and_validation,
        evaluator=evaluator,
        checkpoint=folder.models / f"{own.name(architecture)}{CHECKPOINT}",
        stage=f"training {winner.name.replace('-', ' ')} of {of}",
        on_progress=on_progress,
    ).to(memory_format=torch.contiguous_format)


def _write(folder: RunFolder, winner: Winner, network: nn.Module) -> None:
    """Makes the bundle of `winner`, and puts it in place when it is whole."""
    for path in (folder.verification, folder.comparison, folder.report):
        path.unlink(missing_ok=True)
    place = folder.path / winner.bundle
    scratch = place.with_name(f".{place.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    architecture = folder.space.from_json(winner.architecture)
    training = {"epochs": winner.finetune_epochs, "start": winner.start, "distillation": winner.distillation}
    about = {"name": winner.name, "values": dict(winner.values), "training": training}
    write_bundle(folder, scratch, network, architecture, BundleOptions.from_json(winner.options), about)
    shutil.rmtree(place, ignore_errors=True)
    scratch.rename(place)


def _save_winners(folder: RunFolder, winners: Sequence[Winner]) -> None:
    write_json(folder.manifest, {"schema_version": SCHEMA_VERSION, "models": [asdict(winner) for winner in winners]})
