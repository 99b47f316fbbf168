"""The verb `pick`: the member of a front that a deployment can afford, exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.api.bounds import Bound, parse_bounds
from hwnas.api.measured import measured_winners
from hwnas.api.run_folder import DataSource, RunFolder, open_run, require_one_process
from hwnas.api.winner_list import verified_bundles
from hwnas.api.winners import export_evaluations
from hwnas.front import Evaluation, ParetoFront
from hwnas.objectives import Objective, macs, parameters
from hwnas.progress import OnProgress, silent
from hwnas.spaces import Architecture, SearchSpace

__all__ = ["Pick", "pick"]


@dataclass(frozen=True)
class Pick:
    """A member of a front, and how it stands to some bounds.

    Attributes:
        evaluation: as the search saw it.
        description: the architecture for a person.
        values: of each objective, MACs and parameters; measured where it was, else predicted.
        measured: the names of those that were measured, of the very bundle at `path`.
        misses: for each bound that it misses a sentence by how much; empty where it keeps them all.
        path: what was exported.
    """

    evaluation: Evaluation
    description: str
    values: Mapping[str, float]
    measured: frozenset[str]
    misses: tuple[str, ...]
    path: Path


def pick(
    run: str | Path,
    bounds: str,
    *,
    finetune_epochs: int | None = None,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
    on_progress: OnProgress = silent,
) -> Pick:
    """Exports the most accurate member of a front that keeps some bounds, or the one that misses them by the least.

    A member keeps a bound by what was measured of it where it was verified, else by what was predicted. The most accurate
    is the one of the lowest error in the search, which alone all members share; the nearest miss the one whose values lie
    above the bounds by the least, each relative to its bound and all summed.

    Args:
        run: the run folder, or the run.toml in it.
        bounds: such as "latency@rpi4 <= 20 ms and macs < 30 M": of the run's objectives, MACs and parameters.
        finetune_epochs: that it is trained for by itself; None: as the winners that were exported, or as in run.toml.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.
        on_progress: told of the training.

    Raises:
        RunError: nothing was searched yet, or the front is empty.
        SettingsError, UnknownNameError: the bounds cannot be read, or are of what the run does not have.
        ExportError, StoredFileError: as `export`.
    """
    require_one_process("pick")
    folder = open_run(run, space=space, data=data)
    front = folder.load_front(empty=False)
    counts = _counts(folder, front)
    limits = parse_bounds(bounds, [*front.objectives, *counts])
    measured = dict(_measured(folder).values())
    members = {one.architecture: one for one in front}
    foretold = {one: {**_counted(counts, one), **evaluation.values} for one, evaluation in members.items()}
    chosen = members[_choose(front, limits, {one: {**foretold[one], **measured.get(one, {})} for one in members})]
    [path] = export_evaluations(
        folder, [chosen], bounds=bounds, finetune_epochs=finetune_epochs, on_progress=on_progress
    )
    _, known = _measured(folder).get(path.relative_to(folder.path).as_posix(), (chosen.architecture, {}))
    values = {**foretold[chosen.architecture], **known}
    misses = [bound.miss(values[bound.name]) for bound in limits]
    return Pick(
        chosen,
        folder.space.describe(chosen.architecture),
        values,
        frozenset(known),
        tuple(miss for miss in misses if miss is not None),
        path,
    )


def _measured(folder: RunFolder) -> dict[str, tuple[Architecture, dict[str, float]]]:
    """By bundle the architecture of each winner that was verified, with the objectives that were measured of it."""
    return {
        bundle: (
            one.architecture,
            {
                "error": 1 - one.test_accuracy,
                **{f"latency_ms@{device}": found.measured_ms for device, found in one.latency.items()},
            },
        )
        for bundle, one in zip(verified_bundles(folder), measured_winners(folder), strict=True)
    }


def _counts(folder: RunFolder, front: ParetoFront) -> list[Objective]:
    """What is known of every member though the search did not look at it."""
    searched = {one.name for one in front.objectives}
    return [one for one in (macs(folder.space), parameters(folder.space)) if one.name not in searched]


def _counted(counts: Sequence[Objective], architecture: Architecture) -> dict[str, float]:
    return {one.name: one.evaluate([architecture])[0] for one in counts}


def _choose(
    front: ParetoFront, bounds: Sequence[Bound], values: Mapping[Architecture, Mapping[str, float]]
) -> Architecture:
    """The member that is wanted, by the `values` that each is to be judged by."""
    first = next((one.name for one in front.objectives if one.name == "error"), front.objectives[0].name)

    def badness(one: Evaluation) -> tuple[bool, float, float, tuple[float, ...]]:
        own = values[one.architecture]
        excess = sum(bound.excess(own[bound.name]) for bound in bounds)
        kept = all(bound.holds(own[bound.name]) for bound in bounds)
        return not kept, excess, one.values[first], tuple(one.values.values())

    return min(front, key=badness).architecture
