"""Bounds as a person writes them: "latency@rpi4 <= 20 ms and error < 5 %"."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.objectives import Objective

__all__ = ["Bound", "parse_bounds", "shown_name", "shown_value"]

COUNTS: Final = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
UNITS: Final[dict[str, Mapping[str, float]]] = {
    "ms": {"": 1.0, "us": 1e-3, "ms": 1.0, "s": 1e3},
    "fraction": {"": 1.0, "%": 0.01},
    "MACs": COUNTS,
    "parameters": COUNTS,
}
"""For the unit of an objective, what may stand behind a number, and what it multiplies it by."""
BETWEEN: Final = re.compile(r"\s*,\s*|\s+and\s+", re.IGNORECASE)
BOUND: Final = re.compile(
    r"(?P<name>[^\s<>=]+)\s*(?P<sign><=?)\s*(?P<number>[-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(?P<unit>\S*)"
)
LATENCY: Final = "latency@"


@dataclass(frozen=True)
class Bound:
    """What an objective must not exceed.

    Attributes:
        name: of the objective, as in evaluations ("latency_ms@rpi4").
        unit: of its values.
        limit: in that unit.
        strict: whether the limit itself is too much.
    """

    name: str
    unit: str
    limit: float
    strict: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` keeps it."""
        return value < self.limit or (value == self.limit and not self.strict)

    def excess(self, value: float) -> float:
        """How far `value` is above the limit, as a share of it; 0 where it is not."""
        return max(value / self.limit - 1, 0.0)

    def miss(self, value: float) -> str | None:
        """By how much `value` misses it, in words; None where it holds."""
        if self.holds(value):
            return None
        limit, name = shown_value(self.limit, self.unit), shown_name(self.name)
        return f"{name} is {shown_value(value, self.unit)}, {self.excess(value):.1%} above {limit}"


def parse_bounds(text: str, objectives: Sequence[Objective]) -> list[Bound]:
    """The bounds that `text` says.

    Args:
        text: such as "latency@rpi4 <= 20 ms and macs < 30 M", with "," for "and" if wanted. Numbers without a unit are
            in ms, fractions, MACs and parameters.
        objectives: those that can be bounded.

    Raises:
        SettingsError: it cannot be read, or a limit is not above 0.
        UnknownNameError: no such objective, device or unit; it names the nearest.
    """
    return [_bound(part, objectives) for part in BETWEEN.split(text.strip())]


def shown_name(name: str) -> str:
    """An objective's name as it stands in run.toml: "latency@rpi4"."""
    return name.replace("latency_ms@", LATENCY)


def shown_value(value: float, unit: str) -> str:
    """A value with its unit as a person says it: "4.2 %", "19 ms", "31.4 M"."""
    if unit == "fraction":
        return f"{100 * value:.3g} %"
    if unit == "ms":
        return f"{value:.4g} ms"
    prefix, factor = next(((one, by) for one, by in reversed(COUNTS.items()) if value >= by), ("", 1.0))
    return f"{value / factor:.4g} {prefix}".strip()


def _bound(text: str, objectives: Sequence[Objective]) -> Bound:
    found = BOUND.fullmatch(text)
    if found is None:
        raise SettingsError(
            f"The bound {text!r}",
            "must be an objective, <= or <, and a number with its unit",
            came="it is not",
            do='Write it as "latency@rpi4 <= 20 ms", several with "and" between them',
        )
    objective = _objective(found["name"], objectives, where=f"The bound {text!r}")
    units = UNITS[objective.unit]
    if found["unit"] not in units:
        raise UnknownNameError("unit", found["unit"], (one for one in units if one), where=f"The bound {text!r}")
    try:
        limit = float(found["number"]) * units[found["unit"]]
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise SettingsError(f"The bound {text!r}", "must be above 0 and finite", came=f"{found['number']} came")
    return Bound(objective.name, objective.unit, limit, strict=found["sign"] == "<")


def _objective(name: str, objectives: Sequence[Objective], *, where: str) -> Objective:
    known = {shown_name(one.name): one for one in objectives}
    if name in known:
        return known[name]
    if name.startswith(LATENCY):
        devices = [one.removeprefix(LATENCY) for one in known if one.startswith(LATENCY)]
        raise UnknownNameError("device", name.removeprefix(LATENCY), devices, where=where)
    raise UnknownNameError("objective", name, known, where=where)
