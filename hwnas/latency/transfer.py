"""Whole-network latencies of a new device, from a few measured networks and the same networks' latencies elsewhere.

Where all candidate networks are known on other devices (published benchmarks, or a population that was measured before),
a new device is to first order a mixture of those: its latencies are regressed on theirs, as HELP (Lee et al., NeurIPS
2021) and others do with learned predictors. Three things make a plain linear model enough. Known latencies are noisy, so
what enters is their fit by the networks' structure, robust to outliers, and that of the rest which several devices share.
What no mixture explains is left to the structure itself. And every size is weighed by its marginal likelihood.

Shapes: N candidate networks, K known device settings, F structural features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import SettingsError
from hwnas.latency.posterior import CoefficientGroup, infer, require_finite

__all__ = ["NetworkBasis", "NetworkLatencies", "Reading", "build_basis", "choose_networks", "transfer_latencies"]

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.integer]

INTERCEPT: Final = CoefficientGroup(1, (10.0,))  # of latencies divided by their mean: as good as free
SHARED_WEIGHTS: Final = (0.0, 0.3, 1.0)
STRUCTURE_WEIGHTS: Final = (0.0, 0.1, 0.3)
TYPICAL_STRUCTURE: Final = 0.1
CLIPPED_AT: Final = 3.0
CLIPPINGS: Final = 4
MOST_SHARED: Final = 3
SHARED_MARGIN: Final = 1.15
FIRST_READING: Final = 0.9
LEAST_SHARE: Final = 0.01  # of the smallest measured latency: no network is predicted below


@dataclass(frozen=True)
class Reading:
    """One account of what a device runs of each network: as written, say, or without what the output does not need.

    Attributes:
        structure_NF: features in which latency is roughly additive, such as one-hot operators by place; a new device
            may deviate from the known ones in each.
        smoothing_NF: features rich enough to describe the known devices, such as products of pairs; None: the same.
    """

    structure_NF: FloatArray
    smoothing_NF: FloatArray | None = None


@dataclass(frozen=True)
class NetworkBasis:
    """What other devices and structure say of each network: for each reading a design and its groups of columns."""

    designs: tuple[FloatArray, ...]
    groups: tuple[CoefficientGroup, ...]

    def spread_NF(self) -> FloatArray:
        """Features whose squared distances are those of latencies to be expected, for `choose_networks`."""
        sizes = [group.size for group in self.groups]
        weights_F = np.repeat([0.0, 1.0, 0.0, TYPICAL_STRUCTURE], sizes)
        known = slice(1, 1 + sizes[1])
        first_NF = self.designs[0]
        apart = [0.3 * (other[:, known] - first_NF[:, known]) for other in self.designs[1:]]
        return np.hstack([(first_NF * weights_F)[:, weights_F > 0], *apart])


@dataclass(frozen=True)
class NetworkLatencies:
    """The latencies of all candidate networks on a new device.

    Attributes:
        mean_ms_N: (N,), positive.
        std_ms_N: of one measurement of each network, noise included, (N,).
        reading_probabilities: of each reading.
    """

    mean_ms_N: FloatArray
    std_ms_N: FloatArray
    reading_probabilities: tuple[float, ...]


def build_basis(latencies_ms_NK: FloatArray, readings: Sequence[Reading] = ()) -> NetworkBasis:
    """Prepares what is known of the candidate networks before the new device is measured.

    Args:
        latencies_ms_NK: of each network on each known device setting, (N, K).
        readings: the first, to which most of the belief goes, is the one that the known devices are taken to follow;
            none: nothing is known of the networks' structure.

    Raises:
        SettingsError: no network or device, shapes that do not fit, numbers not finite, latencies not positive.
    """
    if latencies_ms_NK.ndim != 2 or latencies_ms_NK.size == 0:
        raise SettingsError(
            "latencies_ms_NK", "must hold networks x devices", came=f"the shape {latencies_ms_NK.shape} came"
        )
    require_finite("latencies_ms_NK", latencies_ms_NK, latencies_ms_NK.shape)
    if (latencies_ms_NK <= 0).any():
        raise SettingsError("latencies_ms_NK", "must be positive", came=f"{latencies_ms_NK.min():g} came")
    count, devices = latencies_ms_NK.shape
    if not readings:
        known_NK = _centred(latencies_ms_NK)
        size_K = np.maximum(known_NK.std(axis=0), np.finfo(np.float64).tiny)
        design_NF = np.hstack([np.ones((count, 1)), known_NK / size_K / math.sqrt(devices)])
        return NetworkBasis((design_NF,), (INTERCEPT, CoefficientGroup(devices), *(CoefficientGroup(0),) * 2))
    smoothing, structure = _aligned(readings, count)
    fits, rest_NK = _smooth(latencies_ms_NK, smoothing)
    size_K = np.maximum(fits[0].std(axis=0), np.finfo(np.float64).tiny)
    shared_NF = _shared(rest_NK) * np.sqrt(np.mean((rest_NK.std(axis=0) / size_K) ** 2) / devices)
    radius = max(math.sqrt((structure[0] ** 2).sum(axis=1).mean()), np.finfo(np.float64).tiny)
    designs = tuple(
        np.hstack([np.ones((count, 1)), fit_NK / size_K / math.sqrt(devices), shared_NF, structure_NF / radius])
        for fit_NK, structure_NF in zip(fits, structure, strict=True)
    )
    groups = (
        INTERCEPT,
        CoefficientGroup(devices),
        CoefficientGroup(shared_NF.shape[1], SHARED_WEIGHTS if shared_NF.size else (0.0,)),
        CoefficientGroup(structure[0].shape[1], STRUCTURE_WEIGHTS, TYPICAL_STRUCTURE),
    )
    return NetworkBasis(designs, groups)


def choose_networks(
    features_NF: FloatArray,
    count: int,
    *,
    rng: np.random.Generator,
    candidates: int = 500,
    noise: float = 0.01,
) -> IndexArray:
    """Which networks to measure: greedily, the one that is least certain given those chosen (D-optimal design).

    Args:
        features_NF: such that the latency of a network is a linear function of its row, with coefficients of one size.
        count: how many to choose.
        rng: draws the candidates.
        candidates: out of how many random networks to choose.
        noise: variance of a measurement, where a coefficient has variance 1.

    Returns:
        Indices of rows, (count,), all different.

    Raises:
        SettingsError: fewer networks than `count`, or features that are not finite.
    """
    require_finite("features_NF", features_NF, features_NF.shape)
    if not 1 <= count <= len(features_NF):
        raise SettingsError(
            "count", f"must be from 1 to {len(features_NF)}, the number of networks", came=f"{count} came"
        )
    drawn = rng.choice(len(features_NF), size=min(len(features_NF), max(candidates, count)), replace=False)
    centred_NF = features_NF[drawn] - features_NF.mean(axis=0)
    covariance_NN = centred_NF @ centred_NF.T
    chosen: list[int] = []
    for _ in range(count):
        variance_N = np.diag(covariance_NN).copy()
        variance_N[chosen] = -np.inf
        best = int(variance_N.argmax())
        chosen.append(best)
        covariance_NN = covariance_NN - np.outer(
            covariance_NN[:, best] / (covariance_NN[best, best] + noise), covariance_NN[best]
        )
    picked: IndexArray = drawn[chosen]
    return picked


def transfer_latencies(basis: NetworkBasis, measured: IndexArray, latencies_ms: FloatArray) -> NetworkLatencies:
    """Predicts all candidate networks on a new device from some that were measured there.

    Args:
        basis: of the candidate networks.
        measured: the indices of those measured, (n,).
        latencies_ms: of these, (n,).

    Raises:
        SettingsError: no measurement, indices that do not exist, latencies not finite or not positive.
    """
    count = len(basis.designs[0])
    require_finite("latencies_ms", latencies_ms, measured.shape)
    if measured.size == 0 or measured.ndim != 1 or measured.min() < 0 or measured.max() >= count:
        raise SettingsError(
            "measured", f"must be indices from 0 to {count - 1}, at least one", came=f"{measured.size} came"
        )
    if (latencies_ms <= 0).any():
        raise SettingsError("latencies_ms", "must be positive", came=f"{latencies_ms.min():g} came")
    unit = float(latencies_ms.mean())
    posteriors = [infer(design[measured], latencies_ms / unit, groups=basis.groups) for design in basis.designs]
    others = (1 - FIRST_READING) / max(1, len(posteriors) - 1)
    prior_R = np.array([FIRST_READING] + [others] * (len(posteriors) - 1))
    evidence_R = np.array([posterior.log_evidence for posterior in posteriors])
    share_R = prior_R * np.exp(evidence_R - evidence_R.max())
    share_R /= share_R.sum()
    predicted = [posterior.predict(design) for posterior, design in zip(posteriors, basis.designs, strict=True)]
    means_RN, stds_RN = np.array([mean for mean, _ in predicted]), np.array([std for _, std in predicted])
    mean_N = share_R @ means_RN
    variance_N = share_R @ (stds_RN**2 + (means_RN - mean_N) ** 2)
    floor = LEAST_SHARE * float(latencies_ms.min())
    return NetworkLatencies(
        np.maximum(mean_N * unit, floor), np.sqrt(variance_N) * unit, tuple(float(share) for share in share_R)
    )


def _aligned(readings: Sequence[Reading], count: int) -> tuple[list[FloatArray], list[FloatArray]]:
    """The smoothing and structural features of the readings, centred where the first reading's are."""
    smoothing: list[FloatArray] = []
    structure: list[FloatArray] = []
    for reading in readings:
        rich_NF = reading.structure_NF if reading.smoothing_NF is None else reading.smoothing_NF
        for name, values_NF, first in (
            ("smoothing_NF", rich_NF, smoothing),
            ("structure_NF", reading.structure_NF, structure),
        ):
            require_finite(name, values_NF, (count, first[0].shape[1] if first else values_NF.shape[-1]))
            first.append(np.asarray(values_NF, dtype=np.float64))
    return _offset(smoothing), _offset(structure)


def _offset(features: Sequence[FloatArray]) -> list[FloatArray]:
    mean_F = features[0].mean(axis=0)
    return [values_NF - mean_F for values_NF in features]


def _centred(values_NK: FloatArray) -> FloatArray:
    centred_NK: FloatArray = values_NK - values_NK.mean(axis=0)
    return centred_NK


def _smooth(latencies_NK: FloatArray, features: Sequence[FloatArray]) -> tuple[list[FloatArray], FloatArray]:
    """Centred fits of latencies by the features of each reading, and what the first leaves, outliers clipped.

    Least squares in which a residual beyond three robust standard deviations counts as three (Huber's M-estimator by
    pseudo-observations).
    """
    first_NF = features[0]
    gram_FF = first_NF.T @ first_NF + np.eye(first_NF.shape[1])
    solve_FN = np.linalg.solve(gram_FF, first_NF.T)
    clipped_NK = latencies_NK
    for _ in range(CLIPPINGS):
        coefficients_FK = solve_FN @ _centred(clipped_NK)
        fit_NK = clipped_NK.mean(axis=0) + first_NF @ coefficients_FK
        rest_NK = latencies_NK - fit_NK
        bound_K = CLIPPED_AT * 1.4826 * np.median(np.abs(rest_NK), axis=0)
        rest_NK = np.clip(rest_NK, -bound_K, bound_K)
        clipped_NK = fit_NK + rest_NK
    return [values_NF @ coefficients_FK for values_NF in features], rest_NK


def _shared(rest_NK: FloatArray) -> FloatArray:
    """The principal components of the residuals that are larger than independent noise makes them (N, at most 3).

    Noise alone has no eigenvalue beyond (1 + sqrt(K / N))^2 (Marchenko and Pastur, 1967).
    """
    count, devices = rest_NK.shape
    size_K = rest_NK.std(axis=0)
    standard_NK = rest_NK[:, size_K > 0] / size_K[size_K > 0]
    values_K, vectors_KK = np.linalg.eigh(standard_NK.T @ standard_NK / count)
    large_K = values_K > SHARED_MARGIN * (1 + math.sqrt(devices / count)) ** 2
    components_NF: FloatArray = standard_NK @ vectors_KK[:, large_K][:, -MOST_SHARED:]
    return components_NF
