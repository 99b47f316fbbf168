"""Errors of made-up networks whose truth is known: what each decision adds, what pairs of them do, and irregular rests."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from hwnas.predictors import Encoding
from hwnas.spaces import IntArray, MobileNetV3, SearchSpace


@dataclass(frozen=True)
class KnownErrors:
    """A space, architectures of it, and their errors."""

    space: SearchSpace
    choices_NV: IntArray
    errors_N: npt.NDArray[np.float64]


def known_errors(space: SearchSpace, count: int, *, seed: int = 0, rest: float = 0.03) -> KnownErrors:
    """Networks whose log error falls with their MACs and depends on decisions and pairs of them; `rest` is irregular."""
    rng = np.random.default_rng(seed)
    choices_NV = np.unique(space.sample_choices(count, rng=rng), axis=0)
    choices_NV = choices_NV[rng.permutation(len(choices_NV))]
    encoding = Encoding.of(space)
    onehot_NF, _, _, costs_NK = encoding.groups(choices_NV)
    truth = np.random.default_rng(99)
    added_N = onehot_NF @ truth.normal(size=onehot_NF.shape[1])
    first, second = truth.integers(0, onehot_NF.shape[1], (2, 40))
    paired_N = (onehot_NF[:, first] * onehot_NF[:, second]) @ truth.normal(size=40) * onehot_NF.shape[1] / 8
    logs_N = -0.5 * (costs_NK[:, 0] - costs_NK[:, 0].mean()) + 0.15 * added_N + 0.1 * paired_N
    return KnownErrors(space, choices_NV, 0.1 * np.exp(logs_N + rest * rng.normal(size=len(choices_NV))))


@pytest.fixture(scope="session")
def mobile() -> KnownErrors:
    """600 networks of a small MobileNetV3."""
    return known_errors(MobileNetV3((3, 32, 32), 10, width_mult=0.25), 600)
