"""How well one order agrees with another: what every comparison of a proxy with the truth comes down to.

Suffixes: N networks, R resamples, G groups of equal scores, B networks of a block.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["RankAgreement", "kendall", "rank_agreement", "spearman"]

LEAST: Final = 3
"""Networks below which an order says nothing."""

BLOCK: Final = 1024
"""Networks compared with all others at once."""

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of the order of two lists of scores; what too few or equal scores do not tell is None.

    Attributes:
        networks: how many were scored.
        kendall: Kendall's tau-b (Biometrika, 1945): ties count for neither side.
        kendall_ci95: its 95 % bootstrap interval.
        spearman: Spearman's correlation of mean ranks.
        spearman_ci95: its 95 % bootstrap interval.
    """

    networks: int
    kendall: float | None
    kendall_ci95: Interval | None
    spearman: float | None
    spearman_ci95: Interval | None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "RankAgreement":
        """Raises KeyError, TypeError, ValueError where the document is of another form."""
        return RankAgreement(
            int(document["networks"]),
            _finite(document["kendall"]),
            _interval(document["kendall_ci95"]),
            _finite(document["spearman"]),
            _interval(document["spearman_ci95"]),
        )


def kendall(first_N: FloatArray, second_N: FloatArray) -> float | None:
    """Kendall's tau-b of two lists of scores (N,); None below 3 networks or where all scores of a list are equal."""
    return float(_kendalls(first_N, second_N, _once(first_N))[0]) if _tells(first_N, second_N) else None


def spearman(first_N: FloatArray, second_N: FloatArray) -> float | None:
    """Spearman's correlation of two lists of scores (N,); None below 3 networks or where all of a list are equal."""
    return float(_spearmans(first_N, second_N, _once(first_N))[0]) if _tells(first_N, second_N) else None


def rank_agreement(first_N: FloatArray, second_N: FloatArray, *, resamples: int = 400, seed: int = 0) -> RankAgreement:
    """How well the orders of two lists of scores (N,) agree, with percentile bootstrap intervals over the networks.

    Args:
        first_N: scores of N networks.
        second_N: other scores of the same.
        resamples: of the bootstrap (Efron, Annals of Statistics, 1979).
        seed: of the resamples.
    """
    if not _tells(first_N, second_N):
        return RankAgreement(len(first_N), None, None, None, None)
    count = len(first_N)
    times_RN = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    weights_RN = times_RN.astype(np.float64)
    return RankAgreement(
        count,
        kendall(first_N, second_N),
        _percentiles(_kendalls(first_N, second_N, weights_RN)),
        spearman(first_N, second_N),
        _percentiles(_spearmans(first_N, second_N, weights_RN)),
    )


def _tells(first_N: FloatArray, second_N: FloatArray) -> bool:
    return bool(len(first_N) >= LEAST and np.ptp(first_N) > 0 and np.ptp(second_N) > 0)


def _once(scores_N: FloatArray) -> FloatArray:
    return np.ones((1, len(scores_N)))


def _kendalls(first_N: FloatArray, second_N: FloatArray, weights_RN: FloatArray) -> FloatArray:
    """Kendall's tau-b, (R,), of resamples that hold each network as often as their weights say; nan where all tie."""
    agreeing_R = np.zeros(len(weights_RN))
    for start in range(0, len(first_N), BLOCK):
        rows = slice(start, start + BLOCK)
        signs_BN = np.sign(first_N[rows, None] - first_N) * np.sign(second_N[rows, None] - second_N)
        products_RB = weights_RN.astype(np.float32) @ signs_BN.T.astype(np.float32)  # whole numbers, so exact
        agreeing_R += (weights_RN[:, rows] * products_RB).sum(axis=1)
    all_R = weights_RN.sum(axis=1) ** 2
    untied = [all_R - (_tied(scores_N, weights_RN)[0] ** 2).sum(axis=1) for scores_N in (first_N, second_N)]
    return _ratio(agreeing_R, untied[0] * untied[1])


def _spearmans(first_N: FloatArray, second_N: FloatArray, weights_RN: FloatArray) -> FloatArray:
    """Spearman's correlation, (R,), in the same way."""
    total_R1 = weights_RN.sum(axis=1, keepdims=True)
    centred = []
    for scores_N in (first_N, second_N):
        tied_RG, group_N = _tied(scores_N, weights_RN)
        ranks_RN = (np.cumsum(tied_RG, axis=1) - tied_RG / 2)[:, group_N]
        centred.append(ranks_RN - (weights_RN * ranks_RN).sum(axis=1, keepdims=True) / total_R1)
    products = [
        (weights_RN * one * other).sum(axis=1) for one, other in itertools.combinations_with_replacement(centred, 2)
    ]
    return _ratio(products[1], products[0] * products[2])


def _tied(scores_N: FloatArray, weights_RN: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """The weight (R, G) of each group of equal scores, in ascending order, and the group (N,) of each network."""
    _, first_G, group_N = np.unique(np.sort(scores_N), return_index=True, return_inverse=True)
    order = np.argsort(scores_N, kind="stable")
    group_in_order_N = np.empty_like(group_N)
    group_in_order_N[order] = group_N
    return np.add.reduceat(weights_RN[:, order], first_G, axis=1), group_in_order_N


def _ratio(above_R: FloatArray, squared_R: FloatArray) -> FloatArray:
    ratio_R = np.full(len(above_R), np.nan)
    np.divide(above_R, np.sqrt(squared_R), out=ratio_R, where=squared_R > 0)
    return ratio_R


def _percentiles(found_R: FloatArray) -> Interval | None:
    telling = found_R[np.isfinite(found_R)]
    if not len(telling):
        return None
    low, high = np.quantile(telling, [0.025, 0.975])
    return float(low), float(high)


def _finite(value: Any) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return float(value)


def _interval(value: Any) -> Interval | None:
    if value is None:
        return None
    low, high = map(float, value)
    return low, high
