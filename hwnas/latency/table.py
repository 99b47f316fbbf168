"""LatencyTable: how long each operator of a space takes on a device, with everything that was measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.devices import Device, Measurement
from hwnas.errors import StoredFileError, TableIncompleteError, TableMismatchError
from hwnas.files import read_json, write_json
from hwnas.spaces import Operator, SearchSpace

__all__ = ["LatencyTable", "TableIdentity", "load_table", "profile_command", "table_path"]

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class TableIdentity:
    """What a table was measured for. Two tables of different identity do not answer the same question.

    Attributes:
        device: the device's name.
        runtime: the runtime's name.
        precision: of the models, "fp32".
        batch_size: images in one inference.
        num_threads: threads of one inference.
        space: the space's name.
        input_shape: (C, H, W) of one image.
    """

    device: str
    runtime: str
    precision: str
    batch_size: int
    num_threads: int
    space: str
    input_shape: tuple[int, int, int]

    @staticmethod
    def of(device: Device, space: SearchSpace, *, batch_size: int = 1, precision: str = "fp32") -> "TableIdentity":
        """The identity of the table of `space` on `device` by its preferred runtime."""
        return TableIdentity(
            device.name,
            device.runtimes[0],
            precision,
            batch_size,
            device.num_threads,
            space.name,
            space.input_shape,
        )


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies of operators.

    Attributes:
        identity: what it was measured for.
        fingerprint: the environment in which it was measured.
        entries: for each operator what it adds to a network's latency.
        contexts: the measured surroundings that were subtracted from the entries' samples, by name.
        path: where it is stored.
    """

    identity: TableIdentity
    fingerprint: Mapping[str, Any]
    entries: Mapping[Operator, Measurement]
    contexts: Mapping[str, Measurement] = field(default_factory=dict)
    path: Path | None = None

    def predict_ms(self, operators: Iterable[Operator]) -> float:
        """The latency of a network of these operators, in ms. Raises TableIncompleteError."""
        listed = list(operators)
        self.require(listed)
        return float(sum(self.entries[operator].latency_ms for operator in listed))

    def missing(self, operators: Iterable[Operator]) -> list[Operator]:
        """Those of `operators` that the table does not have, in order, each once."""
        return [operator for operator in dict.fromkeys(operators) if operator not in self.entries]

    def costs(self, operators: Sequence[Operator], *, command: str | None = None) -> npt.NDArray[np.float64]:
        """The latency of each of `operators` in ms, as a vector; `command` is what would measure missing ones.

        Raises:
            TableIncompleteError: rows are missing.
        """
        self.require(operators, command=command)
        return np.array([self.entries[operator].latency_ms for operator in operators])

    def require(self, operators: Sequence[Operator], *, command: str | None = None) -> None:
        """Raises TableIncompleteError where rows are missing; `command` is what would measure them."""
        missing = self.missing(operators)
        if missing:
            total = len(dict.fromkeys(operators))
            raise TableIncompleteError(
                f"Table {self.path or ''}".strip(),
                f"must have a row for each of the {total} operators",
                came=f"{len(missing)} are missing (the first: {missing[0]})",
                do=f"Measure them: {command or profile_command(self.identity)}",
            )

    def check_identity(self, wanted: TableIdentity, *, command: str | None = None) -> None:
        """Raises TableMismatchError where the table was measured for something else than `wanted`."""
        for name, value in asdict(self.identity).items():
            asked = getattr(wanted, name)
            if value != asked:
                raise TableMismatchError(
                    f"Table {self.path or ''}".strip(),
                    f"must be measured with {name}={_shown(asked)}",
                    came=f"it was measured with {name}={_shown(value)}",
                    do=f"Move the file away and measure it: {command or profile_command(wanted)}",
                )

    def check_fingerprint(self, present: Mapping[str, Any]) -> None:
        """Raises TableMismatchError where the table was measured in another environment than `present`."""
        for name in sorted({*self.fingerprint, *present}):
            before, now = self.fingerprint.get(name), present.get(name)
            if before != now:
                raise TableMismatchError(
                    f"Table {self.path or ''}".strip(),
                    "must be of this environment",
                    came=f"it was measured with {name}={before} and here is {name}={now}",
                    do="Move the file away to measure anew, or use it where it was measured",
                )

    def save(self, path: Path) -> None:
        """Writes the table atomically, samples included. Raises StoredFileError."""
        document = {
            "schema_version": SCHEMA_VERSION,
            **asdict(self.identity),
            "fingerprint": dict(self.fingerprint),
            "contexts": {name: _measurement_to_json(value) for name, value in self.contexts.items()},
            "entries": [
                {"operator": operator.to_json(), **_measurement_to_json(value)}
                for operator, value in self.entries.items()
            ],
        }
        write_json(path, document, indent=None)


def load_table(path: Path) -> LatencyTable:
    """Reads the table at `path`. Raises StoredFileError that says which entry is wrong."""
    document = read_json(path, kind="latency table", schema_version=SCHEMA_VERSION)
    names = TableIdentity.__dataclass_fields__
    absent = [key for key in (*names, "fingerprint", "entries", "contexts") if key not in document]
    if absent:
        raise StoredFileError(str(path), "must be a latency table", came=f"it lacks {', '.join(absent)}")
    for key, kind in (("fingerprint", dict), ("entries", list), ("contexts", dict)):
        if not isinstance(document[key], kind):
            raise StoredFileError(
                f"{path}: {key}", f"must be a {kind.__name__}", came=f"it is a {type(document[key]).__name__}"
            )
    identity = _identity_from_json(document, path)
    entries: dict[Operator, Measurement] = {}
    for number, entry in enumerate(document["entries"]):
        where = f"{path}: entry {number}"
        operator = Operator.from_json(
            entry["operator"] if isinstance(entry, dict) and "operator" in entry else {}, where
        )
        if operator in entries:
            raise StoredFileError(where, "must be the only row of its operator", came=f"{operator} stands twice")
        entries[operator] = _measurement_from_json(entry, where)
    contexts = {
        name: _measurement_from_json(entry, f"{path}: context {name}") for name, entry in document["contexts"].items()
    }
    return LatencyTable(identity, document["fingerprint"], entries, contexts, path)


def table_path(folder: Path, identity: TableIdentity, space: SearchSpace) -> Path:
    """Where the table of `identity` is kept: <folder>/<device>/<runtime>-<precision>-<space>-<shape>….json."""
    options = "".join(f"-{name}{_option(value)}" for name, value in space.options.items() if value != 1.0)
    batch = f"-b{identity.batch_size}" if identity.batch_size != 1 else ""
    threads = f"-t{identity.num_threads}" if identity.num_threads != 1 else ""
    shape = "x".join(map(str, identity.input_shape))
    name = f"{identity.runtime}-{identity.precision}-{identity.space}-{shape}{options}{batch}{threads}.json"
    return folder / identity.device / name


def profile_command(identity: TableIdentity, space: SearchSpace | None = None) -> str:
    """The command that measures the table of `identity`."""
    shape = "x".join(map(str, identity.input_shape))
    command = f"hwnas profile {identity.device} --space {identity.space} --input-shape {shape}"
    if space is not None:
        command += f" --num-classes {space.num_classes}"
        command += "".join(f" --space-option {name}={_option(value)}" for name, value in space.options.items())
    if identity.batch_size != 1:
        command += f" --batch-size {identity.batch_size}"
    return command


def _option(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _identity_from_json(document: Mapping[str, Any], path: Path) -> TableIdentity:
    """Reads the keys of TableIdentity. Raises StoredFileError."""
    found = {name: document[name] for name in TableIdentity.__dataclass_fields__}
    shape = found["input_shape"]
    whole = isinstance(shape, list) and len(shape) == 3
    for number in (*(shape if whole else ()), found["batch_size"], found["num_threads"]):
        whole = whole and isinstance(number, int) and not isinstance(number, bool) and number > 0
    whole = whole and all(isinstance(found[name], str) for name in ("device", "runtime", "precision", "space"))
    if not whole:
        raise StoredFileError(str(path), "must say what it was measured for", came=f"it says {found}")
    return TableIdentity(**{**found, "input_shape": tuple(shape)})


def _measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "latency_ms": measurement.latency_ms,
        "ci95_ms": list(measurement.ci95_ms),
        "samples_ms": [list(visit) for visit in measurement.samples_ms],
        "conditions": dict(measurement.conditions),
    }


def _measurement_from_json(entry: Mapping[str, Any], where: str) -> Measurement:
    try:
        latency, (low, high) = float(entry["latency_ms"]), map(float, entry["ci95_ms"])
        samples = tuple(tuple(float(sample) for sample in visit) for visit in entry["samples_ms"])
        sound = bool(np.isfinite([latency, low, high]).all() and low <= latency <= high and samples)
        conditions = dict(entry["conditions"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoredFileError(
            where, "must have latency_ms, ci95_ms, samples_ms and conditions", came=f"reading it says: {error!r}"
        ) from error
    if not sound:
        raise StoredFileError(
            where,
            "must have a finite latency_ms inside its ci95_ms, and samples",
            came=f"it has {latency} in [{low}, {high}] from {len(samples)} visits",
        )
    return Measurement(latency, (low, high), samples, conditions)


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
