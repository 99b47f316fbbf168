"""Predictors of what a search has evaluated: fitted anew from its evaluations file, which is all that is kept of them."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.errors import ArchitectureError, RunError, StoredFileError
from hwnas.files import read_json_lines
from hwnas.predictors import DEFAULT_PREDICTOR, AccuracyPredictor, PredictorQuality, cross_validate, make_predictor
from hwnas.spaces import IntArray, SearchSpace

__all__ = ["assess_predictor", "fit_predictor"]

ENOUGH: Final = 30
"""Networks below which the quality of a predictor is not worth a line."""


def fit_predictor(
    run: str | Path,
    predictor: str = DEFAULT_PREDICTOR,
    *,
    space: SearchSpace | None = None,
    data: DataSource | None = None,
) -> AccuracyPredictor:
    """A predictor fitted on the errors that a run has evaluated.

    Args:
        run: the run folder, or the run.toml in it.
        predictor: a key of `hwnas.predictors.PREDICTORS`, or of an installed plug-in.
        space: the space, where the run was made with an object.
        data: the data, where the run was made with an object.

    Raises:
        RunError: no error was evaluated, or the evaluations are broken.
        UnknownNameError: no such predictor.
    """
    folder = open_run(run, space=space, data=data)
    choices_NV, errors_N = _evaluated(folder)
    if not len(errors_N):
        raise RunError(
            f"Run folder {folder.path}",
            "must hold evaluations of the error",
            came="it holds none",
            do=f"Search: hwnas search {folder.path}",
        )
    made = make_predictor(folder.space, predictor)
    made.fit(choices_NV, errors_N)
    return made


def assess_predictor(run: RunFolder) -> PredictorQuality | None:
    """Cross-validates the default predictor on the errors of `run`, and keeps what it finds as predictor.json.

    Returns:
        What was found; None where fewer than 30 networks were evaluated.

    Raises:
        RunError: the evaluations are broken.
        StoredFileError: predictor.json cannot be written.
    """
    choices_NV, errors_N = _evaluated(run)
    if len(errors_N) < ENOUGH:
        return None
    known = _known(run.predictor)
    same = list(zip(map(tuple, choices_NV.tolist()), errors_N.tolist(), strict=True))
    if known is not None and [(one.choices, one.error) for one in known.networks] == same:
        return known
    found = cross_validate(
        lambda: make_predictor(run.space), choices_NV, errors_N=errors_N, name=DEFAULT_PREDICTOR, seed=run.settings.seed
    )
    found.save(run.predictor)
    return found


def _known(path: Path) -> PredictorQuality | None:
    """What an earlier search has found; None where there is nothing that can be read."""
    try:
        return PredictorQuality.load(path) if path.exists() else None
    except StoredFileError:
        return None


def _evaluated(run: RunFolder) -> tuple[IntArray, npt.NDArray[np.float64]]:
    """The choices (N, V) and errors (N,) of the evaluations of `run`, failed ones left out. Raises RunError."""
    space, errors = run.space, {}
    for number, line in enumerate(read_json_lines(run.evaluations)[1:], start=2):
        try:
            if line.get("failure") is None and "error" in line["values"]:
                errors[space.from_json(line["architecture"]).choices] = float(line["values"]["error"])
        except (KeyError, TypeError, ValueError, AttributeError, ArchitectureError) as error:
            raise RunError(
                f"{run.evaluations}, line {number}", "must hold an evaluation", came=f"reading it says: {error!r}"
            ) from error
    choices_NV = np.array(list(errors), dtype=np.int64).reshape(len(errors), len(space.variables))
    return choices_NV, np.array(list(errors.values()), dtype=np.float64)
