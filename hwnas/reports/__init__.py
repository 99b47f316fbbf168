"""A run folder turned into one HTML file that opens anywhere, without a network."""

from collections.abc import Mapping
from pathlib import Path

from hwnas.files import write_text
from hwnas.latency import LatencyTable
from hwnas.reports.audits import audit_sentence
from hwnas.reports.comparisons import compare_latencies
from hwnas.reports.documents import load_run
from hwnas.reports.page import compose_page
from hwnas.reports.pictures import draw_audit, draw_predictions

__all__ = ["audit_sentence", "draw_audit", "draw_predictions", "write_report"]


def write_report(run_folder: Path, tables: Mapping[str, LatencyTable | str] | None = None) -> Path:
    """Writes `<run_folder>/report.html` and returns its path.

    Beside it comes predictions-<device>.png for each device whose latency table holds measured networks.

    Args:
        run_folder: the folder of a search; the parts that it does not have yet are named in the page.
        tables: the latency table of each device of the run, or a sentence that says why there is none.

    Raises:
        RunError: the folder holds no front.json, so its search has not ended.
        StoredFileError: a file of the folder cannot be read, or the report cannot be written.
    """
    path = run_folder / "report.html"
    run, tables = load_run(run_folder), tables or {}
    for device, table in tables.items():
        if isinstance(table, LatencyTable) and table.networks:
            picture = run_folder / f"predictions-{device}.png"
            draw_predictions(table, picture, compare_latencies(run.models, device))
    write_text(path, compose_page(run, tables))
    return path
