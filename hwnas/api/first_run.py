"""The verb `quickstart`: the whole way on a small real task, in a few minutes on a laptop."""

from importlib.resources import as_file, files
from pathlib import Path

from hwnas.api.reporting import report
from hwnas.api.run_folder import RunFolder
from hwnas.api.searching import search_run
from hwnas.api.settings import make_settings, read_settings
from hwnas.api.verification import verify
from hwnas.api.winners import export
from hwnas.progress import OnProgress, silent

__all__ = ["quickstart"]


def quickstart(output: str | Path, *, on_progress: OnProgress = silent) -> Path:
    """Profiles this machine, trains a supernet on digits, searches, exports, verifies and reports.

    What an earlier, stopped call has done is kept.

    Args:
        output: the run folder; its latency table lies in it too.
        on_progress: told of each step.

    Returns:
        The report.

    Raises:
        HwnasError: see `hwnas.errors`.
    """
    folder = Path(output)
    with as_file(files("hwnas.api") / "quickstart.toml") as path:
        given = read_settings(path)
    given["tables"] = str(folder / "latency_tables")
    search_run(RunFolder(folder, make_settings(given, where="quickstart.toml")), on_progress=on_progress)
    export(folder, on_progress=on_progress)
    verify(folder, on_progress=on_progress)
    return report(folder)
