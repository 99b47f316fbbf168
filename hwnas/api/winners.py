"""The verb `export`: members of the front as plain, fine-tuned networks in ONNX files."""

import io
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from torch import nn

from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.training import AloneSettings, evaluator_of, train_alone
from hwnas.errors import RunError, SettingsError, StoredFileError
from hwnas.exporters import export_onnx, save_onnx
from hwnas.files import exclusive, read_json, replacing, write_json
from hwnas.front import Evaluation, ParetoFront
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace
from hwnas.training import SubnetEvaluator

__all__ = ["Winner", "export", "load_winners"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
CHECKPOINT: Final = ".checkpoint.pt"


@dataclass(frozen=True)
class Winner:
    """One exported member of the front.

    Attributes:
        file: the ONNX file, relative to the run folder.
        weights: the torch state of the plain network, relative to the run folder.
        architecture: {"space", "choices"}.
        description: the architecture for a person.
        values: its objectives as the search saw them.
        finetune_epochs: that it was trained for by itself.
        start: the weights that this training started from: "inherited" or "scratch".
        distillation: the weight of the largest sub-network's predictions in it.
        batch_size: the static batch size of the file.
    """

    file: str
    weights: str
    architecture: Mapping[str, Any]
    description: str
    values: Mapping[str, float]
    finetune_epochs: int
    start: str
    distillation: float
    batch_size: int


def export(
    run: str | Path,
    *,
    winners: int | None = None,
    finetune_epochs: int | None = None,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Exports a chosen number of the front: its extremes, its knee, and the rest spread between.

    Each is taken out of the supernet as a plain network with only its own weights, or is the network that the search has
    trained; it is fine-tuned, and written as ONNX.
    Winners that were exported before by the same settings are kept, and a stopped export goes on within a training.

    Args:
        run: the run folder, or the run.toml in it.
        winners: how many; None: as in run.toml.
        finetune_epochs: of each; None: as in run.toml.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each training and each winner.

    Returns:
        The ONNX files.

    Raises:
        RunError: nothing was searched yet, or the front is empty, or the supernet is of other settings.
        ExportError: a network cannot be exported.
        StoredFileError: a file could not be written.
    """
    require_one_process("export")
    folder = open_run(run, space=space, data=data)
    count = folder.settings.winners if winners is None else winners
    if count < 1:
        raise SettingsError("winners", "must be at least 1", came=f"{count} came")
    front = folder.load_front()
    if not len(front):
        raise RunError(
            f"Run folder {folder.path}",
            "must hold a front with members",
            came="its front is empty",
            do="Raise its bounds or its evaluations",
        )
    with exclusive(folder.path):
        return _export(folder, front, count, finetune_epochs, on_progress)


def _export(
    folder: RunFolder, front: ParetoFront, count: int, finetune_epochs: int | None, on_progress: OnProgress
) -> list[Path]:
    chosen = front.choose(count)
    own = AloneSettings.of(folder, epochs=finetune_epochs)
    kept = {winner.file: winner for winner in load_winners(folder)} if folder.manifest.exists() else {}
    wanted = [_describe(folder, evaluation, number, own) for number, evaluation in enumerate(chosen, start=1)]
    _forget(folder, [one for one in kept.values() if one not in wanted])
    evaluator: SubnetEvaluator | None = None
    done: list[Winner] = []
    for number, (winner, evaluation) in enumerate(zip(wanted, chosen, strict=True), start=1):
        if kept.get(winner.file) == winner and _is_written(folder, winner):
            logger.info("Nothing to export: %s is there", winner.file)
        else:
            _forget(folder, [winner])
            if folder.settings.weights == "shared":
                evaluator = evaluator or evaluator_of(folder)
            stage = f"training winner {number} of {len(chosen)}"
            _write(folder, winner, evaluation, own, evaluator, stage=stage, on_progress=on_progress)
        done.append(winner)
        later = [one for one in wanted[number:] if kept.get(one.file) == one]
        _save_manifest(folder, [*done, *later])
        on_progress("exporting winners", number, len(chosen))
    for checkpoint in folder.models.glob(f"*{CHECKPOINT}"):
        checkpoint.unlink()
    return [folder.path / winner.file for winner in done]


def _is_written(folder: RunFolder, winner: Winner) -> bool:
    return (folder.path / winner.file).exists() and (folder.path / winner.weights).exists()


def _forget(folder: RunFolder, winners: Sequence[Winner]) -> None:
    """Removes the files of `winners`, and what was said of the models that were there before."""
    for winner in winners:
        said = (folder.verification, folder.comparison, folder.report)
        for path in (folder.path / winner.file, folder.path / winner.weights, *said):
            path.unlink(missing_ok=True)


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
    network = folder.space.build(folder.space.from_json(winner.architecture))
    path = folder.path / winner.weights
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises errors of many kinds for a broken file
        raise StoredFileError(
            str(path),
            f"must hold the weights of {winner.file}",
            came="it does not",
            do=f"Export again: hwnas export {folder.path}",
        ) from error
    return network.eval()


def _describe(folder: RunFolder, evaluation: Evaluation, number: int, own: AloneSettings) -> Winner:
    name = folder.models.relative_to(folder.path) / f"winner-{number}"
    return Winner(
        f"{name.as_posix()}.onnx",
        f"{name.as_posix()}.pt",
        evaluation.architecture.to_json(),
        folder.space.describe(evaluation.architecture),
        dict(evaluation.values),
        own.epochs,
        own.start,
        own.distillation,
        folder.settings.batch_size,
    )


def _write(
    folder: RunFolder,
    winner: Winner,
    evaluation: Evaluation,
    own: AloneSettings,
    evaluator: SubnetEvaluator | None,
    *,
    stage: str,
    on_progress: OnProgress,
) -> None:
    data = folder.data
    checkpoint = folder.models / f"{own.name(evaluation.architecture)}{CHECKPOINT}"
    network = train_alone(
        folder,
        evaluation.architecture,
        own,
        part=data.train_and_validation,
        evaluator=evaluator,
        checkpoint=checkpoint,
        stage=stage,
        on_progress=on_progress,
    ).to(memory_format=torch.contiguous_format)
    model = export_onnx(network, data.input_shape, batch_size=winner.batch_size, metadata=_metadata(folder, winner))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with replacing(folder.path / winner.weights) as scratch:
        scratch.write_bytes(buffer.getbuffer())
    save_onnx(model, folder.path / winner.file)


def _metadata(folder: RunFolder, winner: Winner) -> dict[str, str]:
    data = folder.data
    return {
        "task": "image classification",
        "labels": "\n".join(data.class_names),
        "input": f"float32 {winner.batch_size}x{'x'.join(map(str, data.input_shape))}, "
        "(pixel / 255 - mean) / std for each channel",
        "mean": " ".join(f"{value:.6f}" for value in data.mean),
        "std": " ".join(f"{value:.6f}" for value in data.std),
        "architecture": winner.description,
        "choices": " ".join(map(str, winner.architecture["choices"])),
        "space": str(winner.architecture["space"]),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}, onnx {onnx.__version__}",
    }


def _save_manifest(folder: RunFolder, winners: Sequence[Winner]) -> None:
    write_json(folder.manifest, {"schema_version": SCHEMA_VERSION, "models": [asdict(winner) for winner in winners]})
