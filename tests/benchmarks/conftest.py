"""Made-up records of the toy space."""

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark
from hwnas.objectives import choices_of
from hwnas.testing import ToySpace

RECORDED = 83


@pytest.fixture(scope="session")
def benchmark() -> Benchmark:
    """All architectures but the last; the third has no error and the fifth no latency; the last five are not considered."""
    space = ToySpace()
    choices_NV = choices_of(space.everything())[:RECORDED]
    rng = np.random.default_rng(0)
    records = {
        "error": np.arange(RECORDED) / 100,
        "latency_ms@board": 10.0 + np.arange(RECORDED)[::-1] + rng.integers(0, 30, RECORDED),
        "latency_ms@slow_board": 90.0 + rng.permutation(RECORDED),
        "macs": np.full(RECORDED, 7.0),
        "train_seconds": np.arange(RECORDED, dtype=float),
        "test_accuracy": np.zeros(RECORDED),
    }
    records["error"][2] = records["latency_ms@board"][4] = np.nan
    return Benchmark(
        "toys", "toy data", space, choices_NV, records, "toy", ("toy",), considered_N=np.arange(RECORDED) < RECORDED - 5
    )
