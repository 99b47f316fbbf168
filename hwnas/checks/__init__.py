"""Checks that a space is what it says, for its author and for anyone who is about to search it.

Each check is a function of a SpaceUnderTest that says what it looked at, or raises a SpaceError that names the variable and
option, or the operator, to blame. `hwnas check-space` runs them all; `hwnas.testing.SpaceContract` runs them as tests.
"""

from hwnas.checks.running import SPACE_CHECKS, CheckResult, SpaceCheck, run_checks
from hwnas.checks.shapes import require_fitting_shapes
from hwnas.checks.subject import Skipped, SpaceUnderTest

__all__ = [
    "SPACE_CHECKS",
    "CheckResult",
    "Skipped",
    "SpaceCheck",
    "SpaceUnderTest",
    "require_fitting_shapes",
    "run_checks",
]
