"""Calibration: what whole networks say of the sum of their operators, and the proof of a table.

A table's sum is put beside the measured latencies of networks that no row was fitted on. A calibration (a scale, an
overhead a call, an overhead an operator) is taken as far as leaving each network out in turn shows that it pays. All that
is said of quality is of networks that were left out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from hwnas.ranking import kendall, spearman

__all__ = ["Agreement", "Calibration", "Quality", "agreement", "by_macs", "calibrate"]

FloatArray = npt.NDArray[np.float64]

NEEDED_GAIN: Final = 0.95
"""A richer form of calibration is taken where it lowers the error on networks left out to this share."""
NETWORKS_A_COEFFICIENT: Final = 3
LEAST_SPEARMAN: Final = 0.8
LEAST_WITHIN_10: Final = 0.5
ENOUGH: Final = 5
"""Networks below which ranks say nothing."""


@dataclass(frozen=True)
class Agreement:
    """How well predictions agree with measurements.

    Attributes:
        spearman: rank correlation, None below 3 networks.
        kendall: Kendall's tau-b, None below 3 networks.
        mean_error: mean of |predicted / measured - 1|.
        within_5: share of the networks with an error of at most 5 %.
        within_10: the same with 10 %.
    """

    spearman: float | None
    kendall: float | None
    mean_error: float
    within_5: float
    within_10: float


@dataclass(frozen=True)
class Quality:
    """The proof of a table, on networks that it was not fitted on.

    Attributes:
        networks: how many.
        calibrated: of the predictions; each network was left out of the calibration that foretells it.
        raw_sum: of the plain sum of the rows.
        macs: of MACs alone, scaled and shifted by the other networks.
        noise_ceiling: of a second measurement of the same networks, None where it was not made.
    """

    networks: int
    calibrated: Agreement
    raw_sum: Agreement
    macs: Agreement
    noise_ceiling: Agreement | None

    @property
    def shortfall(self) -> str | None:
        """Why the table is not good enough to search with; None where it is, or where too few networks tell."""
        found = self.calibrated
        if self.networks < ENOUGH or found.spearman is None:
            return None
        if not found.spearman >= LEAST_SPEARMAN:
            return (
                f"it ranks {self.networks} measured networks at Spearman {found.spearman:.2f}, below {LEAST_SPEARMAN}"
            )
        if found.within_10 < LEAST_WITHIN_10:
            return f"{found.within_10:.0%} of {self.networks} measured networks are within 10 % of its prediction"
        return None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Quality":
        """Raises KeyError, TypeError where the document is of another form."""
        ceiling = document["noise_ceiling"]
        return Quality(
            int(document["networks"]),
            Agreement(**document["calibrated"]),
            Agreement(**document["raw_sum"]),
            Agreement(**document["macs"]),
            None if ceiling is None else Agreement(**ceiling),
        )


@dataclass(frozen=True)
class Calibration:
    """From the sum of a network's rows to its latency: scale * sum + per_operator_ms * operators + overhead_ms.

    Attributes:
        scale: of the sum.
        overhead_ms: of each call.
        per_operator_ms: of each operator.
        relative_deviation: standard deviation of a network's latency around its prediction, as a share.
        degrees_of_freedom: of that standard deviation.
    """

    scale: float = 1.0
    overhead_ms: float = 0.0
    per_operator_ms: float = 0.0
    relative_deviation: float | None = None
    degrees_of_freedom: float | None = None

    @property
    def form(self) -> str:
        """What of it was fitted, in words."""
        parts = [
            ("scale", self.scale != 1),
            ("overhead", self.overhead_ms != 0),
            ("per operator", self.per_operator_ms != 0),
        ]
        return " + ".join(name for name, there in parts if there) or "none: the plain sum is as good"

    def apply(self, sums_ms: FloatArray, operators: FloatArray) -> FloatArray:
        """The predictions of networks with these sums of rows (ms) and numbers of operators."""
        return self.scale * sums_ms + self.per_operator_ms * operators + self.overhead_ms

    def half_width(self, level: float = 0.9) -> float | None:
        """Half the prediction interval as a share of the prediction; None where it is not known."""
        if self.relative_deviation is None or self.degrees_of_freedom is None:
            return None
        return float(self.relative_deviation * t.ppf(0.5 + level / 2, self.degrees_of_freedom))


def agreement(predicted: FloatArray, measured: FloatArray) -> Agreement:
    """How well `predicted` (N,) agrees with `measured` (N,)."""
    errors = np.abs(predicted / measured - 1)
    return Agreement(
        spearman(predicted, measured),
        kendall(predicted, measured),
        float(errors.mean()),
        float((errors <= 0.05).mean()),
        float((errors <= 0.10).mean()),
    )


def calibrate(
    sums_ms_N: FloatArray,
    measured_ms_N: FloatArray,
    *,
    operators_N: FloatArray,
    macs_N: FloatArray,
    twice_ms: tuple[FloatArray, FloatArray] | None = None,
    known_errors: FloatArray | None = None,
) -> tuple[Calibration, Quality, FloatArray]:
    """Fits a calibration, and says how good the table is.

    Args:
        sums_ms_N: the sum of the rows of each network.
        measured_ms_N: its measured latency.
        operators_N: its number of operators.
        macs_N: its MACs.
        twice_ms: two measurements of the networks (N,) whose mean `measured_ms_N` is: they tell the noise ceiling, and
            how far a third one may be off.
        known_errors: relative errors on further networks that were left out of the fit of the rows; they help to tell
            the width of the prediction intervals where few networks calibrate.

    Returns:
        The calibration, the quality on networks left out, and the prediction of each by the others (N,).
    """
    ones = np.ones_like(sums_ms_N)
    columns = np.stack([sums_ms_N, ones, operators_N], axis=1)
    forms: list[tuple[int, ...]] = [(), (0,), (0, 1), (0, 1, 2)]
    allowed = [form for form in forms if NETWORKS_A_COEFFICIENT * len(form) <= len(sums_ms_N)]
    left_out = {form: _left_out(columns, measured_ms_N, form) for form in allowed}
    chosen = allowed[0]
    for form in allowed[1:]:
        if _error(left_out[form], measured_ms_N) < NEEDED_GAIN * _error(left_out[chosen], measured_ms_N):
            chosen = form
    coefficients = _fit(columns, measured_ms_N, chosen)
    residuals = left_out[chosen] / measured_ms_N - 1
    pooled = residuals if known_errors is None else np.concatenate([residuals, known_errors])
    freedom = max(1.0, float(len(pooled) - len(chosen)))
    again = 0.0 if twice_ms is None else float(np.mean((twice_ms[1] / twice_ms[0] - 1) ** 2)) / 4
    deviation = float(np.sqrt((pooled**2).sum() / freedom + again)) if len(pooled) > 1 else None
    calibration = Calibration(
        float(coefficients[0]),
        float(coefficients[1]),
        float(coefficients[2]),
        deviation,
        freedom if deviation else None,
    )
    quality = Quality(
        len(measured_ms_N),
        agreement(left_out[chosen], measured_ms_N),
        agreement(sums_ms_N, measured_ms_N),
        by_macs(macs_N, measured_ms_N),
        None if twice_ms is None else agreement(twice_ms[1], twice_ms[0]),
    )
    return calibration, quality, left_out[chosen]


def by_macs(macs_N: FloatArray, measured_ms_N: FloatArray) -> Agreement:
    """How well MACs alone foretell `measured_ms_N`, scaled and shifted by the other networks."""
    columns = np.stack([macs_N, np.ones_like(macs_N), np.zeros_like(macs_N)], axis=1)
    form = (0, 1) if len(macs_N) >= 2 * NETWORKS_A_COEFFICIENT else (0,)
    return agreement(_left_out(columns, measured_ms_N, form), measured_ms_N)


def _fit(columns: FloatArray, measured: FloatArray, form: tuple[int, ...]) -> FloatArray:
    """The coefficients of all columns, least squares of relative errors over those of `form`; () is the plain sum."""
    coefficients = np.array([1.0, 0.0, 0.0])
    if form:
        scaled = columns[:, form] / measured[:, None]
        coefficients[list(form)] = np.linalg.lstsq(scaled, np.ones(len(measured)), rcond=None)[0]
    return coefficients


def _left_out(columns: FloatArray, measured: FloatArray, form: tuple[int, ...]) -> FloatArray:
    """The prediction of each network by a fit to the others."""
    everyone = np.arange(len(measured))
    found = [
        columns[one] @ _fit(columns[everyone != one], measured[everyone != one], form if len(measured) > 1 else ())
        for one in everyone
    ]
    return np.array(found)


def _error(predicted: FloatArray, measured: FloatArray) -> float:
    return float(np.sqrt(np.mean((predicted / measured - 1) ** 2)))
