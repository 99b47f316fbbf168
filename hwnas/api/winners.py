"""The verb `export`: members of the front as plain, fine-tuned networks, each in a bundle of its own."""

import contextlib
import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from hwnas.api.bundling import WEIGHTS, write_bundle
from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.stages import stage
from hwnas.api.training import AloneSettings, evaluator_of, train_alone
from hwnas.api.winner_list import (
    Winner,
    commands_of,
    forget_findings,
    free_name,
    has_weights_of,
    is_whole,
    known_winners,
    save_winners,
)
from hwnas.bundles import load_manifest, sha256_of
from hwnas.errors import SettingsError, StoredFileError
from hwnas.exporters.metadata import UNSTATED_LICENCE
from hwnas.files import exclusive
from hwnas.front import Evaluation
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training import SubnetEvaluator

__all__ = ["export", "export_again", "export_evaluations", "load_network"]

logger = logging.getLogger(__name__)

CHECKPOINT: Final = ".checkpoint.pt"


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
    stopped export goes on within a training. What `pick` has exported stays.

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
    own = AloneSettings.of(folder, epochs=finetune_epochs)
    return _export(folder, count, own, options, on_progress=on_progress)


def export_again(folder: RunFolder, *, on_progress: OnProgress = silent) -> list[Path]:
    """Exports the front of today as the winners that there are were: as many, trained and written in the same way.

    Returns:
        The bundles of the front's winners.

    Raises:
        HwnasError: as `export`.
    """
    require_one_process("export")
    known = _exported(folder)
    count = next((one.among for one in known if one.among is not None), folder.settings.winners)
    return _export(folder, count, _own_of(folder, known), _options_of(folder, known), on_progress=on_progress)


def export_evaluations(
    folder: RunFolder,
    evaluations: Sequence[Evaluation],
    *,
    bounds: str,
    finetune_epochs: int | None = None,
    on_progress: OnProgress = silent,
) -> list[Path]:
    """Exports evaluations besides the winners that there are, in the same way; those that are there stay.

    Args:
        folder: of the run.
        evaluations: which.
        bounds: that they were picked by, to be told.
        finetune_epochs: of each; None: as the winners that there are, or else as in run.toml.
        on_progress: told of the training.

    Returns:
        The bundle of each.

    Raises:
        RunError, ExportError, StoredFileError: as `export`.
    """
    require_one_process("export")
    with exclusive(folder.path), stage(folder, "exporting"):
        wanted = known_winners(folder)
        own, options = _own_of(folder, _exported(folder)), _options_of(folder, _exported(folder))
        if finetune_epochs is not None:
            own = AloneSettings.of(folder, epochs=finetune_epochs)
        chosen = []
        for evaluation in evaluations:
            described = _describe(folder, evaluation, free_name(wanted), own, options)
            same = next((one for one in wanted if one.trained_by == described.trained_by), None)
            picked = replace(same or described, picked_by=bounds)
            wanted = [picked if one is same else one for one in wanted] if same else [*wanted, picked]
            chosen.append(picked)
        _make(folder, wanted, on_progress=on_progress)
    return [folder.path / winner.bundle for winner in chosen]


def _export(
    folder: RunFolder, count: int, own: AloneSettings, options: BundleOptions, *, on_progress: OnProgress
) -> list[Path]:
    """Makes `count` members of the front the winners; bundles that were picked stay beside them."""
    chosen = folder.load_front(empty=False).choose(count)
    with exclusive(folder.path), stage(folder, "exporting"):
        known = [one for one in known_winners(folder) if one.picked_by is not None]
        picked = [replace(one, among=None) for one in known if (folder.path / one.bundle).exists()]
        winners: list[Winner] = []
        for number, evaluation in enumerate(chosen, start=1):
            one = replace(_describe(folder, evaluation, f"winner-{number}", own, options), among=count)
            same = next((old for old in picked if old.trained_by == one.trained_by), None)
            if same is not None:
                picked.remove(same)
                one = replace(one, name=same.name, bundle=same.bundle, picked_by=same.picked_by)
            winners.append(one)
        for place, one in enumerate(winners):
            others = [*winners[:place], *winners[place + 1 :], *picked]
            if one.picked_by is None and one.name in {other.name for other in others}:
                winners[place] = _named(folder, one, free_name([*winners, *picked]))
        _make(folder, [*winners, *picked], on_progress=on_progress)
    return [folder.path / winner.bundle for winner in winners]


def _make(folder: RunFolder, wanted: Sequence[Winner], *, on_progress: OnProgress) -> None:
    """Makes `wanted` the run's winners: keeps the bundles that are theirs and whole, and writes the others."""
    kept = {winner.name: winner for winner in known_winners(folder)}
    missing = [one for one in wanted if kept.get(one.name) != one or not is_whole(folder, one)]
    exporting = next((one for one in wanted if one.is_exported), None)
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
            _write(folder, winner, networks[training], commands_of(winner, exporting))
        later = [one for one in wanted[number:] if kept.get(one.name) == one]
        save_winners(folder, [*wanted[:number], *later])
        on_progress("exporting winners", number, len(wanted))
    for checkpoint in folder.models.glob(f"*{CHECKPOINT}"):
        checkpoint.unlink()


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


def _exported(folder: RunFolder) -> list[Winner]:
    """The winners that `export` has chosen."""
    return [one for one in known_winners(folder) if one.is_exported]


def _own_of(folder: RunFolder, winners: Sequence[Winner]) -> AloneSettings:
    """How `winners` were trained; as run.toml says where there are none."""
    if not winners:
        return AloneSettings.of(folder)
    one = winners[0]
    return AloneSettings.of(folder, start=one.start, epochs=one.finetune_epochs, distillation=one.distillation)


def _options_of(folder: RunFolder, winners: Sequence[Winner]) -> BundleOptions:
    """What was asked of the bundles of `winners`; as run.toml says where there are none."""
    if not winners:
        return BundleOptions.of(folder)
    options = BundleOptions.from_json(winners[0].options)
    asked = [one for one in options.precisions if all(one in winner.options["precisions"] for winner in winners)]
    return replace(options, precisions=tuple(asked) or options.precisions)


def _named(folder: RunFolder, winner: Winner, name: str) -> Winner:
    return replace(winner, name=name, bundle=(folder.models / name).relative_to(folder.path).as_posix())


def _describe(
    folder: RunFolder, evaluation: Evaluation, name: str, own: AloneSettings, options: BundleOptions
) -> Winner:
    network, precision = folder.split(evaluation.architecture)
    return Winner(
        name,
        (folder.models / name).relative_to(folder.path).as_posix(),
        evaluation.architecture.to_json(),
        folder.network_space.describe(network),
        precision,
        dict(evaluation.values),
        own.epochs,
        own.start,
        own.distillation,
        options.with_precision(precision).to_json(),
    )


def _forget(folder: RunFolder, gone: Sequence[Winner], wanted: Sequence[Winner]) -> None:
    """Removes the bundles that have no successor, and what was said of the models that were there before."""
    forget_findings(folder, gone)
    for name in {winner.bundle for winner in gone} - {winner.bundle for winner in wanted}:
        shutil.rmtree(folder.path / name, ignore_errors=True)


def _training(folder: RunFolder, winner: Winner) -> tuple[Any, ...]:
    """What the weights of `winner` follow from: its precision too, where the search has made a network for each pair."""
    architecture = folder.space.from_json(winner.architecture)
    pairs = winner.start == "inherited" and folder.settings.weights != "shared"
    return (architecture if pairs else folder.split(architecture)[0]), *winner.training.values()


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
                manifest = load_manifest(bundle)
                whole = sha256_of(bundle / WEIGHTS) == manifest["files"][WEIGHTS]["sha256"]
                if whole and has_weights_of(winner, manifest):
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


def _write(folder: RunFolder, winner: Winner, network: nn.Module, commands: Sequence[str]) -> None:
    """Makes the bundle of `winner`, and puts it in place when it is whole."""
    forget_findings(folder, [winner])
    place = folder.path / winner.bundle
    scratch = place.with_name(f".{place.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    architecture = folder.space.from_json(winner.architecture)
    about = {
        "name": winner.name,
        "values": dict(winner.values),
        "training": winner.training,
        "commands": list(commands),
    }
    write_bundle(folder, scratch, network, architecture, BundleOptions.from_json(winner.options), about)
    shutil.rmtree(place, ignore_errors=True)
    scratch.rename(place)
