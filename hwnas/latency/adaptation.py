"""Operator costs of a new device from a few measured networks, with the tables of other devices as the basis.

A latency table must stay additive: a network costs the sum of its operators and an overhead. Ten networks do not determine
a hundred operators, so what is known beforehand fills in: the device is a mixture of known devices and of costs that
follow multiply-accumulates, parameters or bytes, and each operator deviates from that by a fraction of itself. The size of
each part is weighed by its marginal likelihood. The regression itself is in `posterior`.

Shapes: N networks, O operators, K known devices, F facts; P = O + 1, the operators and the overhead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from hwnas.errors import SettingsError
from hwnas.latency.posterior import CoefficientGroup, Gaussian, condition, infer, require_finite

__all__ = ["AdaptedCosts", "adapt_costs", "cost_features"]

FloatArray = npt.NDArray[np.float64]

OVERHEAD: Final = CoefficientGroup(1, (0.03, 0.1, 0.3))  # parts of a network's latency
FACT_WEIGHTS: Final = (0.0, 0.1, 0.3, 1.0)
DEVIATIONS: Final = (0.03, 0.1, 0.2, 0.4)
DEVIATION_WITHOUT_DEVICES: Final = 0.4
DEVIATION_FROM_ONE_DEVICE: Final = 0.15
DEVIATION_BOUNDS: Final = (0.03, 0.5)
LEAST_TYPICAL: Final = 0.05  # of what the facts say
LEAST_SHARE: Final = 0.01  # of what the average operator costs
LEAST_COST: Final = 0.02  # of an operator's typical cost


@dataclass(frozen=True)
class AdaptedCosts:
    """What a device's operators cost, as far as the measured networks and the other devices tell.

    Attributes:
        costs_ms_O: posterior mean of each operator's latency, positive, (O,).
        std_ms_O: its standard deviation, (O,).
        overhead_ms: of a network beside its operators; may be below 0.
        overhead_std_ms: its standard deviation.
        noise_ms: standard deviation of a network's measurement around the sum of its operators.
        joint: of the P costs, the overhead last, in ms.
        degrees_of_freedom: of the Student distribution of predictions.
        trust_N: 1 for an ordinary measurement, less for one that the others contradict, (N,).
    """

    costs_ms_O: FloatArray
    std_ms_O: FloatArray
    overhead_ms: float
    overhead_std_ms: float
    noise_ms: float
    joint: Gaussian
    degrees_of_freedom: int
    trust_N: FloatArray

    def predict(self, counts_NO: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Latency of networks and standard deviation of one measurement of each, in ms, both (N,)."""
        mean_N, std_N = self.joint.predict(_with_overhead(counts_NO))
        return mean_N, np.hypot(std_N, self.noise_ms)

    def interval(self, counts_NO: FloatArray, *, coverage: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Bounds in ms, both (N,), between which a measurement of each network lies with probability `coverage`.

        Raises:
            SettingsError: a coverage outside 0 to 1.
        """
        if not 0 < coverage < 1:
            raise SettingsError("coverage", "must be between 0 and 1", came=f"{coverage} came")
        mean_N, std_N = self.predict(counts_NO)
        reach_N = std_N * float(stats.t.ppf((1 + coverage) / 2, self.degrees_of_freedom))
        return mean_N - reach_N, mean_N + reach_N


@dataclass(frozen=True)
class _CostPrior:
    """Directions in which costs vary, in units of the mean network's latency: costs_P = coefficients_D @ directions_DP."""

    directions_DP: FloatArray
    groups: tuple[CoefficientGroup, ...]
    typical_O: FloatArray

    def design(self, counts_NO: FloatArray) -> FloatArray:
        return _with_overhead(counts_NO) @ self.directions_DP.T


def adapt_costs(
    counts_NO: FloatArray,
    latencies_ms_N: FloatArray,
    *,
    basis_ms_KO: FloatArray | None = None,
    facts_OF: FloatArray | None = None,
) -> AdaptedCosts:
    """The operator costs of a device on which only whole networks were measured.

    Args:
        counts_NO: how often each operator runs in each measured network, (N, O).
        latencies_ms_N: of the networks, (N,).
        basis_ms_KO: costs of the same operators elsewhere: on other devices, or at other precisions or threads of this
            one, (K, O). The scale of a row does not matter. None: no device is known.
        facts_OF: what is known of each operator on paper and costs are roughly proportional to (MACs, parameters, bytes
            of activations), not negative, (O, F). One equal cost for every operator that has a fact above 0 is added.

    Raises:
        SettingsError: no measurement, shapes that do not fit, numbers that are not finite, latencies that are not
            positive, or counts or facts below 0.
    """
    count = _check(counts_NO, latencies_ms_N)
    unit = float(latencies_ms_N.mean())
    prior = _cost_prior(counts_NO, basis_ms_KO, facts_OF)
    posterior = infer(prior.design(counts_NO), latencies_ms_N / unit, groups=prior.groups)
    found = posterior.coefficients
    joint = Gaussian(
        unit * found.mean_F @ prior.directions_DP,
        unit**2 * prior.directions_DP.T @ found.covariance_FF @ prior.directions_DP,
    )
    joint = _positive(joint, LEAST_COST * unit * prior.typical_O)
    std_P = np.sqrt(np.maximum(np.diag(joint.covariance_FF), 0.0))
    return AdaptedCosts(
        joint.mean_F[:-1],
        std_P[:-1],
        float(joint.mean_F[-1]),
        float(std_P[-1]),
        unit * posterior.noise,
        joint,
        count,
        posterior.trust_N,
    )


def cost_features(
    counts_NO: FloatArray, *, basis_ms_KO: FloatArray | None = None, facts_OF: FloatArray | None = None
) -> FloatArray:
    """Features of candidate networks from which `transfer.choose_networks` chooses those that tell most of the costs.

    Raises:
        SettingsError: as `adapt_costs`.
    """
    _check(counts_NO, np.ones(len(counts_NO)))
    prior = _cost_prior(counts_NO, basis_ms_KO, facts_OF)
    weights = [group.expected or float(np.median(group.weights)) for group in prior.groups]
    features_ND: FloatArray = prior.design(counts_NO) * np.repeat(weights, [group.size for group in prior.groups])
    return features_ND


def _check(counts_NO: FloatArray, latencies_ms_N: FloatArray) -> int:
    if counts_NO.ndim != 2 or counts_NO.size == 0:
        raise SettingsError("counts_NO", "must hold networks x operators", came=f"the shape {counts_NO.shape} came")
    require_finite("counts_NO", counts_NO, counts_NO.shape)
    require_finite("latencies_ms_N", latencies_ms_N, (len(counts_NO),))
    if (counts_NO < 0).any() or not counts_NO.any():
        raise SettingsError("counts_NO", "must be 0 or more, some of them above 0", came=f"{counts_NO.min():g} came")
    if (latencies_ms_N <= 0).any():
        raise SettingsError("latencies_ms_N", "must be positive", came=f"{latencies_ms_N.min():g} came")
    return len(counts_NO)


def _cost_prior(counts_NO: FloatArray, basis_ms_KO: FloatArray | None, facts_OF: FloatArray | None) -> _CostPrior:
    operators = counts_NO.shape[1]
    basis_KO = np.empty((0, operators)) if basis_ms_KO is None else np.asarray(basis_ms_KO, dtype=np.float64)
    facts_FO = np.empty((0, operators)) if facts_OF is None else np.asarray(facts_OF, dtype=np.float64).T
    require_finite("basis_ms_KO", basis_KO, (len(basis_KO), operators))
    require_finite("facts_OF", facts_FO, (len(facts_FO), operators))
    if (facts_FO < 0).any():
        raise SettingsError("facts_OF", "must not be negative", came=f"{facts_FO.min():g} came")
    mean_O = counts_NO.mean(axis=0)
    does_something_O = (facts_FO > 0).any(axis=0) if len(facts_FO) and facts_FO.any() else np.ones(operators)
    facts_FO = np.vstack([facts_FO, does_something_O])
    facts_FO = facts_FO[facts_FO @ mean_O > 0]
    facts_FO = facts_FO / (facts_FO @ mean_O)[:, None]
    total_K = basis_KO @ mean_O
    if (total_K <= 0).any():
        raise SettingsError(
            "basis_ms_KO", "must give the measured networks a latency above 0", came=f"{total_K.min():g} ms came"
        )
    basis_KO = basis_KO / total_K[:, None]
    on_paper_O = facts_FO.mean(axis=0)
    typical_O = np.maximum(basis_KO.mean(axis=0), LEAST_TYPICAL * on_paper_O) if len(basis_KO) else on_paper_O
    typical_O = np.maximum(typical_O, LEAST_SHARE / mean_O.sum())
    deviation = CoefficientGroup(operators, DEVIATIONS, _expected_deviation(basis_KO, typical_O, mean_O))
    parts: Sequence[FloatArray] = (
        basis_KO / max(1, len(basis_KO)) ** 0.5,
        facts_FO / len(facts_FO) ** 0.5,
        np.diag(typical_O),
    )
    costs_DO = np.vstack([np.zeros((1, operators)), *parts])
    fact_weights = FACT_WEIGHTS if len(basis_KO) else (1.0,)
    groups = (OVERHEAD, CoefficientGroup(len(basis_KO)), CoefficientGroup(len(facts_FO), fact_weights), deviation)
    overhead_D = np.zeros((len(costs_DO), 1))
    overhead_D[0] = 1.0
    return _CostPrior(np.hstack([costs_DO, overhead_D]), groups, typical_O)


def _expected_deviation(basis_KO: FloatArray, typical_O: FloatArray, mean_O: FloatArray) -> float:
    """How far an operator's cost lies from a mixture of other devices, relative to itself: each known device in turn."""
    devices = len(basis_KO)
    if devices < 2:
        return DEVIATION_FROM_ONE_DEVICE if devices else DEVIATION_WITHOUT_DEVICES
    importance_O = np.sqrt(typical_O * mean_O) / typical_O
    squares = []
    for device in range(devices):
        others_OK = np.delete(basis_KO, device, axis=0).T * importance_O[:, None]
        target_O = basis_KO[device] * importance_O
        rest_O = target_O - others_OK @ np.linalg.lstsq(others_OK, target_O, rcond=None)[0]
        squares.append(rest_O @ rest_O / (typical_O @ mean_O))
    return float(np.clip(np.sqrt(np.mean(squares)), *DEVIATION_BOUNDS))


def _positive(joint: Gaussian, least_ms_O: FloatArray) -> Gaussian:
    """`joint` given that no operator costs less than `least_ms_O`: those that would are pinned there, one round a time."""
    operators = least_ms_O.size
    identity_OP = np.eye(operators, operators + 1)
    pinned_O = np.zeros(operators, dtype=bool)
    result = joint
    for _ in range(operators):
        below_O = (result.mean_F[:-1] < least_ms_O) & ~pinned_O
        if not below_O.any():
            break
        pinned_O |= below_O
        result, _evidence = condition(
            joint, identity_OP[pinned_O], least_ms_O[pinned_O], noise_N=0.5 * least_ms_O[pinned_O]
        )
    mean_P = result.mean_F.copy()
    mean_P[:-1] = np.maximum(mean_P[:-1], least_ms_O)
    return Gaussian(mean_P, result.covariance_FF)


def _with_overhead(counts_NO: FloatArray) -> FloatArray:
    return np.hstack([counts_NO, np.ones((len(counts_NO), 1))])
