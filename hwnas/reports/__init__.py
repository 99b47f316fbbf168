"""A run folder turned into one HTML file that opens anywhere, without a network."""

from pathlib import Path

from hwnas.files import write_text
from hwnas.reports.documents import load_run
from hwnas.reports.page import compose_page

__all__ = ["write_report"]


def write_report(run_folder: Path) -> Path:
    """Writes `<run_folder>/report.html` and returns its path.

    Args:
        run_folder: the folder of a search; the parts that it does not have yet are named in the page.

    Raises:
        RunError: the folder holds no front.json, so its search has not ended.
        StoredFileError: a file of the folder cannot be read, or the report cannot be written.
    """
    path = run_folder / "report.html"
    write_text(path, compose_page(load_run(run_folder)))
    return path
