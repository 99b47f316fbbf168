"""The latency tables of a run that its measured winners have corrected, and evaluations that follow them.

A corrected table lies in the run folder: the measured one is shared with other runs and stays as it was measured.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwnas.api.measured import MeasuredWinner
from hwnas.api.run_folder import RunFolder
from hwnas.api.scoring import table_identity
from hwnas.devices import Measurement
from hwnas.files import JsonLines, first_difference, read_json_lines
from hwnas.latency import LEAST_NETWORKS, corrected_table, load_table, save_table, table_path
from hwnas.objectives import Objective
from hwnas.spaces import Architecture
from hwnas.strategies import TOLD_FIRST, rescore

__all__ = ["correct_table", "settled_identity"]

logger = logging.getLogger(__name__)

OF_TABLES = "operator_costs"
"""The key of a search's identity that follows from latency tables."""


def correct_table(run: RunFolder, device: str, precision: str, winners: Sequence[MeasuredWinner]) -> bool:
    """Corrects the table of `device` for networks in `precision` by all winners of this and earlier rounds.

    Returns:
        Whether there were enough of them.

    Raises:
        StoredFileError: a table is missing or broken, or could not be written.
    """
    space, identity = run.network_space, table_identity(run, device, precision)
    measured = load_table(table_path(Path(run.settings.tables), identity, space))
    path = table_path(run.corrected_tables, identity, space)
    networks: dict[Architecture, Measurement] = {}
    if path.exists():
        networks |= {space.architecture(one.choices): one.found for one in load_table(path).networks}
    for winner in winners:
        found = winner.latency.get(device)
        if winner.precision == precision and found is not None:
            network, _ = run.split(winner.architecture)
            networks[network] = Measurement(found.measured_ms, found.ci95_ms)
    if len(networks) < LEAST_NETWORKS:
        logger.warning(
            "%d winners in %s were measured on %s; a table is corrected by %d or more",
            len(networks),
            precision,
            device,
            LEAST_NETWORKS,
        )
        return False
    save_table(corrected_table(measured, space, networks), path)
    return True


def settled_identity(run: RunFolder, identity: Mapping[str, Any], objectives: Sequence[Objective]) -> dict[str, Any]:
    """What the evaluations of `run` are of; those found before a table was corrected are given the latencies of today.

    Raises:
        RunError, StoredFileError: the evaluations are broken.
    """
    lines = read_json_lines(run.evaluations)
    told = {key: lines[0][key] for key in (TOLD_FIRST,) if lines and key in lines[0]}
    settled = {**identity, **told}
    if not lines or not run.corrected_tables.exists():
        return settled
    different = first_difference({key: lines[0].get(key) for key in settled}, settled)
    if different is None or different[0].partition(".")[0] != OF_TABLES:
        return settled
    rescore(JsonLines(run.evaluations), identity=identity, space=run.space, objectives=objectives)
    run.search_log.unlink(missing_ok=True)
    logger.info("The latencies of %d evaluations follow the corrected tables", len(lines) - 1)
    return {**identity, TOLD_FIRST: len(lines) - 1}
