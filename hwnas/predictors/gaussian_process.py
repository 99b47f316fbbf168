"""Errors foretold by a Gaussian process (Rasmussen & Williams, 2006) on the features that every space has.

Ten parameters of its kernel, the share of an error that nothing explains, and the power that errors are warped by (Snelson,
Rasmussen & Ghahramani, NeurIPS 2003) are those of the highest posterior density. What it says of its own uncertainty is then
held against the networks that it knows, each left out in turn, and widened or narrowed until it is true of them.

Suffixes: N architectures, V variables, D draws, P parameters, T architectures that it was fitted on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.stats import norm

from hwnas.errors import SettingsError
from hwnas.predictors.accuracy_predictor import AccuracyPredictor
from hwnas.predictors.encoding import Encoding, standardized
from hwnas.predictors.kernel import Kernel, KernelGradient, RandomFunction
from hwnas.predictors.warp import PowerWarp
from hwnas.spaces import IntArray

__all__ = ["GaussianProcess"]

FloatArray = npt.NDArray[np.float64]

PARTS: Final = 3
"""In which the networks are left out of the fit of the parameters."""
ITERATIONS: Final = 60
JITTER: Final = 1e-6
CHUNK: Final = 2048
TRUSTED: Final = 10
"""Networks left out that count as much as the process's word for how sure it is."""
LEVELS: Final = (0.5, 0.8, 0.9)
"""Of the intervals that decide how much the standard deviation is widened."""


@dataclass(frozen=True)
class _Process:
    """A process that was told of networks: its covariance's Cholesky factor, and the weight of each network."""

    groups: list[FloatArray]
    kernel: Kernel
    residual: float
    warp: PowerWarp
    warped_T: FloatArray
    factor_TT: FloatArray
    weights_T: FloatArray

    @staticmethod
    def of(groups: list[FloatArray], errors_T: FloatArray, chosen: npt.NDArray[np.integer]) -> "_Process":
        """The process that is told of all networks, with the parameters that suit the chosen ones."""
        found_P = _most_probable([group[chosen] for group in groups], errors_T[chosen])
        kernel, residual = Kernel.of(found_P[:-2]), float(np.exp(found_P[-2])) + JITTER
        return _Process._given(kernel, residual, PowerWarp.of(errors_T, float(found_P[-1])), groups, errors_T)

    def told(self, groups: list[FloatArray], errors_T: FloatArray) -> "_Process":
        """The process with the same parameters that is told of these networks instead."""
        warp = PowerWarp.of(errors_T, self.warp.power)
        return _Process._given(self.kernel, self.residual, warp, groups, errors_T)

    @staticmethod
    def _given(
        kernel: Kernel, residual: float, warp: PowerWarp, groups: list[FloatArray], errors_T: FloatArray
    ) -> "_Process":
        covariance_TT = kernel.covariance(groups, groups)
        covariance_TT[np.diag_indices_from(covariance_TT)] += residual
        factor_TT = cholesky(covariance_TT, lower=True)
        warped_T = warp.forward(errors_T)
        weights_T = cho_solve((factor_TT, True), warped_T)
        return _Process(groups, kernel, residual, warp, warped_T, factor_TT, weights_T)

    def left_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the warped error of each network, (T,) each, where it is told of all others."""
        inverse_TT = solve_triangular(self.factor_TT, np.eye(len(self.factor_TT)), lower=True)
        variance_T = 1 / (inverse_TT**2).sum(axis=0)
        return self.warped_T - self.weights_T * variance_T, np.sqrt(variance_T)

    def draw(self, draws: int, rng: np.random.Generator) -> tuple[RandomFunction, FloatArray]:
        """Functions drawn before anything is known, and the weights (T, D) of the networks that move them to what is."""
        function = RandomFunction(self.kernel, self.groups, draws=draws, rng=rng)
        residual_TD = np.sqrt(self.residual) * rng.standard_normal((len(self.weights_T), draws))
        before_TD = function(self.groups) + residual_TD
        return function, self.weights_T[:, None] - cho_solve((self.factor_TT, True), before_TD)


@dataclass(frozen=True)
class _Fitted:
    """A process, and how surprised it was by networks that it was not told of."""

    process: _Process
    surprises_T: FloatArray

    def quantile(self, level: float) -> float:
        """How many of its deviations off an error is, at most, with probability `level`.

        That of the networks left out (normalised split-conformal prediction: Lei et al., JASA 2018), between it and the
        normal distribution's while they are few.
        """
        count = len(self.surprises_T)
        normal = float(norm.ppf(0.5 + level / 2))
        if count < 2:
            return normal
        rank = int(np.ceil((count + 1) * level))
        found = max(float(np.sort(self.surprises_T)[min(rank, count) - 1]), 1e-9)
        trust = count / (count + TRUSTED)
        between = float(found**trust * normal ** (1 - trust))
        return between if rank <= count else max(between, normal)

    @cached_property
    def widening(self) -> float:
        """What its standard deviations are multiplied by to be true."""
        return float(np.mean([self.quantile(level) / norm.ppf(0.5 + level / 2) for level in LEVELS]))


class GaussianProcess(AccuracyPredictor):
    """A Gaussian process with a linear and a Matérn kernel over choices, option counts and costs.

    Args:
        encoding: of the space's architectures.
        fitted_on: how many networks, at most, its parameters are fitted on. It is told of all of them; fewer here are
            faster and a little less exact.

    Raises:
        SettingsError: `fitted_on` is below 10.
    """

    def __init__(self, encoding: Encoding, *, fitted_on: int = 250) -> None:
        super().__init__(encoding)
        if fitted_on < 10:
            raise SettingsError("fitted_on", "must be at least 10", came=f"{fitted_on} came")
        self._fitted_on = fitted_on
        self._fitted: _Fitted | None = None

    def fit(self, choices_NV: IntArray, errors_N: FloatArray) -> None:
        """See AccuracyPredictor.fit."""
        choices_TV, errors_T = _without_repeats(choices_NV, errors_N)
        self._fitted = None
        self._costs_TK = self.encoding.groups(choices_TV)[-1]
        groups = self._groups(choices_TV)
        order = np.random.default_rng(0).permutation(len(errors_T))
        process = _Process.of(groups, errors_T, order[: self._fitted_on])
        self._fitted = _Fitted(process, _surprises(process, errors_T, order, self._fitted_on))

    def update(self, choices_NV: IntArray, errors_N: FloatArray) -> None:
        """See AccuracyPredictor.update: the kernel, the power of the warp and the widening stay as fitted."""
        fitted = self._known
        choices_TV, errors_T = _without_repeats(choices_NV, errors_N)
        self._fitted = replace(fitted, process=fitted.process.told(self._groups(choices_TV), errors_T))

    def predict(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """See AccuracyPredictor.predict."""
        fitted = self._known
        mean_N, std_N = self._warped(choices_NV)
        return fitted.process.warp.moments(mean_N, std_N * fitted.widening)

    def lower_tail(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """See AccuracyPredictor.lower_tail."""
        fitted = self._known
        mean_N, std_N = self._warped(choices_NV)
        median_N = fitted.process.warp.inverse(mean_N)
        return median_N, median_N - fitted.process.warp.inverse(mean_N - fitted.widening * std_N)

    def interval(self, choices_NV: IntArray, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """See AccuracyPredictor.interval."""
        fitted = self._known
        mean_N, std_N = self._warped(choices_NV)
        reach_N = std_N * fitted.quantile(level)
        return fitted.process.warp.inverse(mean_N - reach_N), fitted.process.warp.inverse(mean_N + reach_N)

    def sample(self, choices_NV: IntArray, draws: int, *, rng: np.random.Generator) -> FloatArray:
        """See AccuracyPredictor.sample.

        Functions are drawn before anything is known, and moved by what was found (Wilson et al., ICML 2020): the time grows
        with the number of architectures, not with its cube.
        """
        fitted = self._known
        process = fitted.process
        function, weights_TD = process.draw(draws, rng)
        drawn = []
        for groups in self._chunks(choices_NV):
            covariance_NT = process.kernel.covariance(groups, process.groups)
            mean_N1 = (covariance_NT @ process.weights_T)[:, None]
            moved_ND = function(groups) + covariance_NT @ weights_TD
            moved_ND += np.sqrt(process.residual) * rng.standard_normal(moved_ND.shape)
            drawn.append(process.warp.inverse(mean_N1 + fitted.widening * (moved_ND - mean_N1)))
        return np.concatenate(drawn).T

    @property
    def _known(self) -> _Fitted:
        if self._fitted is None:
            raise SettingsError("A predictor", "must be fitted before it foretells", do="Call `fit` first")
        return self._fitted

    def _groups(self, choices_NV: IntArray) -> list[FloatArray]:
        *choices, costs_NK = self.encoding.groups(choices_NV)
        return [*choices, standardized(costs_NK, self._costs_TK)]

    def _chunks(self, choices_NV: IntArray) -> Iterator[list[FloatArray]]:
        """The features of the architectures, a part at a time."""
        for start in range(0, max(len(choices_NV), 1), CHUNK):
            yield self._groups(choices_NV[start : start + CHUNK])

    def _warped(self, choices_NV: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the warped errors, (N,) each, as the process has them."""
        process = self._known.process
        means, variances = [], []
        for groups in self._chunks(choices_NV):
            covariance_NT = process.kernel.covariance(groups, process.groups)
            means.append(covariance_NT @ process.weights_T)
            explained_TN = solve_triangular(process.factor_TT, covariance_NT.T, lower=True, check_finite=False)
            variances.append(process.kernel.variances(groups) - np.einsum("tn,tn->n", explained_TN, explained_TN))
        variance_N = np.maximum(np.concatenate(variances), 0.0) + process.residual
        return np.concatenate(means), np.sqrt(variance_N)


def _surprises(process: _Process, errors_T: FloatArray, order: npt.NDArray[np.integer], fitted_on: int) -> FloatArray:
    """How many of its deviations off the process is about networks that neither it nor its parameters were told of.

    Where the fit of the parameters leaves too few, the means are those of processes whose parameters were fitted without
    each of a few parts; within a part each network is left out by itself.
    """
    count = len(errors_T)
    if count < 2 * PARTS:
        return np.empty(0)
    mean_T, std_T = process.left_out()
    if count >= 2 * fitted_on:
        unseen = order[fitted_on:]
        surprises_T: FloatArray = np.abs(process.warped_T - mean_T)[unseen] / std_T[unseen]
        return surprises_T
    for part in range(PARTS):
        left_out, others = order[part::PARTS], order[np.arange(count) % PARTS != part]
        other = _Process.of(process.groups, errors_T, others[:fitted_on])
        mean_T[left_out] = process.warp.forward(other.warp.inverse(other.left_out()[0][left_out]))
    return np.abs(process.warped_T - mean_T) / std_T


def _without_repeats(choices_NV: IntArray, errors_N: FloatArray) -> tuple[IntArray, FloatArray]:
    """Each architecture once, in a fixed order, with its mean error. Raises SettingsError."""
    errors_N = np.asarray(errors_N, dtype=np.float64)
    if len(errors_N) != len(choices_NV) or not len(errors_N):
        raise SettingsError(
            "The architectures that a predictor is fitted on",
            "must be at least one, each with its error",
            came=f"{len(choices_NV)} architectures and {len(errors_N)} errors came",
        )
    wrong = errors_N[~(np.isfinite(errors_N) & (errors_N >= 0))]
    if wrong.size:
        came = f"{wrong[0]} came"
        raise SettingsError("The errors that a predictor is fitted on", "must be numbers from 0 up", came=came)
    choices_TV, which_N = np.unique(choices_NV, axis=0, return_inverse=True)
    which_N = which_N.reshape(-1)
    order = np.lexsort((errors_N, which_N))  # so that a sum does not depend on the order in which errors came
    totals_T = np.bincount(which_N[order], errors_N[order])
    return choices_TV, totals_T / np.bincount(which_N)


def _most_probable(groups: list[FloatArray], errors_T: FloatArray) -> FloatArray:
    """The parameters (P,): those of `Kernel.of`, the logarithm of the unexplained variance, the power of the warp."""
    count = len(groups)
    expected_P = np.array([-0.7] * count + [0.0] + [0.0] * count + [-3.0, -1.0])
    deviation_P = np.array([1.5] * count + [1.0] + [1.0] * count + [1.5, 2.0])
    gradient = KernelGradient(groups)

    def surprise(values_P: FloatArray) -> tuple[float, FloatArray]:
        """The negative logarithm of the posterior density, and its gradient."""
        warp = PowerWarp.of(errors_T, float(values_P[-1]))
        warped_T = warp.forward(errors_T)
        slopes, change_T, change_of_slopes = warp.evidence(errors_T)
        covariance_TT, change_TT = gradient.covariance(values_P[:-2])
        residual = float(np.exp(values_P[-2]))
        noisy_TT = covariance_TT + (residual + JITTER) * np.eye(len(errors_T))
        factor_TT = cholesky(noisy_TT, lower=True, check_finite=False)
        weights_T = cho_solve((factor_TT, True), warped_T, check_finite=False)
        half_TT = cho_solve((factor_TT, True), np.eye(len(errors_T)), check_finite=False)
        half_TT -= np.outer(weights_T, weights_T)
        half_TT /= 2
        off_P = (values_P - expected_P) / deviation_P
        value = warped_T @ weights_T / 2 + np.log(np.diag(factor_TT)).sum() - slopes + off_P @ off_P / 2
        slope_P = np.concatenate(
            [
                gradient.slopes(values_P[:-2], covariance_TT, change_TT, half_TT),
                [np.trace(half_TT) * residual, weights_T @ change_T - change_of_slopes],
            ]
        )
        return float(value), slope_P + off_P / deviation_P

    found = minimize(
        surprise,
        expected_P,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(expected_P - 4 * deviation_P, expected_P + 4 * deviation_P, strict=True)),
        options={"maxiter": ITERATIONS},
    )
    fitted_P: FloatArray = found.x
    return fitted_P
