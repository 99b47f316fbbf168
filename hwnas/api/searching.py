"""The verb `search`: whatever of profiling, training and searching is still missing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwnas import objectives as makers
from hwnas.api.candidate_errors import AloneErrors, SharedErrors
from hwnas.api.corrections import settled_identity
from hwnas.api.foretelling import assess_predictor
from hwnas.api.run_folder import FROM_PYTHON, DataSource, RunFolder, as_image_data, require_one_process
from hwnas.api.scoring import Leniency, check_quality, latency_table, make_objectives
from hwnas.api.settings import RunSettings, Start, Weights, make_settings
from hwnas.api.stages import stage
from hwnas.api.training import check_training, supernet_of
from hwnas.checks import require_fitting_shapes
from hwnas.devices import MeasurementPlan, find_runtime, load_device
from hwnas.errors import HwnasError, InfeasibleError, RunError, SettingsError
from hwnas.files import JsonLines, exclusive
from hwnas.front import Evaluation, ParetoFront
from hwnas.latency import check_precision
from hwnas.objectives import Objective, check_feasible
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, require_attributes
from hwnas.strategies import SearchLoop, SearchStrategy, find_strategy, make_strategy
from hwnas.training import TrainingSettings
from hwnas.workers import make_workers, parse_workers

__all__ = ["search", "search_run"]


def search(
    *,
    output: str | Path,
    space: str | SearchSpace = "mobilenetv3",
    space_options: Mapping[str, float | Sequence[float]] | None = None,
    data: DataSource | Path = "digits",
    data_root: str | Path | None = None,
    image_size: int | None = None,
    objectives: Sequence[str] = ("error", "macs", "latency@local-cpu"),
    bounds: Mapping[str, int | float] | None = None,
    strategy: str | type[SearchStrategy] = "surrogate_nsga2",
    strategy_options: Mapping[str, int | float] | None = None,
    evaluations: int = 400,
    workers: int | str = 1,
    weights: Weights = "shared",
    network_epochs: int = 5,
    calibration_images: int = 256,
    validation_images: int | None = None,
    winners: int = 5,
    finetune_epochs: int = 5,
    winner_start: Start = "inherited",
    distillation: float = 0.0,
    batch_size: int = 1,
    precisions: Sequence[str] = ("fp32",),
    calibration_networks: int = 10,
    tables: str | Path = "latency_tables",
    seed: int = 0,
    training: TrainingSettings | Mapping[str, Any] | None = None,
    measurement: MeasurementPlan | Mapping[str, Any] | None = None,
    force: bool = False,
    accept_stale: bool = False,
    on_progress: OnProgress = silent,
) -> ParetoFront:
    """Finds the Pareto front of a space for a task and devices; what an earlier, stopped call has done is kept.

    Args:
        output: the run folder.
        space: a space's name, or a space.
        space_options: its options, such as {"width_mult": 0.5}, or {"width_mult": [0.5, 1.0]} to search among them.
        data: a data set's name, a folder of images, ImageData, or one, two or three torch data sets.
        data_root: where a named data set lies; None: ./datasets, downloaded where it is missing.
        image_size: side of the images of a folder.
        objectives: what to minimise: "error", "macs", "parameters", "latency@<device>", several devices if wanted.
        bounds: for some objectives, what they must not exceed: a fraction, MACs, parameters, ms.
        strategy: a strategy's name, or a SearchStrategy class.
        strategy_options: its hyperparameters, such as {"batch_size": 10}.
        evaluations: distinct architectures to evaluate.
        workers: where they are evaluated: so many processes of this machine, "ray" for the Ray cluster that it belongs to
            (or else one of its own), or "ray://HOST:PORT"; a cluster has as many workers as CPUs, or as "?workers=N" says.
            The front does not depend on it.
        weights: of evaluated networks: "shared", those of one trained supernet; "inherited", each network is trained by
            itself, from its parent's weights where the strategy made it from one; "scratch", each from random weights.
        network_epochs: epochs that each network is trained for where the weights are not shared.
        calibration_images: images for the batch norms of each evaluated sub-network.
        validation_images: images of the validation part that each is scored on; None: all.
        winners: how many of the front `export` takes.
        finetune_epochs: epochs that `export` trains each of them for.
        winner_start: the weights that it starts from: "inherited" from the search, or "scratch".
        distillation: the weight of the largest sub-network's predictions in that training, from 0 to 1.
        batch_size: images in one inference, for the latency.
        precisions: of the models: "fp32", "fp16", "int8". Of several each candidate has one, whose latency and error count:
            the error is that of the network in its precision, see `hwnas.training.ConvertedEvaluator`.
        calibration_networks: whole networks that calibrate and prove each latency table.
        tables: the folder of latency tables.
        seed: of everything random: the same seed, tables and machine give the same front.
        training: of the supernet, or of each network: TrainingSettings, or some of its fields.
        measurement: MeasurementPlan, or some of its fields.
        force: whether to search by a latency table whose quality is too low.
        accept_stale: whether to search by a latency table that was measured in another environment.
        on_progress: told of each step.

    Returns:
        The front of all evaluations, also stored as front.json.

    Raises:
        HwnasError: see `hwnas.errors`; bad settings and bounds that nothing meets before anything slow begins.
    """
    data = str(data) if isinstance(data, Path) else data
    if not isinstance(strategy, str | type):
        raise SettingsError("strategy", "must be a name or a SearchStrategy class", came=f"{strategy!r} came")
    given: dict[str, Any] = {
        "space": space if isinstance(space, str) else FROM_PYTHON + require_attributes(space).name,
        "space_options": {
            name: list(value) if isinstance(value, tuple) else value for name, value in (space_options or {}).items()
        },
        "data": data if isinstance(data, str) else FROM_PYTHON + type(data).__name__,
        "data_root": None if data_root is None else str(data_root),
        "image_size": image_size,
        "objectives": list(objectives),
        "bounds": dict(bounds or {}),
        "strategy": strategy if isinstance(strategy, str) else FROM_PYTHON + strategy.__name__,
        "strategy_options": dict(strategy_options or {}),
        "evaluations": evaluations,
        "workers": workers,
        "weights": weights,
        "network_epochs": network_epochs,
        "calibration_images": calibration_images,
        "validation_images": validation_images,
        "winners": winners,
        "finetune_epochs": finetune_epochs,
        "winner_start": winner_start,
        "distillation": distillation,
        "batch_size": batch_size,
        "precisions": [precisions] if isinstance(precisions, str) else list(precisions),
        "calibration_networks": calibration_networks,
        "tables": str(tables),
        "seed": seed,
        "training": training if isinstance(training, TrainingSettings) else dict(training or {}),
        "measurement": measurement if isinstance(measurement, MeasurementPlan) else dict(measurement or {}),
    }
    run = RunFolder(
        Path(output),
        make_settings(given, where="search"),
        None if isinstance(space, str) else space,
        None if isinstance(data, str) else as_image_data(data, seed),
    )
    given_class = strategy if isinstance(strategy, type) else None
    return _search(run, given_class, Leniency(force, accept_stale), on_progress)


def search_run(
    run: RunFolder,
    *,
    workers: int | str | None = None,
    force: bool = False,
    accept_stale: bool = False,
    on_progress: OnProgress = silent,
) -> ParetoFront:
    """Does what is still missing of `run`, with other `workers` than it says where they are given; otherwise as `search`."""
    if workers is not None:
        parse_workers(workers)
        run.settings = run.settings.model_copy(update={"workers": workers})
    return _search(run, None, Leniency(force, accept_stale), on_progress)


def _search(
    run: RunFolder, strategy: type[SearchStrategy] | None, leniency: Leniency, on_progress: OnProgress
) -> ParetoFront:
    _check_early(run, strategy)
    with exclusive(run.path):
        run.begin()
        return _search_within(run, strategy, leniency, on_progress)


def _search_within(
    run: RunFolder, strategy: type[SearchStrategy] | None, leniency: Leniency, on_progress: OnProgress
) -> ParetoFront:
    settings = run.settings
    with stage(run, "profiling"):
        for name in settings.devices:
            for precision in settings.precisions:
                check_quality(latency_table(run, name, precision, leniency, on_progress), leniency)
    objectives = make_objectives(run)
    check_feasible(run.space, objectives, rng=np.random.default_rng(settings.seed))
    if "error" in settings.objectives:
        with stage(run, "training"):
            objectives = _with_error(run, objectives, on_progress)
    made = make_strategy(
        strategy or settings.strategy, run.space, objectives, seed=settings.seed, options=settings.strategy_options
    )
    identity = settled_identity(run, _identity(run, objectives), objectives)
    journal, log = JsonLines(run.evaluations), JsonLines(run.search_log)
    expensive = [one for one in objectives if one.cost == "expensive"]
    with make_workers(settings.workers, expensive) as workers, stage(run, "searching", images=_scored_images(run)):
        loop = SearchLoop(run.space, objectives, made, journal, identity, log, workers)
        front = loop.run(settings.evaluations, on_progress=on_progress)
    front.save(run.front)
    if not len(front):
        raise _nothing_found(run, list(loop.evaluations.values()))
    assess_predictor(run)
    return front


def _check_early(run: RunFolder, strategy: type[SearchStrategy] | None) -> None:
    """All that can be refused before anything is written, measured or trained."""
    settings = run.settings
    require_one_process("search")
    parse_workers(settings.workers).require()
    if strategy is None:
        find_strategy(settings.strategy)
    require_fitting_shapes(run.network_space)
    devices = [load_device(name) for name in settings.devices]
    for device in devices:
        if device.address == "local":
            runtime = find_runtime(device.runtimes[0])
            runtime.require()
            for precision in settings.precisions:
                check_precision(runtime.precisions, device, precision)
    if len({device.name for device in devices}) < len(devices):
        raise SettingsError("objectives", "must name each device once", came="one is named twice")
    if "error" in settings.objectives:
        check_training(run)
    early = make_objectives(run, measured=False)
    check_feasible(run.space, early, rng=np.random.default_rng(settings.seed))
    make_strategy(
        strategy or settings.strategy, run.space, early, seed=settings.seed, options=settings.strategy_options
    )


def _nothing_found(run: RunFolder, evaluations: Sequence[Evaluation]) -> HwnasError:
    """Why a search has ended with an empty front."""
    sound = [one for one in evaluations if one.failure is None]
    if not sound:
        failure = evaluations[0].failure if evaluations else "none was made"
        return RunError(
            f"Run folder {run.path}", "must hold an evaluation that succeeded", came=f"all failed: {failure}"
        )
    bounds = {name.replace("latency@", "latency_ms@"): bound for name, bound in run.settings.bounds.items()}
    lowest = {name: min(one.values[name] for one in sound) for name in bounds}
    return InfeasibleError(
        f"The bounds of {run.path}",
        "must be met by an evaluated architecture",
        came=f"none of {len(sound)} meets them all; the lowest values seen are "
        + ", ".join(f"{name} = {value:.6g}" for name, value in lowest.items()),
        do="Raise a bound, in another output folder",
    )


def _with_error(run: RunFolder, objectives: Sequence[Objective], on_progress: OnProgress) -> list[Objective]:
    """The objectives with an "error" that asks the trained supernet, or trains each network."""
    if run.settings.weights == "shared":
        found = SharedErrors.of(run, supernet_of(run, objectives, on_progress=on_progress))
        ready = makers.error(found.errors)
    else:
        alone = AloneErrors.of(run)
        ready = replace(makers.error(alone.errors), evaluate_child=alone.error)
    return [ready.bounded(one.bound) if one.name == ready.name else one for one in objectives]


def _scored_images(run: RunFolder) -> int | None:
    """How many different validation images each architecture is scored on; None where errors are no objective."""
    if "error" not in run.settings.objectives:
        return None
    different = len(run.data.validation) // run.data.validation_copies
    return min(run.settings.validation_images or different, different)


def _identity(run: RunFolder, objectives: Sequence[Objective]) -> dict[str, Any]:
    """What evaluations must be of to be gone on with."""
    settings: RunSettings = run.settings
    alone = {"weights": settings.weights, "network_epochs": settings.network_epochs}
    return {
        **({} if settings.weights == "shared" else alone),
        **({} if settings.precisions == ["fp32"] else {"precisions": settings.precisions}),
        **run.space.identity(),
        "data": settings.data,
        "data_digest": run.data.digest,
        "objectives": [objective.to_json() for objective in objectives],
        "operator_costs": {
            one.name: _digest(one.operator_costs) for one in objectives if one.operator_costs is not None
        },
        "strategy": settings.strategy,
        "strategy_options": settings.strategy_options,
        "seed": settings.seed,
    }


def _digest(costs: npt.NDArray[np.float64]) -> str:
    """A few hexadecimal digits that change when any cost does, such as when a table is measured anew."""
    return hashlib.sha256(costs.tobytes()).hexdigest()[:16]
