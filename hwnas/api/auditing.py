"""The verb `audit`: the supernet's ranking, held against that of networks trained alone."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.training import AloneSettings, accuracy_alone, evaluator_of, train_alone
from hwnas.benchmarks import Benchmark, find_benchmark
from hwnas.errors import SettingsError
from hwnas.files import exclusive, read_json, write_json
from hwnas.progress import OnProgress, silent
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.reports import draw_audit
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training import training_identity

__all__ = ["audit"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
MAX_DRAWS: Final = 100
CIFAR10_CLASSES: Final = frozenset(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
)

SOURCES: Final = ("auto", "published", "trained")


def audit(
    run: str | Path,
    *,
    architectures: int = 20,
    source: str = "auto",
    epochs: int | None = None,
    seed: int = 0,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> RankAudit:
    """Holds the supernet's errors of random architectures against their errors when each is trained alone.

    A stopped audit is gone on with: an architecture that was trained is not trained again.

    Args:
        run: the run folder, or the run.toml in it; its supernet must be trained.
        architectures: how many.
        source: "published": recorded errors, where the space has them for these classes; "trained": each is trained
            from scratch by the run's training settings; "auto": published where there are some.
        epochs: of each training; None: those of the supernet. To be left out where published errors are used.
        seed: of the architectures.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each training and each evaluation.

    Returns:
        The audit, also stored as audit.json and drawn as audit.svg.

    Raises:
        SettingsError: a number out of range, epochs of nothing, or no published errors where they are asked for.
        RunError: the supernet was trained on other data or by other settings.
        StoredFileError: the supernet is not trained, or a file could not be written.
    """
    require_one_process("audit")
    folder = open_run(run, space=space, data=data)
    if not 3 <= architectures <= 100_000:
        raise SettingsError("architectures", "must be from 3 to 100000", came=f"{architectures} came")
    if epochs is not None and epochs < 1:
        raise SettingsError("epochs", "must be at least 1", came=f"{epochs} came")
    published = _published(folder, source, epochs)
    with exclusive(folder.path):
        evaluator = evaluator_of(folder)
        chosen = _choose(folder.network_space, architectures, seed)
        own = AloneSettings.of(folder, start="scratch", epochs=epochs, distillation=0.0)
        if published is None:
            alone = _trained(folder, chosen, own, on_progress)
        else:
            alone = published.values("error", chosen).tolist()
        errors = []
        for number, architecture in enumerate(chosen, start=1):
            errors.extend(evaluator.errors([architecture]))
            on_progress("evaluating with the supernet", number, len(chosen))
        found = RankAudit.of(
            [_entry(folder.network_space, *each) for each in zip(chosen, errors, alone, strict=True)],
            source="trained" if published is None else "published",
            data=folder.data.name,
            alone_data=None if published is None else published.data,
            epochs=own.epochs if published is None else None,
        )
        found.save(folder.audit)
        draw_audit(found, folder.path / "audit.svg")
    return found


def _published(run: RunFolder, source: str, epochs: int | None) -> Benchmark | None:
    """The published errors to use; None where each architecture is to be trained. Raises SettingsError."""
    if source not in SOURCES:
        raise SettingsError("source", "must be auto, published or trained", came=f"{source!r} came")
    known = source != "trained" and set(run.data.class_names) == CIFAR10_CLASSES
    found = find_benchmark(run.network_space) if known else None
    if source == "published" and found is None:
        raise SettingsError(
            "source",
            "must be trained where no errors were published",
            came=f"there are none of {run.network_space.name} on {run.data.name}",
        )
    if found is not None and epochs is not None:
        raise SettingsError(
            "epochs",
            f"must be left out where errors published on {found.data} are used",
            came=f"{epochs} came",
            do='Set source to "trained" to train each architecture alone',
        )
    return found


def _choose(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different random architectures, fewer where the space has fewer."""
    rng = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    for _ in range(MAX_DRAWS):
        found.update(dict.fromkeys(space.architectures(space.sample_choices(count, rng=rng))))
        if len(found) >= count:
            break
    return list(found)[:count]


def _trained(
    run: RunFolder, architectures: Sequence[Architecture], own: AloneSettings, on_progress: OnProgress
) -> list[float]:
    """The validation error of each architecture trained alone."""
    count = len(architectures)
    return [
        _error_alone(run, architecture, own, f"training alone, {number} of {count}", on_progress)
        for number, architecture in enumerate(architectures, start=1)
    ]


def _error_alone(
    run: RunFolder, architecture: Architecture, own: AloneSettings, stage: str, on_progress: OnProgress
) -> float:
    """Of one architecture; read where it was trained before by the same settings on the same images."""
    place = run.path / "audit"
    name = own.name(architecture)
    result, checkpoint = place / f"{name}.json", place / f"{name}.pt"
    training = replace(run.settings.training, epochs=own.epochs)
    of = {
        **run.network_space.identity(),
        **architecture.to_json(),
        **training_identity(run.data, training, run.settings.seed),
    }
    if result.exists():
        document = read_json(result, kind="result of a training alone", schema_version=SCHEMA_VERSION)
        if document.get("of") == of:
            logger.info("Nothing to train: %s is there", result)
            return float(document["error"])
        logger.info("Training anew: %s is of another training", result)
    network = train_alone(run, architecture, own, checkpoint=checkpoint, stage=stage, on_progress=on_progress)
    error = 1 - accuracy_alone(network, run.data, run.data.validation)
    write_json(result, {"schema_version": SCHEMA_VERSION, "of": of, "error": error})
    checkpoint.unlink(missing_ok=True)
    return error


def _entry(space: SearchSpace, architecture: Architecture, supernet_error: float, alone_error: float) -> AuditEntry:
    macs = sum(space.counts[operator].macs for operator in space.operators(architecture))
    return AuditEntry(architecture, space.describe(architecture), macs, supernet_error, alone_error)
