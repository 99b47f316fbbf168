"""Latency tables as files: JSON, written atomically, read with errors that name the entry that is wrong.

Each entry carries a checksum of itself, and the document one of each of its sections, so that what was edited by hand is
told from what was measured, and named.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices import Measurement
from hwnas.errors import StoredFileError
from hwnas.files import read_json, write_json
from hwnas.latency.calibration import Calibration, Quality
from hwnas.latency.table import LatencyTable, MeasuredNetwork, TableIdentity
from hwnas.spaces import Operator

__all__ = ["load_table", "save_table"]

SCHEMA_VERSION: Final = 2
SECTIONS: Final = {
    "fingerprint": dict,
    "entries": list,
    "contexts": dict,
    "networks": list,
    "weights": dict,
    "calibration": dict,
    "refused": list,
    "sentinels_ms": dict,
    "flags": list,
    "source": str,
    "checks": dict,
}
CHECK: Final = "check"
MOST: Final = 1e300


def save_table(table: LatencyTable, path: Path) -> LatencyTable:
    """Writes the table atomically, samples included; returns it with its path. Raises StoredFileError."""
    document = {
        "schema_version": SCHEMA_VERSION,
        **asdict(table.identity),
        "source": table.source,
        "fingerprint": dict(table.fingerprint),
        "flags": list(table.flags),
        "weights": dict(table.weights),
        "calibration": asdict(table.calibration),
        "quality": None if table.quality is None else table.quality.to_json(),
        "sentinels_ms": dict(table.sentinels_ms),
        "refused": [{"operator": operator.to_json(), "why": why} for operator, why in table.refused.items()],
        "contexts": {name: _checked(_measurement_to_json(value)) for name, value in table.contexts.items()},
        "networks": [
            _checked(
                {
                    "role": one.role,
                    "choices": list(one.choices),
                    "sum_ms": one.sum_ms,
                    "predicted_ms": one.predicted_ms,
                    "again_ms": one.again_ms,
                    **_measurement_to_json(one.found),
                }
            )
            for one in table.networks
        ],
        "entries": [
            _checked({"operator": operator.to_json(), **_measurement_to_json(value)})
            for operator, value in table.entries.items()
        ],
    }
    write_json(path, {**document, "checks": _section_checks(document)}, indent=None)
    return replace(table, path=path)


def load_table(path: Path) -> LatencyTable:
    """Reads the table at `path`. Raises StoredFileError that says which entry is wrong."""
    document = read_json(path, kind="latency table", schema_version=SCHEMA_VERSION)
    names = TableIdentity.__dataclass_fields__
    absent = [key for key in (*names, *SECTIONS, "quality") if key not in document]
    if absent:
        raise StoredFileError(str(path), "must be a latency table", came=f"it lacks {', '.join(absent)}")
    for key, kind in SECTIONS.items():
        if not isinstance(document[key], kind):
            raise StoredFileError(
                f"{path}: {key}", f"must be a {kind.__name__}", came=f"it is a {type(document[key]).__name__}"
            )
    entries: dict[Operator, Measurement] = {}
    for number, entry in enumerate(document["entries"]):
        operator = _operator(entry, f"{path}: entry {number}")
        where = f"{path}: entry {number} ({operator})"
        if operator in entries:
            raise StoredFileError(where, "must be the only row of its operator", came=f"{operator} stands twice")
        entries[operator] = _measurement_from_json(entry, where)
    refused = {
        _operator(entry, f"{path}: refused {number}"): str(entry.get("why"))
        for number, entry in enumerate(document["refused"])
    }
    table = LatencyTable(
        _identity_from_json(document, path),
        document["fingerprint"],
        entries,
        {
            name: _measurement_from_json(entry, f"{path}: context {name}")
            for name, entry in document["contexts"].items()
        },
        tuple(
            _network_from_json(entry, f"{path}: network {number}") for number, entry in enumerate(document["networks"])
        ),
        _numbers(document["weights"], f"{path}: weights"),
        _calibration_from_json(document["calibration"], path),
        _quality_from_json(document["quality"], path),
        refused,
        _numbers(document["sentinels_ms"], f"{path}: sentinels_ms"),
        tuple(map(str, document["flags"])),
        document["source"],
        path,
    )
    for key, check in _section_checks(document).items():
        if document["checks"].get(key) != check:
            raise _changed(f"{path}: {key}")
    return table


def _identity_from_json(document: Mapping[str, Any], path: Path) -> TableIdentity:
    found = {name: document[name] for name in TableIdentity.__dataclass_fields__}
    shape = found["input_shape"]
    whole = isinstance(shape, list) and len(shape) == 3
    for number in (*(shape if whole else ()), found["batch_size"], found["num_threads"]):
        whole = whole and isinstance(number, int) and not isinstance(number, bool) and number > 0
    whole = whole and all(isinstance(found[name], str) for name in ("device", "runtime", "precision", "space"))
    if not whole:
        raise StoredFileError(str(path), "must say what it was measured for", came=f"it says {found}")
    return TableIdentity(**{**found, "input_shape": tuple(shape)})


def _operator(entry: Any, where: str) -> Operator:
    return Operator.from_json(entry["operator"] if isinstance(entry, dict) and "operator" in entry else {}, where)


def _measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "latency_ms": measurement.latency_ms,
        "ci95_ms": list(measurement.ci95_ms),
        "samples_ms": [list(visit) for visit in measurement.samples_ms],
        "conditions": dict(measurement.conditions),
        "flags": list(measurement.flags),
    }


def _measurement_from_json(entry: Any, where: str) -> Measurement:
    try:
        latency, (low, high) = float(entry["latency_ms"]), map(float, entry["ci95_ms"])
        samples = tuple(tuple(float(sample) for sample in visit) for visit in entry["samples_ms"])
        sound = bool(np.isfinite([latency, low, high]).all() and low <= latency <= high)
        sound = sound and all(sample > 0 for visit in samples for sample in visit)
        conditions, flags = dict(entry["conditions"]), tuple(map(str, entry["flags"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoredFileError(
            where, "must have latency_ms, ci95_ms, samples_ms, conditions and flags", came=f"reading it says: {error!r}"
        ) from error
    if not sound:
        raise StoredFileError(
            where,
            "must have a finite latency_ms inside its ci95_ms, and samples above zero",
            came=f"it has {latency} in [{low}, {high}]",
        )
    if entry.get(CHECK) != _check_of(entry):
        raise _changed(where)
    return Measurement(latency, (low, high), samples, conditions, flags)


def _network_from_json(entry: Any, where: str) -> MeasuredNetwork:
    found = _measurement_from_json(entry, where)
    try:
        again = entry["again_ms"]
        role, choices = entry["role"], tuple(int(choice) for choice in entry["choices"])
        numbers = (float(entry["sum_ms"]), float(entry["predicted_ms"]), None if again is None else float(again))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoredFileError(
            where, "must have role, choices, sum_ms, predicted_ms and again_ms", came=f"reading it says: {error!r}"
        ) from error
    if role not in {"carrier", "calibration"}:
        raise StoredFileError(where, "must have the role carrier or calibration", came=f"it has {role!r}")
    return MeasuredNetwork(role, choices, found, *numbers)


def _calibration_from_json(document: Mapping[str, Any], path: Path) -> Calibration:
    known = Calibration.__dataclass_fields__
    sound = set(document) == set(known) and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST)
        for value in document.values()
    )
    if not sound or None in (document["scale"], document["overhead_ms"], document["per_operator_ms"]):
        raise StoredFileError(
            f"{path}: calibration", f"must have finite {', '.join(known)}", came=f"it is {dict(document)}"
        )
    return Calibration(**document)


def _quality_from_json(document: Any, path: Path) -> Quality | None:
    if document is None:
        return None
    try:
        return Quality.from_json(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoredFileError(
            f"{path}: quality", "must be what a calibration found", came=f"reading it says: {error!r}"
        ) from error


def _numbers(document: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
            raise StoredFileError(f"{where}.{name}", "must be a number not below 0", came=f"it is {value!r}")
    return {name: float(value) for name, value in document.items()}


def _changed(where: str) -> StoredFileError:
    return StoredFileError(
        where,
        "must be as it was measured",
        came="its checksum is of other contents: it was edited or damaged",
        do="Take the file from a backup, or move it away and measure anew",
    )


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, CHECK: _check_of(entry)}


def _check_of(entry: Mapping[str, Any]) -> str:
    return _digest({key: value for key, value in entry.items() if key != CHECK})


def _section_checks(document: Mapping[str, Any]) -> dict[str, str]:
    """The checksum of each section; that of rows is of their own checksums, in order."""
    rows = {key: [row[CHECK] for row in document[key]] for key in ("entries", "networks")}
    contexts = {name: row[CHECK] for name, row in document["contexts"].items()}
    sections = {**document, **rows, "contexts": contexts}
    return {key: _digest(value) for key, value in sections.items() if key != "checks"}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
