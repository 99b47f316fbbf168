"""How numbers are written for people: three significant digits, percent for fractions, millions for large counts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwnas.reports.documents import ObjectiveRecord

__all__ = [
    "Scale",
    "duration",
    "objective_title",
    "scale_for",
    "signed_percent",
    "significant",
    "wilson_interval",
    "with_half_width",
]

COUNT_STEPS = ((1e9, "G", "billions"), (1e6, "M", "millions"), (1e3, "k", "thousands"))
BYTE_STEPS = ((2.0**30, "GiB", "GiB"), (2.0**20, "MiB", "MiB"), (2.0**10, "KiB", "KiB"))
MOST_DECIMALS = 6
TITLES = {"error": "Error", "macs": "MACs", "parameters": "Parameters", "peak_memory": "Peak memory"}


@dataclass(frozen=True)
class Scale:
    """A unit to write values in: multiply by `factor`; `suffix` follows a number, `axis_unit` a title.

    `decimals` is how many digits follow the point, the same for every value that shares the scale.
    """

    factor: float
    suffix: str
    axis_unit: str
    decimals: int = 0

    def write(self, value: float) -> str:
        """`value` in this unit, with its suffix: "12.3 M", "98.1%"."""
        space = "" if self.suffix in ("", "%") else "\N{NO-BREAK SPACE}"
        return self.write_bare(value) + space + self.suffix

    def write_bare(self, value: float) -> str:
        """`value` in this unit, without its suffix: "12.3", "98.1"."""
        return f"{value * self.factor:.{self.decimals}f}"


def scale_for(unit: str, values: Iterable[float]) -> Scale:
    """The scale that suits `values`, which are in `unit`: three digits for the largest, at least two for the smallest.

    Example:
        >>> scale_for("MACs", [12_340_000.0]).write(12_340_000.0)
        '12.3\\xa0M'
    """
    sizes = [abs(value) for value in values if value != 0]
    largest = max(sizes, default=0.0)
    factor, suffix, axis_unit = 1.0, unit, unit
    if unit == "fraction":
        factor, suffix, axis_unit = 100.0, "%", "%"
    elif unit.lower() in ("macs", "parameters", "bytes"):
        steps = BYTE_STEPS if unit == "bytes" else COUNT_STEPS
        plain = (1.0, "bytes", "bytes") if unit == "bytes" else (1.0, "", "")
        size, suffix, axis_unit = next((step for step in steps if largest >= step[0]), plain)
        factor = 1 / size
    written = [size * factor for size in sizes]
    decimals = max(_decimals(max(written), 3), _decimals(min(written), 2)) if written else 0
    if factor == 1.0 and all(size == int(size) for size in sizes):
        decimals = 0
    return Scale(factor, suffix, axis_unit, min(decimals, MOST_DECIMALS))


def significant(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits without an exponent, whole digits never cut: 0.0412, 98.1, 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{_decimals(value, digits)}f}"


def duration(seconds: float) -> str:
    """A time for people: "0.42 s", "38 s", "3 min 12 s", "2 h 05 min".

    Example:
        >>> duration(192.3)
        '3\\xa0min\\xa012\\xa0s'
    """
    gap = "\N{NO-BREAK SPACE}"
    if seconds < 59.5:
        return f"{significant(seconds, 2)}{gap}s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{gap}min{gap}{left:02d}{gap}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{gap}h{gap}{minutes:02d}{gap}min"


def signed_percent(fraction: float) -> str:
    """`fraction` in percent with its sign: "+4.1%"."""
    return f"{100 * fraction:+.1f}%".replace("-", "\N{MINUS SIGN}")


def with_half_width(value: float, low: float, high: float, *, decimals: int | None = None) -> str:
    """`value` and half the width of its interval: "0.430 ± 0.003".

    Both have `decimals` digits after the point (None: three significant digits of `value`), or as many more as show the
    first digit of the interval.
    """
    half = (high - low) / 2
    if decimals is None:
        decimals = _decimals(value, 3)
    if half <= 0:
        return f"{value:.{decimals}f}"
    decimals = min(max(_decimals(half, 1), decimals), MOST_DECIMALS)
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
    """How many digits after the point show `digits` significant ones; rounding errors do not make 0.1 a 0.09999."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-9)) if value else 0
