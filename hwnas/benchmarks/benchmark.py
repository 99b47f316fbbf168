"""Benchmark: a space and what was recorded of its architectures, as objectives that any search runs on unchanged.

Suffixes: N recorded architectures, V variables, M objectives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import ArchitectureError, SettingsError, UnknownNameError
from hwnas.objectives import Objective, choices_of
from hwnas.spaces import Architecture, IntArray, SearchSpace

__all__ = ["LATENCY", "Benchmark", "Scale", "scored"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LATENCY: Final = "latency_ms@"
"""What the record of a device's latencies begins with."""
CHEAP: Final = {"macs": "MACs", "parameters": "parameters"}
EXPENSIVE: Final = {"error": "fraction", "train_seconds": "s"}


@dataclass(frozen=True)
class Scale:
    """Maps values to [0, 1] over some architectures; an objective that is constant there is 0.

    Attributes:
        low_M: what becomes 0.
        span_M: by how much more what becomes 1.
    """

    low_M: FloatArray
    span_M: FloatArray

    @staticmethod
    def over(values_NM: FloatArray) -> "Scale":
        """The scale of some rows of values, at least one."""
        span_M = np.ptp(values_NM, axis=0)
        return Scale(values_NM.min(axis=0), np.where(span_M > 0, span_M, 1.0))

    def __call__(self, values_NM: FloatArray) -> FloatArray:
        """Values (N, M) -> scaled values (N, M)."""
        scaled_NM: FloatArray = (values_NM - self.low_M) / self.span_M
        return scaled_NM


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A space and what was recorded of its architectures on one data set.

    Attributes:
        name: of the benchmark ("nas_bench_201").
        data: that its networks were trained and scored on, for a person ("CIFAR-100").
        space: whose architectures were recorded.
        choices_NV: their choices, canonical, each once.
        records: for each recorded quantity its values (N,), in that order, NaN where there is none; accuracies and errors
            are fractions. A device's latencies are under "latency_ms@" and its name.
        data_set: the same data, as a name ("cifar100").
        data_sets: all that the benchmark has.
        considered_N: which architectures a comparison of fronts considers; None: all.
        computed: objectives that every architecture of the space has, recorded or not, by name; with one of these no true
            front is known.
        notes: what is to be known of the records before a figure is quoted, a sentence each.
    """

    name: str
    data: str
    space: SearchSpace
    choices_NV: IntArray
    records: Mapping[str, FloatArray]
    data_set: str = ""
    data_sets: tuple[str, ...] = ()
    considered_N: BoolArray | None = None
    computed: Mapping[str, Objective] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices whose latencies are known, in alphabetical order."""
        known = {*self.records, *self.computed}
        return tuple(sorted(name.removeprefix(LATENCY) for name in known if name.startswith(LATENCY)))

    def objectives(self, names: Sequence[str]) -> list[Objective]:
        """Objectives to be minimised, by name.

        Args:
            names: "error", whose evaluation is expensive; "macs", "parameters" and "latency:<device>" (also
                "latency@<device>"), which are cheap, with NaN where nothing was recorded; further errors and times, such
                as "error_12_epochs" and "train_seconds", where the benchmark has them.

        Raises:
            UnknownNameError: no such objective or device; it names the nearest.
            SettingsError: none came, or one twice.
        """
        found = [self._objective(self._record_of(name)) for name in names]
        repeated = {one.name for one in found if [other.name for other in found].count(one.name) > 1}
        if not found or repeated:
            came = f"{min(repeated)} comes twice" if repeated else "none came"
            raise SettingsError(f"The objectives on {self.name}", "must be one or more, each once", came=came)
        return found

    def values(self, record: str, architectures: Sequence[Architecture]) -> FloatArray:
        """What was recorded of `architectures`, one value each.

        Raises:
            UnknownNameError: no such record.
            ArchitectureError: one that was not recorded, or of another space.
        """
        if record not in self.records:
            raise UnknownNameError(f"record of {self.name}", record, self.records)
        if not architectures:
            return np.empty(0)
        positions_N = self.positions(choices_of(architectures))
        values_N = np.append(self.records[record], np.nan)[positions_N]
        for architecture, position, value in zip(architectures, positions_N, values_N, strict=True):
            if architecture.space != self.space.name or position < 0:
                must = f"must be one of the {len(self.choices_NV)} of {self.space.name} that were recorded"
                raise ArchitectureError(f"An architecture of {self.name}", must, came=f"{architecture.to_json()} came")
            if np.isnan(value):
                raise ArchitectureError(
                    f"The architecture {self.space.describe(architecture)}",
                    f"must have a recorded {record} in {self.name}",
                    came="there is none",
                )
        return values_N

    def positions(self, choices_NV: IntArray) -> npt.NDArray[np.intp]:
        """Where architectures stand among those recorded, by their canonical choices (N, V); -1 for others."""
        sorted_N, order_N = self._keys
        keys_N = _keys_of(choices_NV)
        found_N = np.minimum(np.searchsorted(sorted_N, keys_N), len(sorted_N) - 1)
        return np.where(sorted_N[found_N] == keys_N, order_N[found_N], -1)

    def values_NM(self, objectives: Sequence[Objective]) -> FloatArray:
        """The values of all recorded architectures, (N, M), NaN where there is none."""
        return np.stack([self._values_N(objective) for objective in objectives], axis=1)

    def considered(self, objectives: Sequence[Objective]) -> BoolArray:
        """Which recorded architectures a comparison considers, (N,): those of `considered_N` that have all values."""
        considered_N: BoolArray = np.all(np.isfinite(self.values_NM(objectives)), axis=1)
        return considered_N if self.considered_N is None else considered_N & self.considered_N

    def scale(self, objectives: Sequence[Objective]) -> Scale:
        """Maps the values of the considered architectures to [0, 1]. Raises SettingsError where there are none."""
        considered_N = self.considered(objectives)
        if not considered_N.any():
            names = ", ".join(objective.name for objective in objectives)
            must = f"must have architectures with a recorded {names} that a comparison considers"
            raise SettingsError(f"The table of {self.name} on {self.data}", must, came="it has none")
        return Scale.over(self.values_NM(objectives)[considered_N])

    def _record_of(self, name: str) -> str:
        """The record that an objective of this name is of. Raises UnknownNameError."""
        kind, colon, device = name.replace("@", ":", 1).partition(":")
        if colon and kind in {"latency", "latency_ms"}:
            if device not in self.devices:
                raise UnknownNameError(f"device of {self.name}", device, self.devices)
            return LATENCY + device
        known = [one for one in {*self.records, *self.computed} if _unit(one) is not None]
        if name not in known or name.startswith(LATENCY):
            others = [f"latency:{one.removeprefix(LATENCY)}" if one.startswith(LATENCY) else one for one in known]
            raise UnknownNameError(f"objective of {self.name}", name, others)
        return name

    def _objective(self, record: str) -> Objective:
        if record in self.computed:
            return self.computed[record]
        unit = _unit(record) or ""
        if record in CHEAP or record.startswith(LATENCY):
            return scored(record, unit, partial(self._score, record))
        return Objective(record, unit, lambda architectures: self.values(record, architectures).tolist())

    def _score(self, record: str, choices_NV: IntArray) -> FloatArray:
        """What was recorded for canonical choices, (N,), NaN where nothing was."""
        found_N: FloatArray = np.append(self.records[record], np.nan)[self.positions(choices_NV)]
        return found_N

    def _values_N(self, objective: Objective) -> FloatArray:
        if objective.name in self.computed:
            return np.array(objective.evaluate(self.space.architectures(self.choices_NV)))
        return self.records[objective.name]

    @cached_property
    def _keys(self) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.intp]]:
        """The recorded choices as sorted bytes, and where each stands."""
        keys_N = _keys_of(self.choices_NV)
        order_N = np.argsort(keys_N)
        return keys_N[order_N], order_N


def _keys_of(choices_NV: IntArray) -> npt.NDArray[np.bytes_]:
    """Each row of choices as bytes: equal rows, and only these, have equal bytes."""
    narrow_NV = np.ascontiguousarray(choices_NV, dtype=np.uint16)
    return narrow_NV.view(f"S{2 * narrow_NV.shape[1]}")[:, 0]


def scored(name: str, unit: str, score: Callable[[IntArray], FloatArray]) -> Objective:
    """The cheap objective of that name whose values (N,) for canonical choices (N, V) are `score`."""

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        values: list[float] = score(choices_of(architectures)).tolist() if architectures else []
        return values

    return Objective(name, unit, evaluate, score=score)


def _unit(record: str) -> str | None:
    """The unit of a record that is an objective, None of one that is not."""
    if record.startswith(LATENCY):
        return "ms"
    return {**CHEAP, **EXPENSIVE}.get("error" if record.startswith("error") else record)
