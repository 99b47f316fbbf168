"""Building a latency table: every operator of a space measured on a device, as it costs inside a network.

The models that are measured, and what is subtracted from their latencies, are described in `probes`.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hwnas.devices import Device, Measurement, MeasurementPlan, Session, fingerprint, measure, pinned, summarize
from hwnas.devices.environment import conditions
from hwnas.devices.measurement import Samples, warm_up
from hwnas.errors import SettingsError
from hwnas.files import JsonLines, exclusive
from hwnas.latency.probes import export_probes, sides_of
from hwnas.latency.table import LatencyTable, TableIdentity, load_table, profile_command
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Operator, SearchSpace

__all__ = ["PRECISIONS", "Profiler", "profile_space"]

logger = logging.getLogger(__name__)

PRECISIONS: Final = ("fp32",)
JOURNAL_VERSION: Final = 1
MAX_BATCH: Final = 4096


def profile_space(
    device: Device,
    space: SearchSpace,
    *,
    path: Path,
    batch_size: int = 1,
    precision: str = "fp32",
    plan: MeasurementPlan | None = None,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> LatencyTable:
    """Measures the operators of `space` that the table at `path` lacks, and writes it.

    A run that was stopped is gone on with: what it measured lies beside the table until the table is whole.

    Args:
        device: where to measure; its preferred runtime is used.
        space: whose operators.
        path: the table's file.
        batch_size: images in one inference.
        precision: of the models: "fp32".
        plan: how long and how often to measure.
        seed: of the random order.
        on_progress: told of each export and each visit.

    Raises:
        SettingsError: a precision or batch size that cannot be measured.
        MissingRuntimeError, DeviceError: the runtime is not there, or refuses an operator.
        TableMismatchError: the file at `path` is of another table, or its rows are of another environment.
        StoredFileError: the file at `path` is broken, or could not be written.
    """
    if precision not in PRECISIONS:
        raise SettingsError("precision", f"must be one of {', '.join(PRECISIONS)}", came=f"{precision!r} came")
    if not 1 <= batch_size <= MAX_BATCH:
        raise SettingsError("batch_size", f"must be from 1 to {MAX_BATCH}", came=f"{batch_size} came")
    if not 0 <= seed < 2**63:
        raise SettingsError("seed", "must be from 0 to 2^63 - 1", came=f"{seed} came")
    identity = TableIdentity.of(device, space, batch_size=batch_size, precision=precision)
    device.runtime.require()
    known = load_table(path) if path.exists() else None
    if known is not None:
        known.check_identity(identity, command=profile_command(identity, space))
    operators = known.missing(space.all_operators()) if known else list(space.all_operators())
    if known is not None and not operators:
        known.check_fingerprint(fingerprint(device.runtime, num_threads=device.num_threads))
        logger.info("Nothing to measure: %s has all %d operators", path, len(known.entries))
        return known
    profiler = Profiler(device, space, identity, path.with_suffix(".work"), plan or MeasurementPlan(), seed)
    if known is not None:
        known.check_fingerprint(profiler.fingerprint)
    with exclusive(profiler.work_folder):
        entries, contexts = profiler.run(operators, on_progress)
    table = LatencyTable(
        identity,
        profiler.fingerprint,
        {**(known.entries if known else {}), **entries},
        {**(known.contexts if known else {}), **contexts},
        path,
    )
    table.save(path)
    shutil.rmtree(profiler.work_folder, ignore_errors=True)
    return table


@dataclass
class Profiler:
    """One profiling of operators on a device, able to go on where an earlier one was stopped.

    Attributes:
        device: where to measure.
        space: whose operators.
        identity: of the table to be.
        work_folder: where exported models and samples lie until the table is whole.
        plan: how long and how often.
        seed: of the random order.
    """

    device: Device
    space: SearchSpace
    identity: TableIdentity
    work_folder: Path
    plan: MeasurementPlan
    seed: int = 0
    fingerprint: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint(self.device.runtime, num_threads=self.device.num_threads)

    def run(
        self, operators: Sequence[Operator], on_progress: OnProgress
    ) -> tuple[dict[Operator, Measurement], dict[str, Measurement]]:
        """The entries for `operators`, and the contexts that were subtracted."""
        logger.info("%d distinct operators to measure on %s", len(operators), self.device.name)
        journal, samples = self._open_journal(operators)
        probes = export_probes(
            operators, self.space, self.work_folder, batch_size=self.identity.batch_size, on_progress=on_progress
        )
        state = {"before": conditions()}
        with pinned(self.device.num_threads):
            runtime = self.device.runtime
            sessions: dict[str, Session] = {}
            for name, model_path in probes.items():
                sessions[name] = runtime.load(model_path, num_threads=self.device.num_threads)
                on_progress("loading", len(sessions), len(probes))
            run_ms = warm_up(sessions, self.plan)
            done = sum(map(len, samples.values())) / (self.plan.rounds * len(sessions))
            seconds = self.plan.estimated_seconds(run_ms) * (1 - done)
            resumed = f", {done:.0%} of it done already" if done else ""
            logger.info(
                "%d models in %d rounds: about %.0f s%s", len(sessions), self.plan.rounds, max(1.0, seconds), resumed
            )
            measure(
                sessions,
                plan=self.plan,
                seed=self.seed,
                run_ms=run_ms,
                samples=samples,
                on_visit=lambda name, number, taken: _keep(samples, journal, name, number, taken),
                on_progress=on_progress,
            )
        return self._entries(operators, samples, {**state, "after": conditions()})

    def _entries(
        self, operators: Sequence[Operator], samples: Samples, state: Mapping[str, Any]
    ) -> tuple[dict[Operator, Measurement], dict[str, Measurement]]:
        measured = {
            name: summarize(rounds, quantile=self.plan.quantile, conditions=state) for name, rounds in samples.items()
        }
        sides = {operator: sides_of(operator, self.space) for operator in operators}
        entries = {operator: _less_half(measured[operator.key], measured, sides[operator]) for operator in operators}
        return entries, {name: measured[name] for names in sides.values() for name in names}

    def _open_journal(self, operators: Sequence[Operator]) -> tuple[JsonLines, Samples]:
        """The samples that a stopped run has left, if it measured the same in the same environment."""
        journal = JsonLines(self.work_folder / "samples.jsonl")
        header = {
            "schema_version": JOURNAL_VERSION,
            "identity": asdict(self.identity) | {"input_shape": list(self.identity.input_shape)},
            "fingerprint": self.fingerprint,
            "operators": [operator.key for operator in operators],
            "plan": vars(self.plan) | {"seed": self.seed},
        }
        lines = journal.repair()
        if lines and lines[0] != header:
            logger.warning("Starting afresh: what lies in %s was measured otherwise", self.work_folder)
            shutil.rmtree(self.work_folder)
            lines = []
        if not lines:
            journal.append(header)
        samples: Samples = {}
        for line in lines[1:]:
            samples.setdefault(line["model"], {})[line["round"]] = line["samples_ms"]
        return journal, samples


def _keep(samples: Samples, journal: JsonLines, name: str, number: int, taken: list[float]) -> None:
    samples.setdefault(name, {})[number] = taken
    journal.append({"model": name, "round": number, "samples_ms": taken}, sync=False)


def _less_half(whole: Measurement, measured: Mapping[str, Measurement], sides: Sequence[str]) -> Measurement:
    """`whole` less half of each of `sides`; the intervals are added as independent errors."""
    latency = whole.latency_ms
    below = (whole.latency_ms - whole.ci95_ms[0]) ** 2
    above = (whole.ci95_ms[1] - whole.latency_ms) ** 2
    for side in (measured[name] for name in sides):
        latency -= side.latency_ms / 2
        below += ((side.ci95_ms[1] - side.latency_ms) / 2) ** 2
        above += ((side.latency_ms - side.ci95_ms[0]) / 2) ** 2
    conditions_with = {**whole.conditions, "half_subtracted": list(sides)}
    return Measurement(latency, (latency - below**0.5, latency + above**0.5), whole.samples_ms, conditions_with)
