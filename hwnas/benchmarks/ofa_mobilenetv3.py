"""Once-for-All's MobileNetV3 (Cai et al., ICLR 2020) on ImageNet, of which thousands of sub-networks were evaluated.

The space is `mobilenetv3` at 224 pixels, to the last multiply-accumulate. It has about 10^19 architectures and no table of
them all: what is not a sum over operators is foretold by predictors that are fitted on what was recorded.

Accuracies by DyNAS-T (Intel), latencies on GPUs for HELP (Lee et al., NeurIPS 2021), latencies of blocks on a CPU by
NSGANetV2 (Lu et al., ECCV 2020); data/README.md tells sources and licences.
"""

from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.benchmarks.benchmark import LATENCY, Benchmark, FloatArray, scored
from hwnas.benchmarks.table import Table, require_data_set
from hwnas.errors import SettingsError
from hwnas.latency import TableIdentity
from hwnas.latency.block_tables import read_block_table, table_of_blocks
from hwnas.objectives import Objective, latency, macs, parameters
from hwnas.predictors import Encoding, GaussianProcess
from hwnas.spaces import IntArray, MobileNetV3

__all__ = ["load_ofa_mobilenetv3"]

DATA_SETS: Final = ("imagenet",)
RESOLUTION: Final = 224
RESOLUTIONS: Final = (208, 212, 216, 220, 224)
"""Of the networks whose latencies the GPUs' predictors are fitted on."""
CPU: Final = "i7_8700k"
NOTES: Final = (
    "The error of any architecture is foretold by a Gaussian process that is fitted on 2,162 recorded sub-networks of one "
    "supernet, a biased sample, as five searches visited them; where a search goes beyond them it is extrapolated",
    "In five-fold cross-validation the foretold errors are 0.038 points off on average, Kendall's tau is 0.970",
    "latency:i7_8700k is a sum of published latencies of blocks, whose unit ms is inferred",
    "In five-fold cross-validation over 220 networks at 224 pixels, foretold latencies of batches of 32 and 64 are off by "
    "0.2 to 2.3 % on average (Kendall's tau 0.86 to 0.98); those of batch 1 by 8.6 % on 2080ti, 4.5 % on titan_rtx and "
    "5.2 % on v100 (0.55, 0.75 and 0.71)",
)


def load_ofa_mobilenetv3(data_set: str | None = None, *, table: Path | None = None) -> Benchmark:
    """Once-for-All's MobileNetV3 on ImageNet; any architecture of `mobilenetv3` at 3x224x224 and 1000 classes has values.

    "error" is foretold (see the notes); it stands for an evaluation, so as an objective it is expensive, while its record
    has what was measured. "macs" and "parameters" are exact. "latency:i7_8700k" is a sum of published latencies of blocks,
    and those of three GPUs at batches of 1, 32 and 64 are foretold from 1,022 whole networks at 208 to 224 pixels.
    Predictors are fitted when they are first asked. No true front is known.

    Args:
        data_set: "imagenet", the only one.
        table: None: there are no other tables of this benchmark.

    Raises:
        UnknownNameError: no such data set.
        SettingsError: `table` is given.
    """
    chosen = require_data_set("ofa_mobilenetv3", data_set, DATA_SETS)
    if table is not None:
        came = f"{table} came"
        raise SettingsError("The table of ofa_mobilenetv3", "must be left out: its objectives are foretold", came=came)
    space, rows = _space(), _recorded()
    computed = [
        replace(scored("error", "fraction", _errors), score=None),
        macs(space),
        parameters(space),
        _block_latency(space),
        *(_latency(device) for device in _networks().devices),
    ]
    return Benchmark(
        "ofa_mobilenetv3",
        "ImageNet",
        space,
        _choices(rows),
        {"error": 1 - rows.numbers("top1", high=100) / 100},
        chosen,
        DATA_SETS,
        computed={objective.name: objective for objective in computed},
        notes=NOTES,
    )


@cache
def _space() -> MobileNetV3:
    return MobileNetV3((3, RESOLUTION, RESOLUTION), 1000)


def _recorded() -> Table:
    """Sub-networks by their choices, and their top-1 accuracy in %; of one that was recorded repeatedly the mean."""
    return Table.packed("ofa_mobilenetv3_accuracy", key="choices")


def _networks() -> Table:
    """Networks by their choices, their resolution, and their latencies in ms."""
    return Table.packed("ofa_mobilenetv3_latency", key="choices")


def _choices(rows: Table) -> IntArray:
    return rows.digits(variables=len(_space().variables), options=3)


@cache
def _error_predictor() -> GaussianProcess:
    predictor, rows = GaussianProcess(Encoding.of(_space())), _recorded()
    predictor.fit(_choices(rows), 1 - rows.numbers("top1", high=100) / 100)
    return predictor


def _errors(choices_NV: IntArray) -> FloatArray:
    return _error_predictor().predict(choices_NV)[0]


@cache
def _block_latency(space: MobileNetV3) -> Objective:
    """The sum of the blocks' latencies on the CPU."""
    identity = TableIdentity(CPU, "unknown", "fp32", 1, 1, space.name, space.input_shape)
    with as_file(files("hwnas.benchmarks").joinpath(f"data/ofa_mobilenetv3_{CPU}.csv.gz")) as path:
        return latency(space, table_of_blocks(read_block_table(path), space, identity, path=path))


def _latency(device: str) -> Objective:
    """The latency that is foretold on a GPU."""

    def score(choices_NV: IntArray) -> FloatArray:
        return _latency_predictor(device).predict(_at(choices_NV, RESOLUTION))[0]

    return scored(LATENCY + device, "ms", score)


@cache
def _latency_predictor(device: str) -> GaussianProcess:
    rows = _networks()
    predictor = GaussianProcess(_with_resolution(Encoding.of(_space())))
    predictor.fit(_at(_choices(rows), rows.numbers("resolution")), rows.numbers(rows.devices[device]))
    return predictor


def _at(choices_NV: IntArray, resolutions: npt.ArrayLike) -> IntArray:
    """The choices with that of the resolution behind them."""
    chosen_N = np.broadcast_to(np.searchsorted(RESOLUTIONS, resolutions), len(choices_NV))
    return np.column_stack([choices_NV, chosen_N])


def _with_resolution(encoding: Encoding) -> Encoding:
    """`encoding` of choices that end with the resolution: MACs grow with its square, parameters do not grow."""
    growth_RK = np.column_stack([(np.array(RESOLUTIONS) / RESOLUTION) ** 2, np.ones(len(RESOLUTIONS))])
    return Encoding(
        (*encoding.options, RESOLUTIONS),
        lambda choices_NV: np.pad(encoding.present(choices_NV[:, :-1]), ((0, 0), (0, 1)), constant_values=True),
        lambda choices_NV: encoding.costs(choices_NV[:, :-1]) * growth_RK[choices_NV[:, -1]],
    )
