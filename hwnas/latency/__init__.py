"""Latency tables: building them by measurement, proving and storing them, and predicting a network's latency from one."""

from hwnas.latency.adapting import adapt_space
from hwnas.latency.calibration import Agreement, Calibration, Quality, agreement
from hwnas.latency.profiling import CARRIERS, profile_space
from hwnas.latency.stored_table import load_table, save_table
from hwnas.latency.table import LatencyTable, MeasuredNetwork, TableIdentity, profile_command, table_path

__all__ = [
    "CARRIERS",
    "Agreement",
    "Calibration",
    "LatencyTable",
    "MeasuredNetwork",
    "Quality",
    "TableIdentity",
    "adapt_space",
    "agreement",
    "load_table",
    "profile_command",
    "profile_space",
    "save_table",
    "table_path",
]
