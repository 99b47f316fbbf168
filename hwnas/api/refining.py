"""The verb `refine`: a search that is told what was measured of its winners, and goes on.

A front is as good as the latencies that it was found by. Where measured winners lie outside the prediction intervals, the
table is wrong where it matters most, and other architectures may be better: so the table is corrected, all evaluations get
the latencies that it now says, and the search goes on, until predictions hold.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from hwnas.api.corrections import correct_table
from hwnas.api.measured import MeasuredWinner, measured_winners
from hwnas.api.run_folder import RunFolder
from hwnas.api.searching import search_run
from hwnas.api.verification import verify
from hwnas.api.winners import export_again
from hwnas.errors import SettingsError
from hwnas.files import read_json, read_json_lines, write_json
from hwnas.front import ParetoFront
from hwnas.progress import OnProgress, silent

__all__ = ["refine"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
SHARE: Final = 0.1
"""Of the evaluations of the search, how many more each round makes."""


def refine(
    run: RunFolder,
    *,
    rounds: int = 5,
    evaluations: int | None = None,
    workers: int | str | None = None,
    force: bool = False,
    accept_stale: bool = False,
    on_progress: OnProgress = silent,
) -> ParetoFront:
    """Goes on with a search until the measured latencies of its winners lie within the predicted intervals.

    Each round exports the winners of the front, in the way of those before if there are some, and verifies them. Where a
    latency misses its interval, the table of that device and precision is corrected by all winners measured there, the
    evaluations are given its latencies, and the search makes some more. Nothing that was expensive to find is found again. A
    refinement that was stopped is gone on with.

    Args:
        run: whose objectives have a latency.
        rounds: at most so many.
        evaluations: that each round makes; None: a tenth of those of the run.
        workers: see `search`.
        force: see `search`.
        accept_stale: see `search`.
        on_progress: told of each step.

    Returns:
        The front, also stored as front.json; what each round has found stands in refinement.json.

    Raises:
        SettingsError: there is no latency to refine, or a number out of range.
        HwnasError: as `search`, `export` and `verify`.
    """
    more = max(1, round(SHARE * run.settings.evaluations)) if evaluations is None else evaluations
    for name, number in (("rounds", rounds), ("evaluations", more)):
        if number < 1:
            raise SettingsError(name, "must be at least 1", came=f"{number} came")
    if not run.settings.devices:
        raise SettingsError(
            f"Run folder {run.path}",
            "must have the latency of a device among its objectives to be refined",
            came=f"they are {', '.join(run.settings.objectives)}",
        )

    def search_on() -> ParetoFront:
        return search_run(run, workers=workers, force=force, accept_stale=accept_stale, on_progress=on_progress)

    front = search_on()
    for number in range(1, rounds + 1):
        export_again(run, on_progress=on_progress)
        verify(run.path, space=run.given_space, data=run.given_data, on_progress=on_progress)
        winners = measured_winners(run)
        _record(run, winners)
        if number == rounds or not _correct(run, winners):
            break
        found = len(read_json_lines(run.evaluations)) - 1
        run.settings = run.settings.model_copy(update={"evaluations": found + more})
        front = search_on()
    return front


def _correct(run: RunFolder, winners: Sequence[MeasuredWinner]) -> bool:
    """Corrects the tables by which a winner was foretold wrongly; returns whether any was."""
    wrong = dict.fromkeys(
        (device, one.precision) for one in winners for device, found in one.latency.items() if found.is_outside
    )
    corrected = [correct_table(run, device, precision, winners) for device, precision in wrong]
    return any(corrected)


def _record(run: RunFolder, winners: Sequence[MeasuredWinner]) -> None:
    """Adds a round to refinement.json."""
    rounds: list[dict[str, Any]] = []
    if run.refinement.exists():
        rounds = read_json(run.refinement, kind="refinement", schema_version=SCHEMA_VERSION)["rounds"]
    found = {
        device: [one.latency[device] for one in winners if device in one.latency] for device in run.settings.devices
    }
    errors = {device: [one.error for one in some if one.error is not None] for device, some in found.items()}
    rounds.append(
        {
            "round": len(rounds) + 1,
            "evaluations": len(read_json_lines(run.evaluations)) - 1,
            "median_error": {device: float(np.median(some)) if some else None for device, some in errors.items()},
            "outside_interval": {device: sum(one.is_outside for one in some) for device, some in found.items()},
            "models": [_model(one) for one in winners],
        }
    )
    write_json(run.refinement, {"schema_version": SCHEMA_VERSION, "rounds": rounds})
    for device, some in found.items():
        outside = sum(one.is_outside for one in some)
        logger.info("Round %d: %d of %d winners outside their interval on %s", len(rounds), outside, len(some), device)


def _model(winner: MeasuredWinner) -> dict[str, Any]:
    return {
        "architecture": winner.architecture.to_json(),
        "precision": winner.precision,
        "latency": {
            device: {"predicted_ms": found.predicted_ms, "measured_ms": found.measured_ms}
            for device, found in winner.latency.items()
        },
    }
