"""Which checks a space is put to, in which order, and what came of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch

from hwnas.checks.encoding import (
    check_canonical_form,
    check_canonical_network,
    check_descriptions,
    check_ends,
    check_identity,
    check_one_encoding,
    check_variables,
)
from hwnas.checks.exports import check_exports
from hwnas.checks.gradients import check_gradients
from hwnas.checks.inheritance import check_inheritance
from hwnas.checks.networks import check_choices, check_logits, check_mixing, check_plain_networks, check_subnets
from hwnas.checks.normalization import check_recalibration
from hwnas.checks.operators import (
    check_all_operators,
    check_counts,
    check_expected_cost,
    check_operators_run,
    check_population_walk,
    check_stored_operators,
    check_total_costs,
)
from hwnas.checks.shapes import check_shapes
from hwnas.checks.subject import Skipped, SpaceUnderTest, placed
from hwnas.errors import HwnasError
from hwnas.progress import OnProgress, silent
from hwnas.training.threads import suitable_threads

__all__ = ["SPACE_CHECKS", "CheckResult", "SpaceCheck", "run_checks"]

CheckFunction = Callable[[SpaceUnderTest], str | Skipped]


@dataclass(frozen=True)
class SpaceCheck:
    """One line of what a space must keep.

    Attributes:
        name: in a word or two.
        says: what must hold, as a sentence without its full stop.
        functions: look for it, one after the other; each says what it looked at.
        needs: names of the checks without which this one says nothing.
    """

    name: str
    says: str
    functions: tuple[CheckFunction, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """What came of a check.

    Attributes:
        name: of the check.
        says: what it says must hold.
        outcome: "passed", "failed", or "skipped" where there was nothing to look at, or no sense in looking.
        detail: what was looked at; where it failed, what is wrong and where, in one sentence; where skipped, why.
        seconds: that it took.
    """

    name: str
    says: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    seconds: float


SPACE_CHECKS: Final = (
    SpaceCheck("variables", "Variables have names and options of their own", (check_variables,)),
    SpaceCheck("descriptions", "Architectures are told apart in a line each", (check_descriptions,), ("variables",)),
    SpaceCheck("shapes", "The operators of every architecture fit together", (check_shapes,), ("variables",)),
    SpaceCheck(
        "canonical form",
        "Encodings of one network have one canonical form",
        (check_canonical_form, check_canonical_network, check_one_encoding),
        ("variables",),
    ),
    SpaceCheck(
        "ends", "No architecture is larger than the largest or smaller than the smallest", (check_ends,), ("shapes",)
    ),
    SpaceCheck("all operators", "Each operator is listed once, and used", (check_all_operators,), ("variables",)),
    SpaceCheck(
        "storage",
        "Options and operators can be stored in files and read back",
        (check_identity, check_stored_operators),
        ("all operators",),
    ),
    SpaceCheck(
        "population walk",
        "Indices and costs of many architectures at once are those of each alone",
        (check_population_walk, check_total_costs, check_expected_cost),
        ("all operators",),
    ),
    SpaceCheck("logits", "Networks give logits and train all of their weights", (check_logits,), ("shapes",)),
    SpaceCheck("operators run", "The operators listed are those that run", (check_operators_run,), ("logits",)),
    SpaceCheck("costs", "MACs and parameters are what fvcore counts", (check_counts,), ("logits",)),
    SpaceCheck(
        "choices", "Every option of every variable changes the supernet's logits", (check_choices,), ("logits",)
    ),
    SpaceCheck(
        "sub-networks",
        "The active path, subnet and build with copied weights are one function",
        (check_subnets, check_plain_networks),
        ("logits",),
    ),
    SpaceCheck(
        "mixing", "Mixed with all weight on one architecture the supernet is that one", (check_mixing,), ("logits",)
    ),
    SpaceCheck(
        "inheritance", "Networks can start from what similar ones have learnt", (check_inheritance,), ("sub-networks",)
    ),
    SpaceCheck("gradients", "Training reaches every weight that an architecture uses", (check_gradients,), ("logits",)),
    SpaceCheck(
        "batch norm", "Sub-networks are evaluated with statistics of their own", (check_recalibration,), ("logits",)
    ),
    SpaceCheck("export", "Operators run in ONNX Runtime as in torch", (check_exports,), ("shapes", "all operators")),
)
"""The checks in their order: those on paper come first."""


def run_checks(subject: SpaceUnderTest, *, on_progress: OnProgress = silent) -> list[CheckResult]:
    """Puts a space to all of SPACE_CHECKS.

    Args:
        subject: the space.
        on_progress: told of each check.
    """
    results: dict[str, CheckResult] = {}
    with suitable_threads(subject.space.input_shape), torch.random.fork_rng(devices=[]):
        for done, check in enumerate(SPACE_CHECKS):
            on_progress("checking", done, len(SPACE_CHECKS), check.name)
            results[check.name] = _result(check, subject, results)
    on_progress("checking", len(SPACE_CHECKS), len(SPACE_CHECKS))
    return list(results.values())


def _result(check: SpaceCheck, subject: SpaceUnderTest, earlier: dict[str, CheckResult]) -> CheckResult:
    for need in check.needs:
        if earlier[need].outcome != "passed":
            return CheckResult(check.name, check.says, "skipped", f"needs {need!r}, which did not pass", 0.0)
    start = time.perf_counter()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    try:
        with placed(subject.space, f"must run the check {check.name!r}"):
            looked_at = [function(subject) for function in check.functions]
        skipped = [one.reason for one in looked_at if isinstance(one, Skipped)]
        outcome = "skipped" if skipped else "passed"
        detail = "; ".join(skipped or dict.fromkeys(one for one in looked_at if isinstance(one, str)))
    except HwnasError as error:
        outcome, detail = "failed", str(error)
    return CheckResult(check.name, check.says, outcome, detail, time.perf_counter() - start)
