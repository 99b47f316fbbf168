"""How numbers are written for people: three significant digits, percent for fractions, millions for large counts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwnas.reports.documents import ObjectiveRecord

__all__ = ["Scale", "objective_title", "scale_for", "significant", "wilson_interval", "with_half_width"]

COUNT_STEPS = ((1e9, "G", "billions"), (1e6, "M", "millions"), (1e3, "k", "thousands"))
BYTE_STEPS = ((2.0**30, "GiB", "GiB"), (2.0**20, "MiB", "MiB"), (2.0**10, "KiB", "KiB"))
TITLES = {"error": "Error", "macs": "MACs", "parameters": "Parameters", "peak_memory": "Peak memory"}


@dataclass(frozen=True)
class Scale:
    """A unit to write values in: multiply by `factor`, then `suffix` follows a number and `axis_unit` an axis title."""

    factor: float
    suffix: str
    axis_unit: str

    def write(self, value: float, digits: int = 3) -> str:
        """`value` in this unit, to `digits` significant digits: "12.3 M", "98.1%"."""
        space = "" if self.suffix in ("", "%") else "\N{NO-BREAK SPACE}"
        return significant(value * self.factor, digits) + space + self.suffix


def scale_for(unit: str, values: Iterable[float]) -> Scale:
    """The scale that suits the largest of `values`, which are in `unit`.

    Example:
        >>> scale_for("MACs", [12_340_000.0]).write(12_340_000.0)
        '12.3\\xa0M'
    """
    largest = max((abs(value) for value in values), default=0.0)
    if unit == "fraction":
        return Scale(100.0, "%", "%")
    if unit.lower() in ("macs", "parameters"):
        return next((Scale(1 / size, mark, words) for size, mark, words in COUNT_STEPS if largest >= size), _plain(""))
    if unit == "bytes":
        steps = (Scale(1 / size, mark, words) for size, mark, words in BYTE_STEPS if largest >= size)
        return next(steps, _plain("bytes"))
    return _plain(unit)


def _plain(unit: str) -> Scale:
    return Scale(1.0, unit, unit)


def significant(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits without an exponent, whole digits never cut: 0.0412, 98.1, 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{_decimals(value, digits)}f}"


def with_half_width(value: float, low: float, high: float) -> str:
    """`value` and half the width of its interval, both to the digits that the interval supports: "0.430 ± 0.003"."""
    half = (high - low) / 2
    if half <= 0:
        return significant(value)
    decimals = min(max(_decimals(half, 1), _decimals(value, 3) if value else 0), 9)
    return f"{value:.{decimals}f} ± {half:.{decimals}f}"


def wilson_interval(fraction: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a fraction seen in `n` trials (Wilson 1927), both ends in [0, 1]."""
    z = 1.959964
    centre = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def objective_title(objective: ObjectiveRecord) -> str:
    """What people call an objective: "Latency on rpi4" for "latency_ms@rpi4"."""
    if objective.device is not None:
        return f"Latency on {objective.device}"
    return TITLES.get(objective.name, objective.name.replace("_", " ").capitalize())


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
