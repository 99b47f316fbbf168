"""LatencyTable: how long each operator of a space takes on a device, with everything that was measured."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hwnas.devices import Device, Measurement
from hwnas.errors import TableIncompleteError, TableMismatchError
from hwnas.latency.calibration import Calibration, Quality
from hwnas.spaces import Operator, SearchSpace

__all__ = ["LatencyTable", "MeasuredNetwork", "TableIdentity", "option_text", "profile_command", "table_path"]


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
class MeasuredNetwork:
    """A whole network that was measured for a table.

    Attributes:
        role: "carrier" where rows were fitted on it, "calibration" where not.
        choices: of its architecture.
        found: its latency, the mean of both measurements where there are two.
        sum_ms: the sum of its rows; of a carrier by rows that were fitted on the others.
        predicted_ms: the prediction without it: calibrated by the others where it is of the calibration.
        again_ms: its latency in the second measurement, None where there was one only.
    """

    role: Literal["carrier", "calibration"]
    choices: tuple[int, ...]
    found: Measurement
    sum_ms: float
    predicted_ms: float
    again_ms: float | None = None


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies of operators, and what whole networks say of them.

    Attributes:
        identity: what it was measured for.
        fingerprint: the environment in which it was measured.
        entries: for each operator what it adds to a network's latency, before calibration.
        contexts: the measured surroundings that were subtracted from the entries' samples, by name.
        networks: the whole networks that were measured for it.
        weights: what one unit of each feature costs, of those that rows are built up from; see `regression`.
        calibration: from a sum of rows to a prediction.
        quality: the proof, None where no networks were measured to prove it.
        refused: the operators that the runtime refuses, each with what it says.
        sentinels_ms: what the sentinel of each kind of measurement took, which ties later measurements to this table.
        flags: what speaks against trusting it, a sentence each.
        source: how it came to be: "profiled", "adapted from …", "imported from …".
        path: where it is stored.
    """

    identity: TableIdentity
    fingerprint: Mapping[str, Any]
    entries: Mapping[Operator, Measurement]
    contexts: Mapping[str, Measurement] = field(default_factory=dict)
    networks: tuple[MeasuredNetwork, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    quality: Quality | None = None
    refused: Mapping[Operator, str] = field(default_factory=dict)
    sentinels_ms: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    source: str = "profiled"
    path: Path | None = None

    def predict_ms(self, operators: Iterable[Operator]) -> float:
        """The latency of a network of these operators, in ms. Raises TableIncompleteError."""
        listed = list(operators)
        return float(self.costs(listed).sum() + self.calibration.overhead_ms)

    def interval_ms(self, operators: Iterable[Operator], *, level: float = 0.9) -> tuple[float, float] | None:
        """The prediction interval of a network of these operators, in ms; None where the table was never calibrated.

        Raises:
            TableIncompleteError: rows are missing.
        """
        predicted, half = self.predict_ms(operators), self.calibration.half_width(level)
        return None if half is None else (predicted * (1 - half), predicted * (1 + half))

    def missing(self, operators: Iterable[Operator]) -> list[Operator]:
        """Those of `operators` that the table does not have, in order, each once."""
        return [operator for operator in dict.fromkeys(operators) if operator not in self.entries]

    def costs(self, operators: Sequence[Operator], *, command: str | None = None) -> npt.NDArray[np.float64]:
        """What each of `operators` adds to a prediction in ms, as a vector; the overhead of a call comes on top, once.

        Args:
            operators: the operators.
            command: what would measure missing ones, for the error.

        Raises:
            TableIncompleteError: rows are missing.
        """
        self.require(operators, command=command)
        rows = np.array([self.entries[operator].latency_ms for operator in operators])
        return self.calibration.scale * rows + self.calibration.per_operator_ms

    def require(self, operators: Sequence[Operator], *, command: str | None = None) -> None:
        """Raises TableIncompleteError where rows are missing; `command` is what would measure them."""
        missing = self.missing(operators)
        if not missing:
            return
        where, must = (
            f"Table {self.path or ''}".strip(),
            f"must have a row for each of the {len(dict.fromkeys(operators))} operators",
        )
        refused = [operator for operator in missing if operator in self.refused]
        if refused:
            raise TableIncompleteError(
                where,
                must,
                came=f"{self.identity.runtime} refuses {len(refused)} of them, such as {refused[0]}: "
                + self.refused[refused[0]],
                do="Choose another runtime, or a space without such operators",
            )
        raise TableIncompleteError(
            where,
            must,
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

    def changes(self, present: Mapping[str, Any]) -> list[str]:
        """What of the environment differs from `present`: "governor was powersave and is performance"."""
        return [
            f"{name} was {self.fingerprint.get(name)} and is {present.get(name)}"
            for name in sorted({*self.fingerprint, *present})
            if self.fingerprint.get(name) != present.get(name)
        ]

    def check_fingerprint(self, present: Mapping[str, Any]) -> None:
        """Raises TableMismatchError where the table was measured in another environment than `present`."""
        changes = self.changes(present)
        if changes:
            raise TableMismatchError(
                f"Table {self.path or ''}".strip(),
                "must be of this environment",
                came=f"it is stale: {', '.join(changes)}",
                do="Move the file away to measure anew, or go on with it as it is by --accept-stale",
            )


def table_path(folder: Path, identity: TableIdentity, space: SearchSpace) -> Path:
    """Where the table of `identity` is kept: <folder>/<device>/<runtime>-<precision>-<space>-<shape>….json."""
    texts = {name: option_text(value) for name, value in space.options.items()}
    defaults = {one.name: option_text(one.default) for one in inspect.signature(type(space)).parameters.values()}
    options = "".join(f"-{name}{text}" for name, text in texts.items() if text != defaults.get(name))
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
        command += "".join(f" --space-option {name}={option_text(value)}" for name, value in space.options.items())
    if identity.precision != "fp32":
        command += f" --precision {identity.precision}"
    if identity.batch_size != 1:
        command += f" --batch-size {identity.batch_size}"
    return command


def option_text(value: object) -> str:
    """The value of a space's option as a command or a file's name says it: "0.5", or "0.5,1" of several."""
    if isinstance(value, list | tuple):
        return ",".join(map(option_text, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
