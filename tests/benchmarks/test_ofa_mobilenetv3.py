"""Once-for-All's MobileNetV3: the published figures of one sub-network, and how well others are foretold."""

import re
from pathlib import Path

import numpy as np
import pytest

from hwnas.benchmarks import Benchmark, Truth, load_ofa_mobilenetv3
from hwnas.benchmarks.table import Table
from hwnas.errors import SettingsError
from hwnas.objectives import score_choices
from hwnas.predictors import Encoding, GaussianProcess, cross_validate
from hwnas.ranking import kendall
from hwnas.spaces import Architecture, MobileNetV3

DEPTHS, KERNELS, RATIOS = "23243", "57553337553773335555", "43444634434336664344"
"""The first row of the published accuracies: 75.448 %."""


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return load_ofa_mobilenetv3()


@pytest.fixture(scope="module")
def first(benchmark: Benchmark) -> Architecture:
    choices = []
    for stage, depth in enumerate(DEPTHS):
        choices.append("234".index(depth))
        for block in range(4 * stage, 4 * stage + 4):
            choices += ["357".index(KERNELS[block]), "346".index(RATIOS[block])]
    return benchmark.space.architecture(choices)


def test_the_space_is_mobilenetv3(benchmark: Benchmark) -> None:
    assert benchmark.space.identity() == MobileNetV3((3, 224, 224), 1000).identity()
    assert len(np.unique(benchmark.choices_NV, axis=0)) == len(benchmark.choices_NV) == 2162
    np.testing.assert_array_equal(benchmark.space.canonicalize(benchmark.choices_NV), benchmark.choices_NV)


def test_a_sub_network_costs_what_is_published(benchmark: Benchmark, first: Architecture) -> None:
    """MACs to the last, and parameters but for the bias of the hidden layer, which the published networks lack."""
    objectives = benchmark.objectives(["macs", "parameters", "latency:i7_8700k"])
    assert [one.evaluate([first])[0] for one in objectives] == [
        255_502_624,
        5_029_656 + 1280,
        pytest.approx(13.50606, abs=1e-5),
    ]
    assert benchmark.values("error", [first])[0] == pytest.approx(1 - 0.75448, abs=2e-4)  # the mean of several


def test_objectives_are_those_that_a_search_needs(benchmark: Benchmark) -> None:
    gpus = {f"{gpu}_{batch}" for gpu in ("2080ti", "titan_rtx", "v100") for batch in (1, 32, 64)}
    assert set(benchmark.devices) == {"i7_8700k", *gpus}
    error, blocks, gpu = benchmark.objectives(["error", "latency:i7_8700k", "latency@v100_64"])
    assert [one.name for one in (error, blocks, gpu)] == ["error", "latency_ms@i7_8700k", "latency_ms@v100_64"]
    assert [one.cost for one in (error, blocks, gpu)] == ["expensive", "cheap", "cheap"]
    assert blocks.operator_costs is not None


def test_any_architecture_has_an_error(benchmark: Benchmark, first: Architecture) -> None:
    [error] = benchmark.objectives(["error"])
    assert error.evaluate([]) == []
    unseen = benchmark.space.architectures(benchmark.space.sample_choices(20, rng=np.random.default_rng(0)))
    errors = error.evaluate([first, *unseen, benchmark.space.smallest(), benchmark.space.largest()])
    assert errors[0] == pytest.approx(1 - 0.75448, abs=1e-3)
    assert errors[-2] > max(errors[:-2]) > min(errors[:-2]) > errors[-1] > 0.2
    assert error.evaluate([unseen[3]]) == pytest.approx([errors[4]])


def test_no_true_front_is_known(benchmark: Benchmark) -> None:
    objectives = benchmark.objectives(["macs", "latency:i7_8700k"])
    with pytest.raises(
        SettingsError, match="benchmark ofa_mobilenetv3 must have recorded all architectures of its space"
    ):
        Truth(benchmark, objectives)
    scaled_NM = benchmark.scale(objectives)(benchmark.values_NM(objectives))
    assert (scaled_NM.min(axis=0) == 0).all()
    np.testing.assert_allclose(scaled_NM.max(axis=0), 1)


def test_it_has_no_other_tables() -> None:
    with pytest.raises(SettingsError, match=r"table of ofa_mobilenetv3 must be left out.*mine\.csv came"):
        load_ofa_mobilenetv3(table=Path("mine.csv"))


@pytest.mark.slow
def test_errors_are_foretold_as_well_as_the_notes_say(benchmark: Benchmark) -> None:
    encoding = Encoding.of(benchmark.space)
    quality = cross_validate(
        lambda: GaussianProcess(encoding),
        benchmark.choices_NV,
        errors_N=benchmark.records["error"],
        name="gaussian_process",
        folds=5,
    )
    said = re.search(r"errors are ([\d.]+) points off on average, Kendall's tau is ([\d.]+)", " ".join(benchmark.notes))
    assert said is not None
    assert 100 * quality.mean_absolute_error == pytest.approx(float(said[1]), abs=0.003)
    assert quality.ranking.kendall == pytest.approx(float(said[2]), abs=0.003)


@pytest.mark.slow
def test_latencies_at_224_pixels_are_foretold(benchmark: Benchmark) -> None:
    """Of networks that the predictor knows, so closer than the notes say of others."""
    rows = Table.packed("ofa_mobilenetv3_latency", key="choices")
    at_224 = np.flatnonzero(rows.numbers("resolution") == 224)
    choices_NV = rows.digits(variables=45, options=3)[at_224]
    objectives = benchmark.objectives(["latency:v100_64"])
    foretold_N = score_choices(benchmark.space, objectives, choices_NV)["latency_ms@v100_64"]
    measured_N = rows.numbers("lat_v100_64_ms")[at_224]
    assert np.abs(foretold_N / measured_N - 1).mean() < 0.005
    assert (kendall(foretold_N, measured_N) or 0) > 0.98
