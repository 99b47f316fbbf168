"""The verbs: profile, train, search, refine, export, pick, verify, compare, report, and their kin; tables as data."""

from hwnas.api.adaptation import adapt
from hwnas.api.auditing import audit
from hwnas.api.comparing import compare
from hwnas.api.first_run import quickstart
from hwnas.api.foretelling import assess_predictor, fit_predictor
from hwnas.api.listing import list_devices, list_runtimes, list_spaces, list_strategies
from hwnas.api.picking import pick
from hwnas.api.profiling import profile
from hwnas.api.refining import refine
from hwnas.api.reporting import report
from hwnas.api.run_folder import open_run
from hwnas.api.searching import search, search_run
from hwnas.api.space_checks import check_space
from hwnas.api.tables import describe_table, diff_tables, import_table, open_table, plot_table, validate_table
from hwnas.api.training import train, train_run
from hwnas.api.verification import verify, verify_bundle
from hwnas.api.winners import export

__all__ = [
    "adapt",
    "assess_predictor",
    "audit",
    "check_space",
    "compare",
    "describe_table",
    "diff_tables",
    "export",
    "fit_predictor",
    "import_table",
    "list_devices",
    "list_runtimes",
    "list_spaces",
    "list_strategies",
    "open_run",
    "open_table",
    "pick",
    "plot_table",
    "profile",
    "quickstart",
    "refine",
    "report",
    "search",
    "search_run",
    "train",
    "train_run",
    "validate_table",
    "verify",
    "verify_bundle",
]
