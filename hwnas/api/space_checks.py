"""The verb `check_space`: is a search space what it says?"""

from collections.abc import Mapping
from typing import Any, Final

from hwnas.checks import CheckResult, SpaceUnderTest, run_checks
from hwnas.errors import SettingsError
from hwnas.progress import OnProgress, silent
from hwnas.spaces import SearchSpace, make_space

__all__ = ["check_space"]

MAX_ARCHITECTURES: Final = 10_000


def check_space(
    space: str | SearchSpace,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    num_classes: int = 1000,
    space_options: Mapping[str, Any] | None = None,
    architectures: int = 4,
    operators: int | None = None,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> list[CheckResult]:
    """Checks that a space, its operators and its supernet agree with each other; nothing is trained or stored.

    Args:
        space: a space's name, "module:Class" or "path/to/file.py:Class"; or the space itself, whose shape, classes and
            options then count.
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        space_options: further options of the space, such as {"width_mult": 0.5}.
        architectures: random architectures whose networks are run, beside the smallest and the largest.
        operators: how many operators are exported and run in ONNX Runtime, spread over all; None: all.
        seed: of the architectures, the weights and the images.
        on_progress: told of each check.

    Returns:
        A result for each of `hwnas.checks.SPACE_CHECKS`, in that order. One that failed names in its detail the
        variable and option, or the operator, to blame; what cannot be looked at therefore is skipped.

    Raises:
        UnknownNameError: no such space or option.
        SettingsError: a number out of range.
        SpaceError: the space cannot be made, or lacks an attribute that every space has.
    """
    for name, value, least, most in (
        ("architectures", architectures, 0, MAX_ARCHITECTURES),
        ("operators", 1 if operators is None else operators, 1, None),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if value < least or (most is not None and value > most):
            span = f"at least {least}" if most is None else f"from {least} to {most}"
            raise SettingsError(name, f"must be {span}", came=f"{value} came")
    if isinstance(space, str):
        space = make_space(space, input_shape=input_shape, num_classes=num_classes, options=space_options)
    subject = SpaceUnderTest(space, networks=architectures, operators=operators, seed=seed)
    return run_checks(subject, on_progress=on_progress)
