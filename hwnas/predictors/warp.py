"""The scale on which errors are predicted.

Between two bad networks a point of error is little, between two good ones it is much; a predictor that is to order the
good ones must see it so. A power of the error, chosen with the rest of the predictor by its likelihood, does that.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PowerWarp"]

FloatArray = npt.NDArray[np.float64]

NEARLY_LOGARITHMIC: Final = 1e-3
QUADRATURE: Final = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True)
class PowerWarp:
    """Box and Cox's power transformation (JRSS B, 1964), standardised.

    Attributes:
        power: of the error; 0 is the logarithm.
        reference: the error that the powers are of multiples of.
        mean: of the powers, subtracted.
        spread: their deviation, divided by.
        least: the smallest error that is told from 0.
        most: the largest error that is predicted.
    """

    power: float
    reference: float
    mean: float
    spread: float
    least: float
    most: float

    @staticmethod
    def of(errors_N: FloatArray, power: float) -> "PowerWarp":
        """The warp under which `errors_N`, from 0 up, have mean 0 and deviation 1."""
        positive = errors_N[errors_N > 0]
        least = float(positive.min()) / 2 if positive.size else 1e-6
        held_N = np.maximum(errors_N, least)
        reference, largest = float(np.median(held_N)), 2 * float(held_N.max())
        powers_N = _powers(held_N / reference, power)
        most = min(largest, 1.0) if held_N.max() <= 1 else largest
        return PowerWarp(power, reference, float(powers_N.mean()), float(powers_N.std()) or 1.0, least, most)

    def forward(self, errors_N: FloatArray) -> FloatArray:
        """Errors -> warped errors, (N,)."""
        return (_powers(np.maximum(errors_N, self.least) / self.reference, self.power) - self.mean) / self.spread

    def inverse(self, warped: FloatArray) -> FloatArray:
        """Warped errors of any shape -> errors from 0 to `most`."""
        powers = self.mean + self.spread * warped
        if abs(self.power) < NEARLY_LOGARITHMIC:
            logs = powers
        else:
            base = (
                1 + self.power * powers
            )  # below 0 it is beyond what the warp reaches: above where the power is negative
            logs = np.log(np.maximum(base, 1e-300)) / self.power
        found: FloatArray = np.minimum(self.reference * np.exp(np.clip(logs, -50.0, 50.0)), self.most)
        return found

    def moments(self, mean_N: FloatArray, std_N: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of errors whose warped errors are normal, (N,) each, by Gauss-Hermite quadrature."""
        nodes, weights = QUADRATURE
        errors_NQ = self.inverse(mean_N[:, None] + std_N[:, None] * nodes)
        shares = weights / weights.sum()
        error_N = errors_NQ @ shares
        return error_N, np.sqrt((errors_NQ - error_N[:, None]) ** 2 @ shares)

    def evidence(self, errors_N: FloatArray) -> tuple[float, FloatArray, float]:
        """What the likelihood of errors needs to know of their warp.

        Returns:
            The logarithm of the product of the warp's slopes at `errors_N`; the derivative of the warped errors by `power`,
            (N,); the derivative of that logarithm.
        """
        multiples_N = np.maximum(errors_N, self.least) / self.reference
        logs_N, count = np.log(multiples_N), len(errors_N)
        warped_N = self.forward(errors_N)
        change_N = _change(multiples_N, self.power)
        change_N = change_N - change_N.mean()
        wider = float((warped_N * change_N).mean()) / self.spread
        slopes = float((self.power - 1) * logs_N.sum() - count * np.log(self.spread))
        return slopes, change_N / self.spread - wider * warped_N, float(logs_N.sum()) - count * wider


def _powers(multiples_N: FloatArray, power: float) -> FloatArray:
    logs_N = np.log(multiples_N)
    if abs(power) < NEARLY_LOGARITHMIC:
        return logs_N
    found: FloatArray = np.expm1(power * logs_N) / power
    return found


def _change(multiples_N: FloatArray, power: float) -> FloatArray:
    """The derivative of `_powers` by `power`."""
    logs_N = np.log(multiples_N)
    if abs(power) < NEARLY_LOGARITHMIC:
        return logs_N**2 / 2
    found: FloatArray = (logs_N * np.exp(power * logs_N) - np.expm1(power * logs_N) / power) / power
    return found
