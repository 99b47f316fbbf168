"""Latency tables: building them by measurement, proving and storing them, and predicting a network's latency from one."""

from hwnas.latency.adapting import LEAST_NETWORKS, adapt_space, corrected_table
from hwnas.latency.block_tables import read_block_table, table_of_blocks
from hwnas.latency.calibration import Agreement, Calibration, Quality, agreement
from hwnas.latency.comparison import TableComparison, compare_tables
from hwnas.latency.inspection import Finding, calibrated_networks, inspect_table, space_of
from hwnas.latency.profiling import CARRIERS, check_precision, profile_space
from hwnas.latency.stored_table import load_table, save_table
from hwnas.latency.table import LatencyTable, MeasuredNetwork, TableIdentity, profile_command, table_path

__all__ = [
    "CARRIERS",
    "LEAST_NETWORKS",
    "Agreement",
    "Calibration",
    "Finding",
    "LatencyTable",
    "MeasuredNetwork",
    "Quality",
    "TableComparison",
    "TableIdentity",
    "adapt_space",
    "agreement",
    "calibrated_networks",
    "check_precision",
    "compare_tables",
    "corrected_table",
    "inspect_table",
    "load_table",
    "profile_command",
    "profile_space",
    "read_block_table",
    "save_table",
    "space_of",
    "table_of_blocks",
    "table_path",
]
