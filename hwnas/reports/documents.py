"""What a run folder says, read once into frozen records: the only place of this package that knows the files' keys."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hwnas.errors import RunError, StoredFileError
from hwnas.files import read_json, read_json_lines
from hwnas.predictors import PredictorQuality
from hwnas.rank_audit import RankAudit
from hwnas.reports.fields import Fields

__all__ = [
    "ArchitectureRecord",
    "EvaluationRecord",
    "LatencyRecord",
    "ModelRecord",
    "ObjectiveRecord",
    "ProgressRecord",
    "Run",
    "VerificationRecord",
    "load_run",
]

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
class ArchitectureRecord:
    """An architecture as the files name it: the space and one choice a variable."""

    space: str
    choices: tuple[int, ...]


@dataclass(frozen=True)
class EvaluationRecord:
    """One scored architecture: objective name -> value, or the reason why there is none; seconds it took."""

    architecture: ArchitectureRecord
    values: Mapping[str, float]
    failure: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LatencyRecord:
    """One model's latency on one device, in ms: predicted by the table, measured, and the 95 % interval measured."""

    predicted_ms: float | None
    measured_ms: float | None
    ci95_ms: tuple[float, float] | None


@dataclass(frozen=True)
class ModelRecord:
    """One exported and checked model, `number` counting from 1 in the order of the file; latency by device."""

    number: int
    file: str
    description: str
    architecture: ArchitectureRecord
    validation_error: float | None
    test_accuracy: float | None
    onnx_test_accuracy: float | None
    max_abs_difference: float | None
    same_class: bool | None
    on_front: bool | None
    macs: float | None
    parameters: float | None
    size_bytes: float | None
    latency: Mapping[str, LatencyRecord]

    @property
    def name(self) -> str:
        """The file's name without folder and ending: "winner-1"."""
        return PurePosixPath(self.file).stem or self.file

    @property
    def accuracy(self) -> float | None:
        """The test accuracy of the exported file, else of the model before export, as a fraction."""
        return self.test_accuracy if self.onnx_test_accuracy is None else self.onnx_test_accuracy

    def latency_on(self, device: str) -> LatencyRecord:
        """The latency on `device`; all None where it was not measured there."""
        return self.latency.get(device, LatencyRecord(None, None, None))


@dataclass(frozen=True)
class VerificationRecord:
    """The exported models, how many test images judged them, on which device, in which environment."""

    models: tuple[ModelRecord, ...]
    device: str
    test_images: int | None
    environment: Mapping[str, object]

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device with a latency, the one of the verification first."""
        found = dict.fromkeys([self.device, *(device for model in self.models for device in model.latency)])
        return tuple(device for device in found if any(device in model.latency for model in self.models))


@dataclass(frozen=True)
class ProgressRecord:
    """One line of the search log: the hypervolume and size of the front after so many evaluations."""

    generation: int
    evaluations: int
    hypervolume: float
    front_size: int | None


@dataclass(frozen=True)
class Run:
    """A whole run folder. What a run does not have yet is None or empty; `address` is how a command names it."""

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

    @property
    def models(self) -> tuple[ModelRecord, ...]:
        """The exported models, none before the export."""
        return () if self.verification is None else self.verification.models

    @property
    def failures(self) -> Counter[str]:
        """How many evaluations failed, by reason."""
        return Counter(evaluation.failure for evaluation in self.evaluations if evaluation.failure is not None)

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
    members = tuple(_read_evaluation(fields) for fields in front.objects("evaluations"))
    return Run(
        name=run_folder.resolve().name,
        address=_command_line_address(run_folder),
        space=space or next((member.architecture.space for member in members), ""),
        settings=_read_settings(run_folder / "run.toml"),
        objectives=tuple(_read_objective(fields) for fields in front.objects("objectives")),
        front=members,
        evaluations=evaluations,
        progress=_read_progress(run_folder / "search_log.jsonl"),
        verification=_read_verification(run_folder / "verification.json"),
        audit=RankAudit.load(audit) if audit.exists() else None,
        predictor=PredictorQuality.load(predictor) if predictor.exists() else None,
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


def _read_objective(fields: Fields) -> ObjectiveRecord:
    return ObjectiveRecord(fields.text("name"), fields.text("unit", ""), fields.text("direction", "minimize"))


def _read_architecture(fields: Fields) -> ArchitectureRecord:
    architecture = fields.object("architecture")
    return ArchitectureRecord(architecture.text("space"), architecture.integers("choices"))


def _read_evaluation(fields: Fields) -> EvaluationRecord:
    failed = fields.document.get("failure") is not None
    return EvaluationRecord(
        architecture=_read_architecture(fields),
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
            ProgressRecord(int(generation or 0), int(evaluations), hypervolume, None if size is None else int(size))
        )
    return tuple(records)


def _read_verification(path: Path) -> VerificationRecord | None:
    if not path.exists():
        return None
    document = read_json(path, kind="verification", schema_version=SCHEMA_VERSION)
    fields = Fields(document, str(path))
    device = fields.text("device", "")
    images = fields.number("test_images")
    return VerificationRecord(
        models=tuple(_read_model(n, model, device) for n, model in enumerate(fields.objects("models"), start=1)),
        device=device,
        test_images=None if images is None else int(images),
        environment=fields.object("environment").document,
    )


def _read_model(number: int, fields: Fields, device: str) -> ModelRecord:
    latency = {}
    by_device = fields.object("latency")
    for name in by_device.document:
        latency[name] = _read_latency(by_device.object(name))
    own = _read_latency(fields)
    if device not in latency and own != LatencyRecord(None, None, None):
        latency[device] = own
    return ModelRecord(
        number=number,
        file=fields.text("file"),
        description=fields.text("description", ""),
        architecture=_read_architecture(fields),
        validation_error=fields.number("validation_error"),
        test_accuracy=fields.number("test_accuracy"),
        onnx_test_accuracy=fields.number("onnx_test_accuracy"),
        max_abs_difference=fields.number("max_abs_difference"),
        same_class=fields.flag("same_class"),
        on_front=fields.flag("on_front"),
        macs=fields.number("macs"),
        parameters=fields.number("parameters"),
        size_bytes=fields.number("size_bytes"),
        latency=latency,
    )


def _read_latency(fields: Fields) -> LatencyRecord:
    return LatencyRecord(
        fields.number("predicted_ms"), fields.number("measured_ms"), fields.interval("measured_ci95_ms")
    )
