"""The phases of a profiling: models loaded on a device, measured together, and every visit kept in a journal.

Where a device has too little memory for all models of a phase, they are measured in groups that the sentinels tie
together.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hwnas.devices import Host, Measurement, MeasurementPlan, Visited, measure
from hwnas.errors import StoredFileError
from hwnas.files import JsonLines
from hwnas.progress import OnProgress

__all__ = ["Phase", "Phases"]

logger = logging.getLogger(__name__)

MEMORY_A_BYTE: Final = 3.0
"""Bytes of memory that a loaded model takes for each byte of its file: the weights as read and as laid out anew."""
MEMORY_SHARE: Final = 0.6


@dataclass(frozen=True)
class Phase:
    """What a phase has found.

    Attributes:
        measurements: the latency of each model that runs.
        refused: the models that the runtime refuses, each with what it says.
        flags: what was seen of the machine.
    """

    measurements: Mapping[str, Measurement]
    refused: Mapping[str, str]
    flags: tuple[str, ...]


class Phases:
    """Measures on a host, and keeps every visit.

    Args:
        host: the device, reached.
        journal: the file of visits.
        header: what the visits are of; a journal of something else is thrown away, with the models beside it.
        plan: how long and how often to measure in each phase.
        seed: of the random order.
        on_progress: told of each step.

    Raises:
        StoredFileError: the journal is broken.
    """

    def __init__(
        self,
        host: Host,
        journal: Path,
        *,
        header: Mapping[str, Any],
        plan: MeasurementPlan,
        seed: int,
        on_progress: OnProgress,
    ) -> None:
        self._host = host
        self._plan = plan
        self._seed = seed
        self._on_progress = on_progress
        self._journal = JsonLines(journal)
        lines = self._journal.repair()
        if lines and lines[0] != header:
            logger.warning("Starting afresh: what lies in %s was measured otherwise", journal.parent)
            for path in (journal, *journal.parent.glob("*.onnx")):
                path.unlink()
            lines = []
        if not lines:
            self._journal.append(header)
        self._visits: dict[str, list[Visited]] = {}
        for number, line in enumerate(lines[1:], start=2):
            phase, visit = _visit_from_json(line, f"{journal}: line {number}")
            self._visits.setdefault(phase, []).append(visit)

    def run(
        self, name: str, models: Mapping[str, Path], *, sentinels: Sequence[str], references_ms: Mapping[str, float]
    ) -> Phase:
        """Measures `models` together; what an earlier, stopped call has measured counts.

        Args:
            name: of the phase, shown to a person.
            models: the files by name.
            sentinels: those of them that tie phases together.
            references_ms: what they took when the latencies were measured at whose speed these are wanted; empty: these
                are the first.

        Raises:
            MissingRuntimeError, DeviceError: the runtime or the device is not there, or refuses a sentinel.
        """
        groups = self._groups(models, sentinels)
        plan = replace(self._plan, seconds=self._plan.seconds / len(groups))
        found: dict[str, Measurement] = {}
        refused: dict[str, str] = {}
        flags: list[str] = []
        for number, group in enumerate(groups):
            phase = name if len(groups) == 1 else f"{name} {number + 1}/{len(groups)}"
            estimates = measure(
                self._host,
                {one: models[one] for one in group},
                plan=plan,
                sentinels=sentinels,
                references_ms=references_ms,
                seed=self._seed,
                earlier=self._visits.get(phase, []),
                on_visit=self._keeper(phase),
                on_progress=self._on_progress,
                stage=phase,
            )
            refused.update(estimates.refused)
            if not references_ms:
                references_ms = {one: estimates.measurements[one].latency_ms for one in sentinels}
            found = {**estimates.measurements, **found}
            flags += [f"{phase}: {flag}" for flag in estimates.flags]
            unsettled = sum(bool(one.flags) for one in estimates.measurements.values())
            if unsettled:
                flags.append(
                    f"{phase}: {unsettled} of {len(estimates.measurements)} models did not settle within "
                    f"±{plan.target:.0%} in {len(estimates.slowdowns)} rounds"
                )
        for flag in flags:
            logger.warning("%s", flag)
        return Phase(found, refused, tuple(flags))

    def _keeper(self, phase: str) -> Callable[[Visited], None]:
        def keep(visit: Visited) -> None:
            line = {"phase": phase, "model": visit.model, "round": visit.round, "call": visit.call}
            self._journal.append({**line, "samples_ms": list(visit.samples_ms)}, sync=False)

        return keep

    def _groups(self, models: Mapping[str, Path], sentinels: Sequence[str]) -> list[list[str]]:
        """The models in groups that the device's memory holds, the sentinels in each."""
        available = self._host.conditions().get("memory_available_bytes")
        if available is None:
            return [list(models)]
        sizes = {name: MEMORY_A_BYTE * path.stat().st_size for name, path in models.items()}
        room = MEMORY_SHARE * available - sum(sizes[one] for one in sentinels)
        groups: list[list[str]] = [list(sentinels)]
        taken = 0.0
        for name in models:
            if name in sentinels:
                continue
            if taken + sizes[name] > room and len(groups[-1]) > len(sentinels):
                groups.append(list(sentinels))
                taken = 0.0
            groups[-1].append(name)
            taken += sizes[name]
        return groups


def _visit_from_json(line: Mapping[str, Any], where: str) -> tuple[str, Visited]:
    """The phase of a visit, and the visit."""
    try:
        samples_ms = tuple(float(sample) for sample in line["samples_ms"])
        visit = Visited(str(line["model"]), int(line["round"]), samples_ms, int(line["call"]))
        sound = bool(samples_ms) and all(0 < sample < math.inf for sample in samples_ms)
    except (KeyError, TypeError, ValueError, OverflowError):
        sound = False
    if not sound or not isinstance(line.get("phase"), str):
        raise StoredFileError(
            where,
            "must be a visit: phase, model, round, call and samples_ms above zero",
            came="it is not one",
            do="Delete that line, or the folder to measure anew",
        )
    return line["phase"], visit
