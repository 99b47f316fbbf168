"""What `export` and `pick` leave in a run folder: the list of winners, their bundles, and what was found of them since.

A winner's entry says all that its bundle follows from, so that what is there can be told from what is wanted.
"""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hwnas.api.converting import BundleOptions
from hwnas.api.measured import VERIFICATION_SCHEMA
from hwnas.api.run_folder import RunFolder
from hwnas.bundles import altered_files, load_manifest
from hwnas.errors import RunError, StoredFileError
from hwnas.files import read_json, write_json

__all__ = [
    "COMPARISON_SCHEMA",
    "Winner",
    "commands_of",
    "forget_findings",
    "free_name",
    "has_weights_of",
    "is_whole",
    "known_winners",
    "load_winners",
    "save_winners",
    "verified_bundles",
]

SCHEMA_VERSION: Final = 2
COMPARISON_SCHEMA: Final = 1


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
        among: how many winners were asked for when it was exported; None where it was only picked.
        picked_by: the bounds that it was picked by, if it was: such a bundle stays until it is deleted by hand.
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
    among: int | None = field(default=None, compare=False)
    picked_by: str | None = field(default=None, compare=False)

    @property
    def is_exported(self) -> bool:
        """Whether it is one of the winners that `export` has chosen."""
        return self.among is not None or self.picked_by is None

    @property
    def training(self) -> dict[str, Any]:
        """How it was trained by itself, as its manifest says."""
        return {"epochs": self.finetune_epochs, "start": self.start, "distillation": self.distillation}

    @property
    def file(self) -> str:
        """The ONNX file of its own precision, relative to the run folder."""
        return f"{self.bundle}/{self.precision}.onnx"

    @property
    def trained_by(self) -> tuple[Any, ...]:
        """What its weights follow from, besides the run."""
        return dict(self.architecture), *self.training.values()


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


def known_winners(folder: RunFolder) -> list[Winner]:
    """The winners that there are, if any."""
    return load_winners(folder) if folder.manifest.exists() else []


def save_winners(folder: RunFolder, winners: Sequence[Winner]) -> None:
    """Writes what `load_winners` reads. Raises StoredFileError."""
    write_json(folder.manifest, {"schema_version": SCHEMA_VERSION, "models": [asdict(winner) for winner in winners]})


def verified_bundles(folder: RunFolder) -> list[str]:
    """The bundles that verification.json tells of, in its order; none where nothing was verified. Raises StoredFileError."""
    if not folder.verification.exists():
        return []
    document = read_json(folder.verification, kind="verification", schema_version=VERIFICATION_SCHEMA)
    return [one["bundle"] for one in document["models"]]


def free_name(winners: Sequence[Winner]) -> str:
    """The first of "winner-1", "winner-2" … that none of `winners` has."""
    taken = {one.name for one in winners}
    return next(name for name in (f"winner-{number}" for number in itertools.count(1)) if name not in taken)


def commands_of(winner: Winner, exporting: Winner | None) -> list[str]:
    """The commands that make the bundle of `winner` of a folder RUN; a picked one is made as those `exporting` was."""
    told = []
    if exporting is not None:
        words = ["hwnas", "export", "RUN", *(["--winners", str(exporting.among)] if exporting.among else [])]
        source = winner if winner.is_exported else exporting
        words += ["--finetune-epochs", str(source.finetune_epochs)]
        told.append(shlex.join([*words, *BundleOptions.from_json(source.options).arguments()]))
    if not winner.is_exported:
        epochs = ["--finetune-epochs", str(winner.finetune_epochs)]
        told.append(shlex.join(["hwnas", "pick", "RUN", str(winner.picked_by), *epochs]))
    return ["hwnas search run.toml", *told, "hwnas verify RUN"]


def is_whole(folder: RunFolder, winner: Winner) -> bool:
    """Whether the bundle is that of `winner`, with all its files as they were made."""
    bundle = folder.path / winner.bundle
    try:
        manifest = load_manifest(bundle)
        own = manifest["name"] == winner.name and manifest.get("options") == dict(winner.options)
        return own and has_weights_of(winner, manifest) and not altered_files(bundle, manifest)
    except StoredFileError:
        return False


def has_weights_of(winner: Winner, manifest: Mapping[str, Any]) -> bool:
    """Whether the weights of a bundle are those of `winner`: a stopped export may have left others in its place."""
    return bool(
        manifest["architecture"]["in_search"] == dict(winner.architecture) and manifest["training"] == winner.training
    )


def forget_findings(folder: RunFolder, winners: Sequence[Winner]) -> None:
    """Drops what was found of bundles that are replaced or gone; of the others it stays.

    A comparison that tells of one goes as a whole: who dominates whom is said of all.
    """
    names = {winner.name for winner in winners}
    if names and folder.verification.exists():
        document = _document(folder.verification, "verification", VERIFICATION_SCHEMA)
        models = document.get("models", [])
        left = [one for one in models if one.get("name") not in names]
        if not left:
            folder.verification.unlink()
        elif len(left) < len(models):
            write_json(folder.verification, {**document, "models": left})
        if len(left) < len(models) or not left:
            folder.report.unlink(missing_ok=True)
    if names and folder.comparison.exists():
        told = _document(folder.comparison, "comparison", COMPARISON_SCHEMA).get("winners", [])
        if not told or names & {one.get("name") for one in told}:
            folder.comparison.unlink()
            folder.report.unlink(missing_ok=True)


def _document(path: Path, kind: str, schema_version: int) -> dict[str, Any]:
    """A JSON document; an empty one where it cannot be read, and so is worth nothing."""
    try:
        return read_json(path, kind=kind, schema_version=schema_version)
    except StoredFileError:
        return {}
