"""What verification.json says: every exported file checked, scored, and measured on each device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from hwnas.errors import StoredFileError
from hwnas.files import read_json
from hwnas.reports.fields import ArchitectureRecord, Fields

__all__ = ["FileRecord", "LatencyRecord", "ModelRecord", "VerificationRecord", "read_latencies", "read_verification"]

SCHEMA_VERSION: Final = 2


@dataclass(frozen=True)
class LatencyRecord:
    """The latency of one file on one device, in ms.

    Attributes:
        predicted_ms: by the latency table.
        measured_ms: end to end.
        ci95_ms: the 95 % interval of the measurement.
        predicted_interval_ms: the prediction interval.
        not_measured: why there is no measurement.
    """

    predicted_ms: float | None = None
    measured_ms: float | None = None
    ci95_ms: tuple[float, float] | None = None
    predicted_interval_ms: tuple[float, float] | None = None
    not_measured: str | None = None


@dataclass(frozen=True)
class FileRecord:
    """One exported file of a model.

    `same_class` is the share of test images on which it gives torch's class, `batch_size` that of its latencies.
    """

    file: str
    precision: str
    image_input: bool = False
    batch_size: int | None = None
    test_accuracy: float | None = None
    max_abs_difference: float | None = None
    same_class: float | None = None
    size_bytes: float | None = None
    peak_memory_bytes: float | None = None
    latency: Mapping[str, LatencyRecord] = field(default_factory=dict)

    def latency_on(self, device: str) -> LatencyRecord:
        """The latency on `device`; all None where nothing is said of it."""
        return self.latency.get(device, LatencyRecord())


@dataclass(frozen=True)
class ModelRecord:
    """One exported architecture with all its files; `number` is that of its name, winner-3, or else its place in the file.

    Its `precision` is the one that the search chose; `own` is the file of it.
    """

    number: int
    name: str
    architecture: ArchitectureRecord
    precision: str
    files: tuple[FileRecord, ...]
    description: str = ""
    validation_error: float | None = None
    macs: float | None = None
    parameters: float | None = None
    on_front: bool | None = None

    @property
    def own(self) -> FileRecord:
        """The file of its own precision that takes normalised pixels, else the first."""
        return self.in_precision(self.precision) or self.files[0]

    @property
    def accuracy(self) -> float | None:
        """The test accuracy of its own file, as a fraction."""
        return self.own.test_accuracy

    @property
    def plain_files(self) -> tuple[FileRecord, ...]:
        """The files without preprocessing inside."""
        return tuple(one for one in self.files if not one.image_input)

    def in_precision(self, precision: str) -> FileRecord | None:
        """The ONNX file of `precision` without preprocessing inside, else a variant's or another format's, or None."""
        found = [one for one in self.plain_files if one.precision == precision]
        named = [one for one in found if PurePosixPath(one.file).name == f"{precision}.onnx"]
        return next(iter([*named, *(one for one in found if one.file.endswith(".onnx")), *found]), None)

    def latency_on(self, device: str) -> LatencyRecord:
        """The latency of its own file on `device`."""
        return self.own.latency_on(device)


@dataclass(frozen=True)
class VerificationRecord:
    """The exported models, how many test images judged them, on which device, in which environment."""

    models: tuple[ModelRecord, ...]
    device: str
    test_images: int | None
    environment: Mapping[str, object]

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that a file has a latency for, the one of the verification first."""
        named = [name for model in self.models for one in model.files for name in one.latency]
        return tuple(dict.fromkeys(name for name in [self.device, *named] if name in named))

    @property
    def precisions(self) -> tuple[str, ...]:
        """Every precision that a file has, in the order of the files."""
        return tuple(dict.fromkeys(one.precision for model in self.models for one in model.files))


def read_verification(path: Path) -> VerificationRecord | None:
    """Reads verification.json; None where it is absent.

    Raises:
        StoredFileError: it is damaged, or of an unknown schema version.
    """
    if not path.exists():
        return None
    document = read_json(path, kind="verification", schema_version=SCHEMA_VERSION)
    fields = Fields(document, str(path))
    images = fields.number("test_images")
    return VerificationRecord(
        models=tuple(_read_model(number, model) for number, model in enumerate(fields.objects("models"), start=1)),
        device=fields.text("device", ""),
        test_images=None if images is None else int(images),
        environment=fields.object("environment").document,
    )


def read_latencies(fields: Fields) -> dict[str, LatencyRecord]:
    """The object "latency" by device. Raises StoredFileError."""
    by_device = fields.object("latency")
    return {name: _read_latency(by_device.object(name)) for name in by_device.document}


def _read_model(number: int, fields: Fields) -> ModelRecord:
    files = tuple(_read_file(one) for one in fields.objects("files"))
    if not files:
        raise StoredFileError(f"{fields.where}: 'files'", "must list a file", came="it is empty", do="Verify again")
    name = fields.text("name")
    own = name.rpartition("-")[2]
    return ModelRecord(
        number=int(own) if own.isdecimal() else number,
        name=name,
        architecture=ArchitectureRecord.read(fields),
        precision=fields.text("precision", files[0].precision),
        files=files,
        description=fields.text("description", ""),
        validation_error=fields.number("validation_error"),
        macs=fields.number("macs"),
        parameters=fields.number("parameters"),
        on_front=fields.flag("on_front"),
    )


def _read_file(fields: Fields) -> FileRecord:
    images = fields.number("batch_size")
    return FileRecord(
        file=fields.text("file"),
        precision=fields.text("precision", "fp32"),
        image_input=bool(fields.flag("image_input")),
        batch_size=None if images is None else int(images),
        test_accuracy=fields.number("test_accuracy"),
        max_abs_difference=fields.number("max_abs_difference"),
        same_class=fields.number("same_class"),
        size_bytes=fields.number("size_bytes"),
        peak_memory_bytes=fields.number("peak_memory_bytes"),
        latency=read_latencies(fields),
    )


def _read_latency(fields: Fields) -> LatencyRecord:
    return LatencyRecord(
        fields.number("predicted_ms"),
        fields.number("measured_ms"),
        fields.interval("measured_ci95_ms"),
        fields.interval("predicted_interval_ms"),
        fields.text("not_measured", "") or None,
    )
