"""How long torchvision's networks are trained to be held against the winners of a run, and their training and export."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnx
import torch
from torch import nn

from hwnas.api.converting import BundleOptions, write_models
from hwnas.api.run_folder import RunFolder
from hwnas.api.winner_list import Winner
from hwnas.baselines import Baseline
from hwnas.bundles import sha256_of
from hwnas.errors import ExportError
from hwnas.exporters import TOLERANCE, relative_difference, run_onnx
from hwnas.files import first_difference, read_json, read_json_lines, write_json
from hwnas.progress import OnProgress, silent
from hwnas.training import TrainingSettings, predict_logits, train_network, training_identity

__all__ = ["Budget", "baseline_options", "file_accuracy", "train_baseline"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Budget:
    """How long each baseline is trained: for all epochs that went into the weights of a winner.

    Where in doubt, the baselines have more. Of a supernet's training each winner is said to have had the whole, though all
    sub-networks have shared it, and a winner that grew from others is said to have had all of theirs; the images of the
    validation part, which winners are trained on in `finetune_epochs` only, come in all epochs of a baseline, and all at
    full resolution. The other settings are those of the run. A teacher's predictions, where winners learn from them, are
    left out.

    Attributes:
        epochs: of each baseline, from scratch.
        search_epochs: those that a winner had before the export.
        finetune_epochs: those that it had in the export.
        images: in an epoch.
        steps: in all epochs.
    """

    epochs: int
    search_epochs: int
    finetune_epochs: int
    images: int
    steps: int

    @classmethod
    def of(cls, run: RunFolder, winners: Sequence[Winner]) -> "Budget":
        """That of a run; where its winners were trained for unlike times, the longest. Raises StoredFileError."""
        spent = [(_search_epochs(run, winner), winner.finetune_epochs) for winner in winners]
        before, finetuned = max(spent, key=sum)
        images, epochs = len(run.data.train_and_validation), before + finetuned
        return cls(epochs, before, finetuned, images, epochs * (images // run.settings.training.batch_size))

    def settings(self, run: RunFolder) -> TrainingSettings:
        """Those that the baselines of `run` are trained by."""
        return replace(run.settings.training, epochs=self.epochs, first_resolution=1.0)


def train_baseline(
    run: RunFolder,
    baseline: Baseline,
    budget: Budget,
    options: BundleOptions,
    *,
    stage: str = "training",
    on_progress: OnProgress = silent,
) -> list[dict[str, Any]]:
    """Trains, exports and scores a baseline in the run's folder "baselines", or reads what came of it before.

    Args:
        run: whose data and seed.
        baseline: the network.
        budget: how long.
        options: of the files, see `baseline_options`.
        stage: what `on_progress` is told.
        on_progress: told of loss and accuracy.

    Returns:
        For each precision "name" (with the precision where there are several), "precision", "file" (relative to the run
        folder), "sha256", "test_accuracy" (of the file), "macs", "parameters", "size_bytes".

    Raises:
        TrainingError: as `train_network`.
        ExportError: it cannot be exported, or its float file does not give what torch gives.
        StoredFileError: a file is broken or could not be written.
    """
    data, place = run.data, run.baselines / baseline.slug
    of = {**training_identity(data, budget.settings(run), run.settings.seed), "options": options.to_json()}
    result = place / "result.json"
    known = _known(run, result, of)
    if known is not None:
        logger.info("Nothing to train: %s is there", place)
        return known
    checkpoint = place / f"{budget.epochs}-epochs.checkpoint.pt"
    network = _network(run, baseline, budget, checkpoint, stage, on_progress)
    result.unlink(missing_ok=True)  # it tells of the files that are now replaced
    written = write_models(run, place, network, options, {})
    if "fp32" in options.precisions:
        _check_parity(run, network, place / "fp32.onnx")
    counts = baseline.counts(data.input_shape, data.num_classes)
    entries = [
        {
            "name": baseline.name if len(options.precisions) == 1 else f"{baseline.name}, {precision}",
            "precision": precision,
            "file": (place / f"{precision}.onnx").relative_to(run.path).as_posix(),
            "sha256": written[f"{precision}.onnx"]["sha256"],
            "test_accuracy": file_accuracy(run, place / f"{precision}.onnx"),
            "macs": counts.macs,
            "parameters": counts.parameters,
            "size_bytes": written[f"{precision}.onnx"]["size_bytes"],
        }
        for precision in options.precisions
    ]
    write_json(result, {"schema_version": SCHEMA_VERSION, "of": of, "entries": entries})
    checkpoint.unlink()
    return entries


def baseline_options(run: RunFolder, winners: Sequence[Winner]) -> BundleOptions:
    """Those that the winners were exported with, as far as they tell on what is compared; the run's precisions."""
    own = BundleOptions.from_json(winners[0].options)
    precisions = BundleOptions.of(run).precisions
    return replace(own, precisions=precisions, image_input=False, engine=None, openvino=False)


def file_accuracy(run: RunFolder, path: Path) -> float:
    """The share of the test part that an exported file classifies rightly, by ONNX Runtime on this machine's CPU."""
    return float((_logits(run, path).argmax(1) == run.data.test.labels_N.numpy()).mean())


def _known(run: RunFolder, result: Path, of: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """What came of the same training before; None where it is of another, or a file is not the one that it tells of."""
    if not result.exists():
        return None
    known = read_json(result, kind="trained baseline", schema_version=SCHEMA_VERSION)
    entries: list[dict[str, Any]] = known["entries"]
    paths = [run.path / one["file"] for one in entries]
    whole = all(
        path.exists() and sha256_of(path) == one.get("sha256") for path, one in zip(paths, entries, strict=True)
    )
    return entries if whole and first_difference(known["of"], of) is None else None


def _search_epochs(run: RunFolder, winner: Winner) -> int:
    """The epochs that the weights of `winner` had been trained for when the export took them over."""
    settings = run.settings
    if winner.start == "scratch":
        return 0
    if settings.weights == "shared":
        return settings.training.epochs
    parents: dict[tuple[int, ...], Sequence[int] | None] = {}
    if settings.weights == "inherited":
        lines = read_json_lines(run.evaluations)[1:]
        parents = {tuple(line["architecture"]["choices"]): line.get("parent") for line in lines}
    lineage = [tuple(winner.architecture["choices"])]
    while parent := parents.get(lineage[-1]):
        lineage.append(tuple(parent))
    return len(lineage) * settings.network_epochs


def _network(
    run: RunFolder, baseline: Baseline, budget: Budget, checkpoint: Path, stage: str, on_progress: OnProgress
) -> nn.Module:
    data, seed = run.data, run.settings.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = baseline.build(data.input_shape, data.num_classes)
    return train_network(
        network,
        data,
        budget.settings(run),
        part=data.train_and_validation,
        checkpoint=checkpoint,
        identity={"baseline": baseline.name},
        seed=seed,
        stage=stage,
        on_progress=on_progress,
    ).to(memory_format=torch.contiguous_format)


def _check_parity(run: RunFolder, network: nn.Module, path: Path) -> None:
    """Raises ExportError where a float file does not give what torch gives on all test images."""
    data = run.data
    torch_NK, onnx_NK = predict_logits(network, data, data.test).numpy(), _logits(run, path)
    difference = relative_difference(onnx_NK, torch_NK)
    same_class = bool((torch_NK.argmax(1) == onnx_NK.argmax(1)).all())
    if not difference <= TOLERANCE or not same_class:
        raise ExportError(
            str(path),
            f"must give torch's outputs within {TOLERANCE:g} of the largest and its class on all {len(data.test)} test "
            "images",
            came=f"they are {difference:.3g} apart{'' if same_class else ', and classes differ'}",
        )


def _logits(run: RunFolder, path: Path) -> Array:
    """The logits (N, K) of an exported file for the test part."""
    return run_onnx(onnx.load(path), run.data.test.images_NCHW, prepare=run.data.normalized)
