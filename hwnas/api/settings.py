"""The settings of a run: the keywords of `search`, which are the keys of run.toml."""

import json
import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hwnas.devices import MeasurementPlan
from hwnas.errors import HwnasError, SettingsError, UnknownNameError
from hwnas.files import read_toml
from hwnas.objectives import OBJECTIVE_KINDS
from hwnas.training import TrainingSettings
from hwnas.workers import parse_workers

__all__ = ["RunSettings", "Start", "Weights", "read_settings", "settings_to_toml"]

Number = int | float
Start = Literal["inherited", "scratch"]
Weights = Literal["shared", "inherited", "scratch"]
Precision = Literal["fp32", "fp16", "int8"]
SECTIONS = {"training": TrainingSettings, "measurement": MeasurementPlan}


class RunSettings(BaseModel):
    """All that a run follows from.

    Attributes:
        space: the search space.
        space_options: its options, numbers or lists of numbers.
        data: a data set's name, or a folder of images.
        data_root: where the data set lies.
        image_size: side of the images of a folder.
        objectives: what to minimise: "error", "macs", "parameters", "latency@<device>".
        bounds: for some of them, what they must not exceed.
        strategy: the search strategy.
        strategy_options: its hyperparameters.
        evaluations: distinct architectures to evaluate.
        workers: where: processes of this machine, "ray" or "ray://HOST:PORT"; no result follows from it.
        weights: of evaluated networks: "shared", the supernet's; "inherited", each trained by itself, from its parent's
            where the strategy made it from one; "scratch", each trained by itself.
        network_epochs: of each network that is trained by itself in the search.
        calibration_images: images for the batch norms of each evaluated sub-network.
        validation_images: images of the validation part that each is scored on; None: all.
        winners: how many of the front to export.
        finetune_epochs: of each winner.
        winner_start: the weights that a winner's training starts from: "inherited" from the search (the supernet's, or
            its own where it was trained by itself), or "scratch".
        distillation: the weight of the largest sub-network's predictions in a winner's training.
        batch_size: images in one inference, for the latency.
        precisions: of the models; several are searched among, as the last variable of the space.
        calibration_networks: whole networks that calibrate and prove each latency table.
        tables: the folder of latency tables.
        seed: of everything random.
        training: of the supernet, or of each network: the fields of TrainingSettings.
        measurement: the fields of MeasurementPlan.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    space: str = "mobilenetv3"
    space_options: dict[str, Number | list[Number]] = {}
    data: str = "digits"
    data_root: str | None = None
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    objectives: Annotated[list[str], Field(min_length=1)] = ["error", "macs", "latency@local-cpu"]
    bounds: dict[str, Number] = {}
    strategy: str = "surrogate_nsga2"
    strategy_options: dict[str, Number] = {}
    evaluations: Annotated[int, Field(ge=1)] = 400
    workers: int | str = 1
    weights: Weights = "shared"
    network_epochs: Annotated[int, Field(ge=1)] = 5
    calibration_images: Annotated[int, Field(ge=2)] = 256
    validation_images: Annotated[int, Field(ge=2)] | None = None
    winners: Annotated[int, Field(ge=1)] = 5
    finetune_epochs: Annotated[int, Field(ge=0)] = 5
    winner_start: Start = "inherited"
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.0
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    precisions: Annotated[list[Precision], Field(min_length=1)] = ["fp32"]
    calibration_networks: Annotated[int, Field(ge=0, le=10_000)] = 10
    tables: str = "latency_tables"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    training: TrainingSettings = TrainingSettings()
    measurement: MeasurementPlan = MeasurementPlan()

    @property
    def devices(self) -> list[str]:
        """The devices whose latency is an objective."""
        return [name.removeprefix("latency@") for name in self.objectives if name.startswith("latency@")]


def make_settings(given: dict[str, Any], *, where: str) -> RunSettings:
    """Checks `given` against RunSettings.

    Raises:
        UnknownNameError: a key or objective that does not exist; it names the nearest.
        SettingsError: a value that cannot be used.
    """
    content = dict(given)
    for name, kind in SECTIONS.items():
        if isinstance(content.get(name), dict):
            content[name] = _section(kind, content[name], f"{where}: {name}")
    try:
        settings = RunSettings.model_validate(content)
    except ValidationError as error:
        raise _translated(error, list(RunSettings.model_fields), where) from error
    known = {name for name in OBJECTIVE_KINDS if "@" not in name}
    for name in settings.objectives:
        if name not in known and (not name.startswith("latency@") or name == "latency@"):
            raise UnknownNameError("objective", name, OBJECTIVE_KINDS, where=where)
    for key in ("objectives", "precisions"):
        listed = getattr(settings, key)
        twice = next((name for name in listed if listed.count(name) > 1), None)
        if twice is not None:
            raise SettingsError(f"{where}: {key}", "must each stand once", came=f"{twice!r} stands twice")
    if settings.weights != "shared" and settings.distillation > 0:
        raise SettingsError(
            f"{where}: distillation",
            'must be 0 unless weights = "shared", whose largest sub-network is the teacher',
            came=f"{settings.distillation} came",
        )
    for name, bound in settings.bounds.items():
        if name not in settings.objectives:
            raise UnknownNameError("bounded objective", name, settings.objectives, where=f"{where}: bounds")
        if not 0 < bound < math.inf:
            raise SettingsError(f"{where}: bounds.{name}", "must be above 0 and finite", came=f"{bound} came")
    parse_workers(settings.workers, where=f"{where}: workers")
    return settings


def read_settings(path: Path) -> dict[str, Any]:
    """The keys of the run.toml at `path`, "output" among them if it is there. Raises StoredFileError."""
    return read_toml(path, kind="run.toml")


def settings_to_toml(settings: RunSettings) -> str:
    """The settings as a run.toml that reads back the same."""
    content = settings.model_dump(exclude_none=True)
    plain = {name: value for name, value in content.items() if name not in SECTIONS}
    lines = [f"{name} = {_toml(value)}" for name, value in plain.items()]
    for name in SECTIONS:
        section = getattr(settings, name)
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in vars(section).items())]
    return "\n".join(lines) + "\n"


def _section(kind: Any, given: dict[str, Any], where: str) -> Any:
    known = [one.name for one in fields(kind)]
    for key in given:
        if key not in known:
            raise UnknownNameError("key", key, known, where=where)
    defaults = {one.name: one.default for one in fields(kind) if one.default is not MISSING}
    widened = {
        k: float(v) if isinstance(v, int) and not isinstance(v, bool) and isinstance(defaults.get(k), float) else v
        for k, v in given.items()
    }
    try:
        return TypeAdapter(kind).validate_json(json.dumps({**defaults, **widened}), strict=True)
    except ValidationError as error:
        raise _translated(error, known, where) from error


def _translated(error: ValidationError, known: list[str], where: str) -> HwnasError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part not in {"int", "float"})
    if first["type"] == "extra_forbidden":
        return UnknownNameError("key", key, known, where=where)
    said = first["msg"][0].lower() + first["msg"][1:]
    return SettingsError(f"{where}: {key}", "must be usable", came=f"{first['input']!r} came, and {said}")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {_toml(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
