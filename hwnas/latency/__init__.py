"""Latency tables: building them by measurement, storing them, and predicting a network's latency from one."""

from hwnas.latency.profiling import Profiler, profile_space
from hwnas.latency.table import LatencyTable, TableIdentity, load_table, profile_command, table_path

__all__ = ["LatencyTable", "Profiler", "TableIdentity", "load_table", "profile_command", "profile_space", "table_path"]
