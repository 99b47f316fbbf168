"""What a run folder says, read once into frozen records.

This file, and those that it reads the parts by, are the only places of this package that know the files' keys.
"""

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwnas.errors import RunError, StoredFileError
from hwnas.exporters import PRECISIONS
from hwnas.files import read_json, read_json_lines
from hwnas.predictors import PredictorQuality
from hwnas.rank_audit import RankAudit
from hwnas.reports.baselines import BaselineRecord, ComparisonRecord, read_comparison
from hwnas.reports.fields import ArchitectureRecord, Fields
from hwnas.reports.refinements import RoundRecord, read_refinement
from hwnas.reports.stages import StageRecord, read_stages
from hwnas.reports.verifications import ModelRecord, VerificationRecord, read_verification

__all__ = ["EvaluationRecord", "ObjectiveRecord", "ProgressRecord", "Run", "load_run"]

SCHEMA_VERSION = 1
LATENCY_PREFIX = "latency_ms@"


@dataclass(frozen=True)
class ObjectiveRecord:
    """One objective: its name ("latency_ms@rpi4"), unit ("ms") and direction ("minimize" or "maximize")."""

    name: str
    unit: str
    direction: str

    @property
    def device(self) -> str | None:
        """The device whose latency this is, or None for every other objective."""
        return self.name.removeprefix(LATENCY_PREFIX) if self.name.startswith(LATENCY_PREFIX) else None

    @property
    def maximize(self) -> bool:
        """Whether more of it is better."""
        return self.direction == "maximize"


@dataclass(frozen=True)
class EvaluationRecord:
    """One scored architecture: objective name -> value, or the reason why there is none; seconds it took."""

    architecture: ArchitectureRecord
    values: Mapping[str, float]
    failure: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ProgressRecord:
    """One line of the search log: the hypervolume and size of the front after so many evaluations and seconds."""

    generation: int
    evaluations: int
    hypervolume: float
    front_size: int | None
    seconds: float | None = None


@dataclass(frozen=True)
class Run:
    """A whole run folder. What a run does not have yet is None or empty.

    `address` is how a command names it. `precisions` are those that were searched among, from few bits to many: where there
    are several, the last choice of an architecture says which one it has. `batch_size` is that of the searched latencies.
    """

    name: str
    address: str
    space: str
    settings: str | None
    objectives: tuple[ObjectiveRecord, ...]
    front: tuple[EvaluationRecord, ...]
    evaluations: tuple[EvaluationRecord, ...]
    progress: tuple[ProgressRecord, ...]
    verification: VerificationRecord | None
    audit: RankAudit | None = None
    predictor: PredictorQuality | None = None
    comparison: ComparisonRecord | None = None
    refinement: tuple[RoundRecord, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    batch_size: int = 1

    @property
    def models(self) -> tuple[ModelRecord, ...]:
        """The exported models, none before the export."""
        return () if self.verification is None else self.verification.models

    @property
    def baselines(self) -> tuple[BaselineRecord, ...]:
        """The networks that the run was compared with, none before the comparison."""
        return () if self.comparison is None else self.comparison.baselines

    @property
    def failures(self) -> Counter[str]:
        """How many evaluations failed, by reason."""
        return Counter(evaluation.failure for evaluation in self.evaluations if evaluation.failure is not None)

    @property
    def validation_images(self) -> int | None:
        """How many images each architecture was scored on, where the run has recorded it."""
        return next((one.images for one in reversed(self.stages) if one.images is not None), None)

    def precision_of(self, architecture: ArchitectureRecord) -> str:
        """The precision that `architecture` has, or the run's only one."""
        chosen = architecture.choices[-1] if len(self.precisions) > 1 and architecture.choices else 0
        return self.precisions[chosen] if 0 <= chosen < len(self.precisions) else self.precisions[0]

    def model_of(self, architecture: ArchitectureRecord) -> ModelRecord | None:
        """The exported model of `architecture`; None where it was not exported."""
        return next((model for model in self.models if model.architecture.choices == architecture.choices), None)

    def measured_ms(self, model: ModelRecord, device: str) -> float | None:
        """The latency of `model` as the search speaks of it; None where it was not measured, or on other batch sizes."""
        comparable = model.own.batch_size in (None, self.batch_size)
        return model.latency_on(device).measured_ms if comparable else None

    def objective(self, name: str) -> ObjectiveRecord | None:
        """The objective called `name`, or None where the search had none."""
        return next((objective for objective in self.objectives if objective.name == name), None)


def load_run(run_folder: Path) -> Run:
    """Reads `run_folder`.

    Raises:
        RunError: the folder holds no front.json, so the search has not ended.
        StoredFileError: a file that cannot be read, is damaged, or of another schema version.
    """
    front_path = run_folder / "front.json"
    if not front_path.exists():
        raise RunError(
            str(run_folder),
            "must hold a front.json",
            came="it has none, so its search has not ended",
            do="Run the same `hwnas search` again: it goes on where it was",
        )
    document = read_json(front_path, kind="Pareto front", schema_version=SCHEMA_VERSION)
    front = Fields(document, str(front_path))
    audit, predictor = run_folder / "audit.json", run_folder / "predictor.json"
    space, evaluations = _read_evaluations(run_folder / "evaluations.jsonl")
    settings = _read_settings(run_folder / "run.toml")
    given = _parsed(settings, run_folder / "run.toml")
    members = tuple(_read_evaluation(fields) for fields in front.objects("evaluations"))
    return Run(
        name=run_folder.resolve().name,
        address=_command_line_address(run_folder),
        space=space or next((member.architecture.space for member in members), ""),
        settings=settings,
        objectives=tuple(_read_objective(fields) for fields in front.objects("objectives")),
        front=members,
        evaluations=evaluations,
        progress=_read_progress(run_folder / "search_log.jsonl"),
        verification=read_verification(run_folder / "verification.json"),
        audit=RankAudit.load(audit) if audit.exists() else None,
        predictor=PredictorQuality.load(predictor) if predictor.exists() else None,
        comparison=read_comparison(run_folder / "comparison.json"),
        refinement=read_refinement(run_folder / "refinement.json"),
        stages=read_stages(run_folder / "stages.jsonl"),
        precisions=_precisions(given.document, run_folder / "run.toml"),
        batch_size=int(given.number("batch_size") or 1),
    )


def _command_line_address(run_folder: Path) -> str:
    """The folder as typed from here, so that a page to be shown around names no home folder."""
    whole, here = run_folder.resolve(), Path.cwd()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else run_folder.as_posix()


def _read_settings(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise StoredFileError(str(path), "must be readable text", came=str(error)) from error


def _parsed(settings: str | None, path: Path) -> Fields:
    try:
        return Fields(tomllib.loads(settings or ""), str(path))
    except tomllib.TOMLDecodeError as error:
        raise StoredFileError(str(path), "must be TOML", came=str(error)) from error


def _precisions(given: Mapping[str, object], path: Path) -> tuple[str, ...]:
    found = given.get("precisions", [given.get("precision", "fp32")])
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise StoredFileError(f"{path}: precisions", "must list precisions", came=f"it is {found!r:.80}")
    bits = {name: place for place, name in enumerate(reversed(PRECISIONS))}
    return tuple(sorted(found, key=lambda name: bits.get(name, len(bits))))


def _read_objective(fields: Fields) -> ObjectiveRecord:
    return ObjectiveRecord(fields.text("name"), fields.text("unit", ""), fields.text("direction", "minimize"))


def _read_evaluation(fields: Fields) -> EvaluationRecord:
    failed = fields.document.get("failure") is not None
    return EvaluationRecord(
        architecture=ArchitectureRecord.read(fields),
        values={} if failed else fields.numbers("values"),
        failure=fields.text("failure") if failed else None,
        seconds=fields.number("seconds"),
    )


def _read_evaluations(path: Path) -> tuple[str, tuple[EvaluationRecord, ...]]:
    """The space named in the header ("" without a file) and the evaluations after it."""
    lines = read_json_lines(path)
    if not lines:
        return "", ()
    found = lines[0].get("schema_version")
    if found != SCHEMA_VERSION:
        raise StoredFileError(
            str(path), f"must begin with a header of schema_version {SCHEMA_VERSION}", came=f"that says {found!r}"
        )
    header = Fields(lines[0], f"{path} line 1")
    evaluations = (_read_evaluation(Fields(line, f"{path} line {n}")) for n, line in enumerate(lines[1:], start=2))
    return header.text("space", ""), tuple(evaluations)


def _read_progress(path: Path) -> tuple[ProgressRecord, ...]:
    records = []
    for number, line in enumerate(read_json_lines(path), start=1):
        fields = Fields(line, f"{path} line {number}")
        evaluations, hypervolume = fields.number("evaluations"), fields.number("hypervolume")
        if evaluations is None or hypervolume is None:
            continue  # before the first feasible architecture there is no hypervolume, and a header has none either
        size, generation = fields.number("front_size"), fields.number("generation")
        records.append(
            ProgressRecord(
                int(generation or 0),
                int(evaluations),
                hypervolume,
                None if size is None else int(size),
                fields.number("seconds"),
            )
        )
    return tuple(records)
