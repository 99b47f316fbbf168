"""The verb `compare`: the winners of a run beside torchvision's networks, trained for as long and measured together."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwnas.api.baseline_training import Budget, baseline_options, file_accuracy, train_baseline
from hwnas.api.bundling import run_devices
from hwnas.api.converting import BundleOptions
from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.stages import stage
from hwnas.api.winner_list import COMPARISON_SCHEMA, Winner, load_winners
from hwnas.baselines import Baseline, comparable_baselines, find_baselines
from hwnas.devices import Measurement, connect, load_device, measure
from hwnas.errors import DeviceError, ExportError, TrainingError
from hwnas.files import exclusive, write_json
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace

__all__ = ["compare"]

logger = logging.getLogger(__name__)


def compare(
    run: str | Path,
    *,
    baselines: Sequence[str] = (),
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Trains torchvision's networks for as long as the winners, and measures both together on the devices of the run.

    Each baseline is trained from scratch by the settings of the run (`Budget` says for how long), exported with the options
    that the winners were, compared with torch on every image of the test part, scored by the exported file, and measured in
    turn with the winners. What an earlier call has trained is kept, and a stopped training gone on with. A baseline that
    cannot be trained or exported is left out, and named.

    Args:
        run: the run folder, or the run.toml in it.
        baselines: families ("resnet18"), each in the widths nearest to the smallest and the largest winner, or networks
            ("resnet18:0.5"); none: all families of `hwnas.baselines.FAMILIES`.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of each training and each round of measuring.

    Returns:
        What is stored as comparison.json: "winners" and "baselines" with their accuracies, costs and latencies, and for
        each device the one of the other side that dominates it: no slower, no less accurate, and better in one of them.
        "failed" says of baselines that could not be trained, or whose file does not give what torch gives, why.

    Raises:
        RunError: nothing was exported yet.
        UnknownNameError, SettingsError: a baseline that does not exist.
        ExportError: a winner's file does not run.
        DeviceError: none of the devices could be used; the trained baselines are kept.
        StoredFileError: a file is broken or could not be written.
    """
    require_one_process("compare")
    folder = open_run(run, space=space, data=data)
    exported = load_winners(folder)
    budget = Budget.of(folder, exported)
    winners = [_winner(folder, one) for one in exported]
    chosen = _choose(folder, baselines, [one["macs"] for one in winners])
    with exclusive(folder.path), stage(folder, "comparing"):
        options = baseline_options(folder, exported)
        trained, failed = _train_all(folder, chosen, budget, options, on_progress)
        environments = _measure(folder, [*winners, *trained], on_progress)
        for ours, theirs in ((trained, winners), (winners, trained)):
            for one in ours:
                one["dominated_by"] = {device: _dominating(one, theirs, device) for device in one["latency"]}
        document = {
            "schema_version": COMPARISON_SCHEMA,
            "device": next(iter(environments)),
            "test_images": len(folder.data.test),
            "budget": {**asdict(budget), "settings": budget.settings(folder).identity()},
            "environments": environments,
            "winners": winners,
            "baselines": trained,
            "failed": failed,
        }
        write_json(folder.comparison, document)
    return document


def _choose(run: RunFolder, names: Sequence[str], macs: Sequence[float]) -> list[Baseline]:
    shape, num_classes = run.data.input_shape, run.data.num_classes
    if not names:
        return comparable_baselines(shape, num_classes, macs)
    found = [find_baselines(name, input_shape=shape, num_classes=num_classes, macs=macs) for name in names]
    return list(dict.fromkeys(baseline for some in found for baseline in some))


def _winner(run: RunFolder, winner: Winner) -> dict[str, Any]:
    """The entry of an exported winner."""
    network, _ = run.split(run.space.from_json(winner.architecture))
    path, space = run.path / winner.file, run.network_space
    counts = [space.counts[operator] for operator in space.operators(network)]
    return {
        "name": winner.name,
        "precision": winner.precision,
        "file": winner.file,
        "test_accuracy": file_accuracy(run, path),
        "macs": sum(one.macs for one in counts),
        "parameters": sum(one.parameters for one in counts),
        "size_bytes": path.stat().st_size,
        "latency": {},
    }


def _train_all(
    run: RunFolder, chosen: Sequence[Baseline], budget: Budget, options: BundleOptions, on_progress: OnProgress
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The entries of all that could be trained and exported; why each of the others could not."""
    trained, failed = [], {}
    for number, baseline in enumerate(chosen, start=1):
        told = f"training baseline {number} of {len(chosen)}"
        try:
            entries = train_baseline(run, baseline, budget, options, stage=told, on_progress=on_progress)
            trained += [{**entry, "latency": {}} for entry in entries]
        except (TrainingError, ExportError) as error:
            failed[baseline.name] = str(error)
            logger.warning("%s is left out: %s", baseline.name, error)
    return trained, failed


def _measure(
    run: RunFolder, entries: Sequence[dict[str, Any]], on_progress: OnProgress
) -> dict[str, dict[str, Any] | None]:
    """Puts the latencies on each device into `entries`, or why there is none; returns the environments.

    Raises:
        DeviceError: none of the devices could be used.
    """
    environments: dict[str, dict[str, Any] | None] = {}
    errors = []
    for device in run_devices(run):
        try:
            environments[device] = _measure_on(run, entries, device, on_progress)
        except DeviceError as error:
            errors.append(error)
            logger.warning("Not measured on %s: %s", device, error)
            environments[device] = None
            for one in entries:
                one["latency"][device] = _latency(None, str(error))
    if len(errors) == len(environments):
        raise errors[0]
    return environments


def _measure_on(
    run: RunFolder, entries: Sequence[dict[str, Any]], device: str, on_progress: OnProgress
) -> dict[str, Any]:
    with connect(load_device(device)) as host:
        found = measure(
            host,
            {one["file"]: run.path / one["file"] for one in entries},
            plan=run.settings.measurement,
            seed=run.settings.seed,
            on_progress=on_progress,
        )
        for flag in found.flags:
            logger.warning("%s: %s", device, flag)
        for one in entries:
            refusal = found.refused.get(one["file"])
            one["latency"][device] = _latency(found.measurements.get(one["file"]), refusal)
        return host.fingerprint()


def _latency(found: Measurement | None, reason: str | None) -> dict[str, Any]:
    if found is None:
        return {"measured_ms": None, "measured_ci95_ms": None, "not_measured": reason}
    return {"measured_ms": found.latency_ms, "measured_ci95_ms": list(found.ci95_ms), "not_measured": None}


def _dominating(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]], device: str) -> str | None:
    """The name of the most accurate of `others` that dominates `one` on `device`; None where none does."""
    own = _point(one, device)
    better = [other for other in others if _point(other, device) != own and _no_worse(_point(other, device), own)]
    return max(better, key=lambda other: float(other["test_accuracy"]))["name"] if better else None


def _point(one: Mapping[str, Any], device: str) -> tuple[float, float]:
    """What is minimised: latency (infinite where it was not measured) and error."""
    measured = one["latency"][device]["measured_ms"]
    return math.inf if measured is None else measured, 1 - one["test_accuracy"]


def _no_worse(point: tuple[float, float], other: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and point[0] <= other[0] and point[1] <= other[1]
