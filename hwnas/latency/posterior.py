"""Bayesian linear regression on few and noisy latencies: what both adaptation and calibration by regression stand on.

A latency is a linear function of unknown coefficients (operator costs, or how much a new device resembles each known one).
There are more coefficients than measurements, so what is known beforehand decides: coefficients come in groups, each group
has a typical size, and the sizes and the noise are averaged over a grid by their marginal likelihood (MacKay, Bayesian
Interpolation, 1992), rather than chosen. Measurements that the others contradict count for less.

Shapes: N measurements or networks, F coefficients.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import SettingsError

__all__ = ["CoefficientGroup", "Gaussian", "Posterior", "condition", "infer", "require_finite"]

FloatArray = npt.NDArray[np.float64]

NOISES: Final = tuple(np.geomspace(1e-4, 1.0, 15).tolist())
TYPICAL_NOISE: Final = 0.05
OUTLYING: Final = 2.0  # robust standard deviations from which a measurement loses weight
LEAST_FOR_OUTLIERS: Final = 8
REWEIGHTINGS: Final = 2
NEGLIGIBLE: Final = 1e-3


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution over coefficients.

    Attributes:
        mean_F: (F,).
        covariance_FF: (F, F).
    """

    mean_F: FloatArray
    covariance_FF: FloatArray

    def predict(self, design_NF: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, without noise, of each row of `design_NF`, both (N,)."""
        variance_N = np.einsum("nf,nf->n", design_NF @ self.covariance_FF, design_NF)
        return design_NF @ self.mean_F, np.sqrt(np.maximum(variance_N, 0.0))


def condition(
    prior: Gaussian, design_NF: FloatArray, targets_N: FloatArray, *, noise_N: FloatArray
) -> tuple[Gaussian, float]:
    """The posterior of coefficients after `targets_N` = `design_NF` @ coefficients + noise, and the log evidence.

    Args:
        prior: of the coefficients; its covariance may be singular.
        design_NF: (N, F).
        targets_N: (N,), in any unit.
        noise_N: standard deviation of each target, (N,); zeros make a constraint, if it does not contradict the prior.

    Raises:
        SettingsError: shapes that do not fit, numbers that are not finite, or targets that the prior excludes.
    """
    count, size = design_NF.shape
    require_finite("design_NF", design_NF, (count, prior.mean_F.size))
    require_finite("targets_N", targets_N, (count,))
    require_finite("noise_N", noise_N, (count,))
    require_finite("prior.covariance_FF", prior.covariance_FF, (size, size))
    spread_FN = prior.covariance_FF @ design_NF.T
    total_NN = design_NF @ spread_FN + np.diag(noise_N**2)
    surprise_N = targets_N - design_NF @ prior.mean_F
    try:
        lower_NN = np.linalg.cholesky(total_NN)
    except np.linalg.LinAlgError:
        raise SettingsError(
            "targets_N", "must be possible under the prior", came="its covariance is singular", do="Add noise"
        ) from None
    whitened_N = np.linalg.solve(lower_NN, surprise_N)
    gain_NF = np.linalg.solve(lower_NN, spread_FN.T)
    log_evidence = -0.5 * whitened_N @ whitened_N - np.log(np.diag(lower_NN)).sum() - 0.5 * count * math.log(2 * np.pi)
    posterior = Gaussian(prior.mean_F + gain_NF.T @ whitened_N, prior.covariance_FF - gain_NF.T @ gain_NF)
    return posterior, float(log_evidence)


@dataclass(frozen=True)
class CoefficientGroup:
    """Neighbouring columns of a design whose coefficients have one typical size, relative to the whole.

    Attributes:
        size: the number of columns.
        weights: the sizes to average over; 0 switches the group off.
        expected: the size expected beforehand (log-normal, one e-fold either way), or None for no preference.
    """

    size: int
    weights: tuple[float, ...] = (1.0,)
    expected: float | None = None

    def log_prior(self, weight: float) -> float:
        """The log probability of a weight before anything was measured, up to a constant."""
        if self.expected is None:
            return 0.0
        return -0.5 * math.log(max(weight, 0.3 * self.expected) / self.expected) ** 2


@dataclass(frozen=True)
class Posterior:
    """What measurements say of coefficients, averaged over the sizes of the groups and the noise.

    Attributes:
        coefficients: their mean and covariance.
        noise: standard deviation of one ordinary measurement, in the unit of the targets.
        log_evidence: how well all of this explains the targets, to compare one design with another.
        degrees_of_freedom: of the Student distribution of predictions.
        weights: the posterior mean of each group's weight.
        trust_N: 1 for an ordinary measurement, less for one that the others contradict, (N,).
    """

    coefficients: Gaussian
    noise: float
    log_evidence: float
    degrees_of_freedom: int
    weights: tuple[float, ...]
    trust_N: FloatArray

    def predict(self, design_NF: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, noise included, of a measurement at each row of `design_NF`, both (N,)."""
        mean_N, std_N = self.coefficients.predict(design_NF)
        return mean_N, np.hypot(std_N, self.noise)


@dataclass(frozen=True)
class _Candidate:
    """One point of the grid: prior variances of the coefficients, noise variance, and how they explain the targets."""

    log_evidence: float
    weights: tuple[float, ...]
    noise: float
    scale: float  # the variance that a weight of 1 stands for


def infer(
    design_NF: FloatArray,
    targets_N: FloatArray,
    *,
    groups: Sequence[CoefficientGroup],
    noises: Sequence[float] = NOISES,
) -> Posterior:
    """The posterior of coefficients with mean 0, sizes known by groups up to one common scale, and unknown noise.

    For a prior mean other than 0, subtract its prediction from the targets.

    Args:
        design_NF: (N, F); the columns of each group follow those of the group before.
        targets_N: (N,), in any unit.
        groups: of the columns.
        noises: noise variances to average over, relative to the common scale.

    Raises:
        SettingsError: no measurement, shapes that do not fit, or numbers that are not finite.
    """
    if targets_N.size == 0:
        raise SettingsError("targets_N", "must have a measurement", came="none came", do="Measure a network")
    require_finite("design_NF", design_NF, (targets_N.size, sum(group.size for group in groups)))
    require_finite("targets_N", targets_N, (targets_N.size,))
    edges = np.cumsum([0, *(group.size for group in groups)])
    grams = [design_NF[:, a:b] @ design_NF[:, a:b].T for a, b in pairwise(edges)]
    spread_N = np.ones(targets_N.size)
    candidates = list(_candidates(grams, targets_N, spread_N, groups, noises))
    if targets_N.size >= LEAST_FOR_OUTLIERS:
        for _ in range(REWEIGHTINGS):
            best = max(candidates, key=lambda candidate: candidate.log_evidence)
            spread_N = spread_N * _contradiction(_total(grams, best, spread_N), targets_N)
            candidates = list(_candidates(grams, targets_N, spread_N, groups, noises))
    return _average(candidates, design_NF, targets_N, spread_N, [group.size for group in groups])


def _total(grams: Sequence[FloatArray], candidate: _Candidate, spread_N: FloatArray) -> FloatArray:
    signal_NN: FloatArray = sum(
        (weight**2 * gram for weight, gram in zip(candidate.weights, grams, strict=True)), np.zeros_like(grams[0])
    )
    return signal_NN + candidate.noise * np.diag(spread_N)


def _candidates(
    grams: Sequence[FloatArray],
    targets_N: FloatArray,
    spread_N: FloatArray,
    groups: Sequence[CoefficientGroup],
    noises: Sequence[float],
) -> Iterator[_Candidate]:
    """Every point of the grid, its scale the likeliest; one eigendecomposition serves all noises."""
    count = targets_N.size
    root_N = 1 / np.sqrt(spread_N)
    noise_M = np.asarray(noises)
    noise_prior_M = -0.5 * np.log(noise_M / TYPICAL_NOISE) ** 2
    tiny = np.finfo(np.float64).tiny
    for weights in product(*(group.weights for group in groups)):
        gram_NN = sum((weight**2 * gram for weight, gram in zip(weights, grams, strict=True)), np.zeros_like(grams[0]))
        values_N, vectors_NN = np.linalg.eigh(gram_NN * np.outer(root_N, root_N))
        variance_MN = np.maximum(values_N, 0.0) + noise_M[:, None]
        scale_M = np.maximum(((vectors_NN.T @ (targets_N * root_N)) ** 2 / variance_MN).mean(axis=1), tiny)
        log_prior = sum(group.log_prior(weight) for group, weight in zip(groups, weights, strict=True))
        evidence_M = -0.5 * np.log(variance_MN).sum(axis=1) - 0.5 * count * np.log(scale_M)
        evidence_M += np.log(root_N).sum() + noise_prior_M + log_prior
        for evidence, noise, scale in zip(evidence_M.tolist(), noises, scale_M.tolist(), strict=True):
            yield _Candidate(evidence, weights, noise, scale)


def _contradiction(total_NN: FloatArray, targets_N: FloatArray) -> FloatArray:
    """By how much to widen the noise variance of each measurement, from its error when predicted by the others."""
    precision_NN = np.linalg.inv(total_NN)
    error_N = np.abs(precision_NN @ targets_N) / np.sqrt(np.diag(precision_NN))
    typical = 1.4826 * float(np.median(error_N))
    return np.maximum(1.0, (error_N / (OUTLYING * max(typical, np.finfo(np.float64).tiny))) ** 2)


def _average(
    candidates: Sequence[_Candidate],
    design_NF: FloatArray,
    targets_N: FloatArray,
    spread_N: FloatArray,
    sizes: Sequence[int],
) -> Posterior:
    """The mixture of the candidates' posteriors, as one mean and covariance."""
    evidence_C = np.array([candidate.log_evidence for candidate in candidates])
    share_C = np.exp(evidence_C - evidence_C.max())
    log_evidence = float(evidence_C.max() + np.log(share_C.sum()))
    likely = [index for index in np.argsort(-share_C) if share_C[index] > NEGLIGIBLE]
    share_C = share_C[likely] / share_C[likely].sum()
    kept = [candidates[index] for index in likely]
    means, covariance_FF, noise = [], np.zeros((design_NF.shape[1],) * 2), 0.0
    for share, candidate in zip(share_C, kept, strict=True):
        variance_F = candidate.scale * np.repeat(np.square(candidate.weights), sizes)
        spread_FN = variance_F[:, None] * design_NF.T
        noise_N = candidate.scale * candidate.noise * spread_N
        solved_NF = np.linalg.solve(design_NF @ spread_FN + np.diag(noise_N), spread_FN.T)
        means.append(solved_NF.T @ targets_N)
        covariance_FF += share * (np.diag(variance_F) - spread_FN @ solved_NF)
        noise += share * candidate.scale * candidate.noise
    mean_F = share_C @ np.array(means)
    away_CF = np.array(means) - mean_F
    covariance_FF += (away_CF * share_C[:, None]).T @ away_CF
    weights = tuple(float(value) for value in share_C @ np.array([candidate.weights for candidate in kept]))
    return Posterior(
        Gaussian(mean_F, covariance_FF), math.sqrt(noise), log_evidence, targets_N.size, weights, 1 / spread_N
    )


def require_finite(name: str, values: FloatArray, shape: tuple[int, ...]) -> None:
    """Raises SettingsError where an array has another shape or a number that is not finite."""
    if values.shape != shape:
        raise SettingsError(name, f"must have the shape {shape}", came=f"{values.shape} came")
    if not np.isfinite(values).all():
        raise SettingsError(name, "must be finite", came=f"{int((~np.isfinite(values)).sum())} numbers are not")
