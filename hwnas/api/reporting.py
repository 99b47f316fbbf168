"""The verb `report`: one page that shows a run."""

from pathlib import Path

from hwnas.api.run_folder import open_run
from hwnas.reports import write_report

__all__ = ["report"]


def report(run: str | Path) -> Path:
    """Writes report.html into a run folder: one file that opens without a network.

    Args:
        run: the run folder, or the run.toml in it.

    Returns:
        The page.

    Raises:
        RunError: nothing was searched yet.
        StoredFileError: a file is broken or could not be written.
    """
    return write_report(open_run(run).path)
