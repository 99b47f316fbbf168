"""What operators cost inside networks: from how long whole networks take, and from facts about the operators.

An operator timed by itself, however carefully, is timed in surroundings that are not its network: its weights lie in a
nearer cache, its neighbour is another. A few dozen networks of random operators, the carriers, tell how such timings turn
into costs. The cost of operator o is

    cost_o = sum over p of weight_p * feature_op + deviation_o

where a feature is, say, the operator's latency between two convolutions, or its number of weights, which every network
must bring from memory. The weights (never below zero) are the same for all operators and known exactly after a few
networks; the deviations are normal around zero with a standard deviation that is a share of the cost. That share and the
networks' own noise are those of the largest marginal likelihood, so that deviations are believed as far as the networks
bear them out (empirical Bayes; MacKay, "Bayesian Interpolation", 1992).

Suffixes: N networks, O operators, P features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from hwnas.errors import DataError

__all__ = ["OperatorCosts", "regress_costs"]

FloatArray = npt.NDArray[np.float64]

DEVIATIONS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35)
NOISES: Final = (0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
LEAST_BASE: Final = 0.01
"""The deviation of an operator is at least the share of so much of the mean operator's cost."""


@dataclass(frozen=True)
class OperatorCosts:
    """The costs of operators, and how well they foretell networks.

    Attributes:
        costs_ms_O: the cost of each operator in ms, never below zero.
        deviations_ms_O: its standard deviation in ms.
        weights_P: what one unit of each feature costs.
        noise: the standard deviation of a network's latency around its prediction, as a share.
        left_out_ms_N: for each network its latency as foretold by the other networks.
    """

    costs_ms_O: FloatArray
    deviations_ms_O: FloatArray
    weights_P: FloatArray
    noise: float
    left_out_ms_N: FloatArray


def regress_costs(counts_NO: FloatArray, latency_ms_N: FloatArray, features_OP: FloatArray) -> OperatorCosts:
    """Finds the cost of each operator from whole networks.

    Args:
        counts_NO: how often each operator occurs in each network, (N, O).
        latency_ms_N: the networks' latencies in ms, above zero, (N,).
        features_OP: facts of each operator from which its cost is built up, not below zero, (O, P), the main one first.

    Raises:
        DataError: there are fewer networks than features, or shapes or values are not as above.
    """
    _check(counts_NO, latency_ms_N, features_OP)
    design_NO = counts_NO / latency_ms_N[:, None]  # errors are shares of a network's latency
    used = [p for p in range(features_OP.shape[1]) if features_OP[:, p].any()]
    start_P, _ = nnls(design_NO @ features_OP[:, used], np.ones(len(latency_ms_N)))
    used = [p for p, weight in zip(used, start_P, strict=True) if weight > 0] or used[:1]
    base_O = features_OP[:, used] @ start_P[start_P > 0] if (start_P > 0).any() else features_OP[:, used[0]]
    base_O = np.maximum(base_O, LEAST_BASE * base_O.mean())
    best = _best_fit(design_NO, features_OP[:, used], base_O)
    while len(used) > 1 and (best.weights_P < 0).any():
        used = [p for p, weight in zip(used, best.weights_P, strict=True) if weight > 0] or used[:1]
        best = _best_fit(design_NO, features_OP[:, used], base_O)
    weights_P = np.zeros(features_OP.shape[1])
    weights_P[used] = np.maximum(best.weights_P, 0.0)
    return OperatorCosts(
        np.maximum(best.costs_O, 0.0),
        best.deviations_O,
        weights_P,
        best.noise,
        latency_ms_N * (1 - best.left_out_N),
    )


class _Fit:
    """The posterior for one share of deviation and one noise; targets are 1, since networks are scaled by their latency."""

    def __init__(
        self, design_NO: FloatArray, features_OP: FloatArray, base_O: FloatArray, share: float, noise: float
    ) -> None:
        self.noise = noise
        self._features_OP = features_OP
        self._prior_O = (share * base_O) ** 2
        self._design_NO = design_NO
        self._explained_NP = design_NO @ features_OP
        covariance_NN = (design_NO * self._prior_O) @ design_NO.T + noise**2 * np.eye(len(design_NO))
        self._log_det = float(np.linalg.slogdet(covariance_NN)[1])
        self._precision_NN = np.linalg.inv(covariance_NN)
        self._weights_precision_PP = self._explained_NP.T @ self._precision_NN @ self._explained_NP
        pull_P = self._explained_NP.T @ self._precision_NN.sum(axis=1)
        self.weights_P: FloatArray = np.linalg.lstsq(self._weights_precision_PP, pull_P, rcond=None)[0]
        self._pull_N = self._precision_NN @ (1 - self._explained_NP @ self.weights_P)

    @property
    def log_evidence(self) -> float:
        """The logarithm of the marginal likelihood, the weights integrated out, up to a constant."""
        misfit = float((1 - self._explained_NP @ self.weights_P) @ self._pull_N)
        return -0.5 * (misfit + self._log_det + float(np.linalg.slogdet(self._weights_precision_PP)[1]))

    @cached_property
    def costs_O(self) -> FloatArray:
        """The posterior mean."""
        costs_O: FloatArray = self._features_OP @ self.weights_P + self._prior_O * (self._design_NO.T @ self._pull_N)
        return costs_O

    @cached_property
    def deviations_O(self) -> FloatArray:
        """The posterior standard deviation, that of the weights included."""
        gain_ON = (self._prior_O[:, None] * self._design_NO.T) @ self._precision_NN
        left_O = self._prior_O - np.einsum("on,no,o->o", gain_ON, self._design_NO, self._prior_O)
        carried_OP = self._features_OP - gain_ON @ self._explained_NP
        carried_O = np.einsum("op,pq,oq->o", carried_OP, np.linalg.pinv(self._weights_precision_PP), carried_OP)
        deviations_O: FloatArray = np.sqrt(np.maximum(left_O + carried_O, 0.0))
        return deviations_O

    @cached_property
    def left_out_N(self) -> FloatArray:
        """By which share each network misses what the others foretell of it."""
        shared = self._precision_NN @ self._explained_NP
        projected_NN = self._precision_NN - shared @ np.linalg.pinv(self._weights_precision_PP) @ shared.T
        missed_N: FloatArray = projected_NN.sum(axis=1) / np.diag(projected_NN)
        return missed_N


def _best_fit(design_NO: FloatArray, features_OP: FloatArray, base_O: FloatArray) -> _Fit:
    fits = [_Fit(design_NO, features_OP, base_O, share, noise) for share in DEVIATIONS for noise in NOISES]
    return max(fits, key=lambda fit: fit.log_evidence)


def _check(counts_NO: FloatArray, latency_ms_N: FloatArray, features_OP: FloatArray) -> None:
    networks, operators = counts_NO.shape
    if latency_ms_N.shape != (networks,) or features_OP.shape[0] != operators:
        raise DataError(
            "A regression of operator costs",
            "must be given a latency for each network and features for each operator",
            came=f"counts {counts_NO.shape}, latencies {latency_ms_N.shape}, features {features_OP.shape} came",
        )
    sound: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("latencies above zero", lambda: bool(np.isfinite(latency_ms_N).all() and (latency_ms_N > 0).all())),
        ("features not below zero", lambda: bool(np.isfinite(features_OP).all() and (features_OP >= 0).all())),
        ("a network more than features", lambda: networks > features_OP.shape[1]),
    )
    for what, holds in sound:
        if not holds():
            raise DataError("A regression of operator costs", f"must be given {what}", came="it was not")
