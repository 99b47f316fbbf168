"""The verb `report`: one page that shows a run."""

from pathlib import Path

from hwnas.api.run_folder import DataSource, RunFolder, open_run
from hwnas.api.scoring import known_table
from hwnas.errors import HwnasError
from hwnas.files import read_json_lines
from hwnas.latency import LatencyTable
from hwnas.reports import write_report
from hwnas.spaces import SearchSpace, make_space

__all__ = ["report"]


def report(run: str | Path, *, space: SearchSpace | None = None, data: DataSource | None = None) -> Path:
    """Writes report.html into a run folder: one file that opens without a network.

    Beside it comes predictions-<device>.png for each device whose latency table holds measured networks.

    Args:
        run: the run folder, or the run.toml in it.
        space: the space, where the run was made with an object; without it no networks are drawn.
        data: the data, where the run was made with an object.

    Returns:
        The page.

    Raises:
        RunError: nothing was searched yet.
        StoredFileError: a file is broken or could not be written.
    """
    folder = open_run(run, space=space, data=data)
    return write_report(folder.path, _tables(folder), _network_space(folder))


def _tables(folder: RunFolder) -> dict[str, dict[str, LatencyTable | str]]:
    """The latency tables of a run by device and precision, or why one is not shown: a page is written in either case."""
    settings = folder.settings
    return {name: {one: _table(folder, name, one) for one in settings.precisions} for name in settings.devices}


def _table(folder: RunFolder, name: str, precision: str) -> LatencyTable | str:
    try:
        return known_table(folder, name, precision, space=_searched_space(folder))
    except HwnasError as error:
        return f"The {precision} latency table of {name} is not shown. {error}"


def _network_space(folder: RunFolder) -> SearchSpace | None:
    """The space whose networks are drawn, None where it cannot be made: its data or its class is not here."""
    try:
        return _searched_space(folder)
    except HwnasError:
        return None


def _searched_space(folder: RunFolder) -> SearchSpace:
    """The space of a run's networks as its evaluations say, so that the images need not be loaded. Raises HwnasError."""
    if folder.given_space is not None:
        return folder.given_space
    header = (read_json_lines(folder.evaluations) or [{}])[0]
    if not {"space", "input_shape", "num_classes", "space_options"} <= header.keys():
        return folder.network_space
    return make_space(
        header.get("networks", header["space"]),
        input_shape=tuple(header["input_shape"]),
        num_classes=header["num_classes"],
        options=header["space_options"],
    )
