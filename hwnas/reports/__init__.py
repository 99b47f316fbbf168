"""A run folder turned into one HTML file that opens anywhere, without a network."""

from pathlib import Path

from hwnas.files import write_text
from hwnas.latency import LatencyTable
from hwnas.reports.audits import audit_sentence
from hwnas.reports.comparisons import compare_latencies
from hwnas.reports.documents import load_run
from hwnas.reports.networks import Tables
from hwnas.reports.page import compose_page
from hwnas.reports.pictures import draw_audit, draw_predictions
from hwnas.spaces import SearchSpace

__all__ = ["audit_sentence", "draw_audit", "draw_predictions", "write_report"]


def write_report(run_folder: Path, tables: Tables | None = None, space: SearchSpace | None = None) -> Path:
    """Writes `<run_folder>/report.html` and returns its path.

    Beside it comes a picture for each latency table that holds measured networks: predictions-<device>.png, or
    predictions-<device>-<precision>.png where a device has tables of several precisions.

    Args:
        run_folder: the folder of a search; the parts that it does not have yet are named in the page.
        tables: the latency tables of the run by device and precision, or a sentence that says why there is none.
        space: of the run's networks, which are drawn block by block; None: it cannot be made here.

    Raises:
        RunError: the folder holds no front.json, so its search has not ended.
        StoredFileError: a file of the folder cannot be read, or the report cannot be written.
        ArchitectureError: an architecture of the run is not of `space`.
    """
    path = run_folder / "report.html"
    run, tables = load_run(run_folder), tables or {}
    for device, by_precision in tables.items():
        for precision, table in by_precision.items():
            if isinstance(table, LatencyTable) and table.networks:
                name = f"predictions-{device}-{precision}.png" if len(by_precision) > 1 else f"predictions-{device}.png"
                draw_predictions(table, run_folder / name, compare_latencies(run.models, device, precision))
    write_text(path, compose_page(run, tables, space))
    return path
