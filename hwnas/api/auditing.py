"""The verb `audit`: the supernet's ranking, held against that of networks trained alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.training import AloneSettings, evaluator_of, train_alone
from hwnas.benchmarks import Benchmark, find_benchmark
from hwnas.errors import SettingsError
from hwnas.files import exclusive, read_json, write_json
from hwnas.progress import OnProgress, silent
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.reports import draw_audit
from hwnas.spaces import Architecture, SearchSpace
from hwnas.training import accuracy

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
        source: "published": recorded accuracies, where the space has them for these data; "trained": each is trained
            from scratch by the run's training settings; "auto": published where there are some.
        epochs: of each training; None: those of the supernet.
        seed: of the architectures.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each training and each evaluation.

    Returns:
        The audit, also stored as audit.json and drawn as audit.svg.

    Raises:
        SettingsError: a number out of range, or no published accuracies where they are asked for.
        StoredFileError: the supernet is not trained, or a file could not be written.
    """
    folder = open_run(run, space=space, data=data)
    if not 3 <= architectures <= 100_000:
        raise SettingsError("architectures", "must be from 3 to 100000", came=f"{architectures} came")
    if epochs is not None and epochs < 1:
        raise SettingsError("epochs", "must be at least 1", came=f"{epochs} came")
    if source not in SOURCES:
        raise SettingsError("source", "must be auto, published or trained", came=f"{source!r} came")
    published = _published(folder) if source != "trained" else None
    if source == "published" and published is None:
        raise SettingsError(
            "source",
            "must be trained where no accuracies were published",
            came=f"there are none of {folder.space.name} on {folder.data.name}",
        )
    with exclusive(folder.path):
        evaluator = evaluator_of(folder)
        chosen = _choose(folder.space, architectures, seed)
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
            [_entry(folder.space, *each) for each in zip(chosen, errors, alone, strict=True)],
            source="trained" if published is None else "published",
            data=folder.data.name,
            epochs=own.epochs if published is None else None,
        )
        found.save(folder.audit)
        draw_audit(found, folder.path / "audit.svg")
    return found


def _published(run: RunFolder) -> Benchmark | None:
    """The published accuracies of the run's space on the run's data."""
    return find_benchmark(run.space) if set(run.data.class_names) == CIFAR10_CLASSES else None


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
    """The validation error of each architecture trained alone; what was trained before is read."""
    place = run.path / "audit"
    place.mkdir(exist_ok=True)
    errors = []
    for number, architecture in enumerate(architectures, start=1):
        name = f"{'-'.join(map(str, architecture.choices))}-{own.epochs}"
        result, checkpoint = place / f"{name}.json", place / f"{name}.pt"
        if result.exists():
            document = read_json(result, kind="result of a training alone", schema_version=SCHEMA_VERSION)
            logger.info("Nothing to train: %s is there", result)
            errors.append(float(document["error"]))
            continue
        network = train_alone(
            run,
            architecture,
            own,
            checkpoint=checkpoint,
            stage=f"training alone, {number} of {len(architectures)}",
            on_progress=on_progress,
        )
        errors.append(1 - accuracy(network, run.data, run.data.validation))
        write_json(result, {"schema_version": SCHEMA_VERSION, "error": errors[-1]})
        checkpoint.unlink(missing_ok=True)
    return errors


def _entry(space: SearchSpace, architecture: Architecture, supernet_error: float, alone_error: float) -> AuditEntry:
    macs = sum(space.counts[operator].macs for operator in space.operators(architecture))
    return AuditEntry(architecture, space.describe(architecture), macs, supernet_error, alone_error)
