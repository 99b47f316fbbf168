"""How well errors of networks that were not evaluated are foretold, on published accuracies.

Usage: python tools/benchmark_predictor.py DATA_FOLDER [--json FILE] [--networks 10 30 100 300 1000] [--draws 5]
       [--space nas_bench_macro nas_bench_201 ofa_mobilenetv3] [--method …]

The folder holds `nas_bench_macro`, `nas_bench_201` and `ofa_mobilenetv3_accuracy`, each a .csv or .csv.gz. The errors are
those of CIFAR-10 (mean of three trainings), of CIFAR-100 (validation, 200 epochs; connected cells) and of ImageNet
(sub-networks of one supernet, each once; a biased sample, as searches visited them).

Protocol. A predictor is fitted on networks drawn at random and foretells others (2,000, or all the rest where there are
fewer). All methods see the same networks and the same features: options one-hot and as numbers, option counts, log MACs and
log parameters. Methods:
  gaussian_process   hwnas's default (`hwnas.predictors`)
  ridge              an additive model; its penalty by leave-one-out
  gradient_boosting  scikit-learn's, 200 trees of depth 3, rate 0.05, half of the networks a tree
  mlp_ensemble       five networks of two layers of 64, fitted by L-BFGS
  macs               multiply-accumulates alone, the more the better
All but the last predict the error to a power; the default's is part of its fit, the others' is Box and Cox's for the errors
that they are fitted on.

The JSON holds, under `spaces`, by space, number of networks and method, means over draws: `kendall`, `kendall_worst`,
`mean_absolute_error` (a fraction), `fit_seconds`, `predict_seconds_10000` and, of the default, `coverage_50`, `coverage_80`
and `coverage_90`: the share of errors within its intervals. Seconds are the processor's.
"""

import argparse
import csv
import gzip
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy
import sklearn
from scipy.stats import boxcox_normmax
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from hwnas.devices.environment import cpu_name
from hwnas.errors import DataError, HwnasError, UnknownNameError
from hwnas.predictors import Encoding, GaussianProcess
from hwnas.predictors.encoding import standardized
from hwnas.predictors.warp import PowerWarp
from hwnas.ranking import kendall

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Score = dict[str, float]

TESTED: Final = 2000
LEVELS: Final = (0.5, 0.8, 0.9)
MOST_POWER: Final = 4.0


@dataclass(frozen=True)
class PublishedSpace:
    """Networks of one space and their errors.

    Attributes:
        name: of the space.
        options: of each variable.
        choices_NV: of each network, canonical and each once.
        present_NV: which variables are of a part that is there.
        costs_NK: MACs and parameters.
        errors_N: fractions.
    """

    name: str
    options: tuple[tuple[int | str, ...], ...]
    choices_NV: IntArray
    present_NV: npt.NDArray[np.bool_]
    costs_NK: FloatArray
    errors_N: FloatArray

    @property
    def encoding(self) -> Encoding:
        """How predictors see these networks."""
        row_of = {tuple(choices): row for row, choices in enumerate(self.choices_NV.tolist())}

        def rows(choices_NV: IntArray) -> list[int]:
            return [row_of[tuple(choices)] for choices in choices_NV.tolist()]

        return Encoding(
            self.options,
            lambda choices_NV: self.present_NV[rows(choices_NV)],
            lambda choices_NV: self.costs_NK[rows(choices_NV)],
        )


def read_rows(folder: Path, stem: str) -> list[dict[str, str]]:
    """The rows of <stem>.csv or <stem>.csv.gz in `folder`. Raises DataError."""
    for path in (folder / f"{stem}.csv", folder / f"{stem}.csv.gz"):
        if path.is_file():
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
            return list(csv.DictReader(text.splitlines()))
    raise DataError(str(folder), f"must hold {stem}.csv.gz", came="it does not", do="Give the folder of published data")


def numbers(rows: Sequence[dict[str, str]], *columns: str) -> FloatArray:
    """Columns as numbers, (rows, columns). Raises DataError."""
    try:
        return np.array([[float(row[column]) for column in columns] for row in rows])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("The published data", f"must have numbers in {', '.join(columns)}", came=repr(error)) from error


def digits(rows: Sequence[dict[str, str]], column: str) -> IntArray:
    """A column of strings of digits, (rows, digits)."""
    return np.array([[int(digit) for digit in row[column]] for row in rows])


def read_nas_bench_macro(folder: Path) -> PublishedSpace:
    """NAS-Bench-Macro (Su et al., CVPR 2021)."""
    rows = read_rows(folder, "nas_bench_macro")
    choices_NV = digits(rows, "arch")
    errors_N = 1 - numbers(rows, "mean_acc")[:, 0] / 100
    there = np.ones(choices_NV.shape, dtype=bool)
    options: tuple[tuple[int | str, ...], ...] = (("identity", "k3e3", "k5e6"),) * choices_NV.shape[1]
    return PublishedSpace("nas_bench_macro", options, choices_NV, there, numbers(rows, "macs", "params"), errors_N)


def read_nas_bench_201(folder: Path) -> PublishedSpace:
    """NAS-Bench-201 (Dong & Yang, ICLR 2020), CIFAR-100, connected cells."""
    rows = [row for row in read_rows(folder, "nas_bench_201") if row["connected"] == "1"]
    choices_NV = digits(rows, "ops")
    errors_N = 1 - numbers(rows, "c100_val200_mean")[:, 0] / 100
    costs_NK = 1e6 * numbers(rows, "c100_macs_m", "c100_params_m")
    there = np.ones(choices_NV.shape, dtype=bool)
    options: tuple[tuple[int | str, ...], ...] = (("none", "skip", "conv1x1", "conv3x3", "pool"),) * 6
    return PublishedSpace("nas_bench_201", options, choices_NV, there, costs_NK, errors_N)


def read_ofa_mobilenetv3(folder: Path) -> PublishedSpace:
    """Sub-networks of Once-for-All's MobileNetV3, in the space's canonical form; of repeats the first."""
    rows = read_rows(folder, "ofa_mobilenetv3_accuracy")
    depths_NS = digits(rows, "d")
    absent_NB = np.repeat(depths_NS, 4, axis=1) <= np.tile(np.arange(4), 5)
    kernels_NB, ratios_NB = (digits(rows, "ks") - 3) // 2, np.searchsorted([3, 4, 6], digits(rows, "e"))
    blocks = [np.where(absent_NB, 0, kernels_NB), np.where(absent_NB, 0, ratios_NB)]
    choices_NV, first = np.unique(np.hstack([depths_NS - 2, *blocks]), axis=0, return_index=True)
    there_NV = np.hstack([np.ones_like(depths_NS, dtype=bool), ~absent_NB, ~absent_NB])
    options: tuple[tuple[int | str, ...], ...] = ((2, 3, 4),) * 5 + ((3, 5, 7),) * 20 + ((3, 4, 6),) * 20
    costs_NK, errors_N = numbers(rows, "macs", "params"), 1 - numbers(rows, "top1")[:, 0] / 100
    return PublishedSpace("ofa_mobilenetv3", options, choices_NV, there_NV[first], costs_NK[first], errors_N[first])


SPACES: Final[dict[str, Callable[[Path], PublishedSpace]]] = {
    "nas_bench_macro": read_nas_bench_macro,
    "nas_bench_201": read_nas_bench_201,
    "ofa_mobilenetv3": read_ofa_mobilenetv3,
}


def make_ridge(_: int) -> Any:
    """An additive model."""
    return RidgeCV(np.logspace(-2, 3, 16))


def make_gradient_boosting(seed: int) -> Any:
    """Boosted trees."""
    return GradientBoostingRegressor(
        n_estimators=200, max_depth=3, learning_rate=0.05, subsample=0.5, random_state=seed
    )


def make_mlp(seed: int) -> Any:
    """One network of the ensemble."""
    return MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1e-3, max_iter=300, solver="lbfgs", random_state=seed)


PEERS: Final[dict[str, tuple[Callable[[int], Any], int]]] = {
    "ridge": (make_ridge, 1),
    "gradient_boosting": (make_gradient_boosting, 1),
    "mlp_ensemble": (make_mlp, 5),
}
METHODS: Final = ("gaussian_process", *PEERS, "macs")


def score(space: PublishedSpace, method: str, known: IntArray, unknown: IntArray) -> Score:
    """One fit of one method."""
    errors_N = space.errors_N[unknown]
    if method == "macs":
        return {"kendall": kendall(-space.costs_NK[unknown, 0], errors_N) or 0.0}
    if method == "gaussian_process":
        return score_default(space, known, unknown)
    make, members = PEERS[method]
    groups = space.encoding.groups(space.choices_NV)
    features_NF = np.hstack([*groups[:-1], standardized(groups[-1], groups[-1][known])])
    told_N = space.errors_N[known]
    start = time.process_time()
    power = float(np.clip(boxcox_normmax(told_N / np.median(told_N), method="mle"), -MOST_POWER, MOST_POWER))
    warp = PowerWarp.of(told_N, power)
    fitted = [make(seed).fit(features_NF[known], warp.forward(told_N)) for seed in range(members)]
    between = time.process_time()
    predicted_N = warp.inverse(np.mean([one.predict(features_NF[unknown]) for one in fitted], axis=0))
    return {
        "kendall": kendall(predicted_N, errors_N) or 0.0,
        "mean_absolute_error": float(np.abs(predicted_N - errors_N).mean()),
        "fit_seconds": between - start,
        "predict_seconds_10000": (time.process_time() - between) * 10_000 / len(unknown),
    }


def score_default(space: PublishedSpace, known: IntArray, unknown: IntArray) -> Score:
    """One fit of hwnas's default."""
    predictor = GaussianProcess(space.encoding)
    errors_N, choices_NV = space.errors_N[unknown], space.choices_NV[unknown]
    start = time.process_time()
    predictor.fit(space.choices_NV[known], space.errors_N[known])
    between = time.process_time()
    predicted_N = predictor.predict(choices_NV)[0]
    found = {
        "kendall": kendall(predicted_N, errors_N) or 0.0,
        "mean_absolute_error": float(np.abs(predicted_N - errors_N).mean()),
        "fit_seconds": between - start,
        "predict_seconds_10000": (time.process_time() - between) * 10_000 / len(unknown),
    }
    for level in LEVELS:
        low_N, high_N = predictor.interval(choices_NV, level)
        found[f"coverage_{100 * level:.0f}"] = float(((low_N <= errors_N) & (errors_N <= high_N)).mean())
    return found


def benchmark(space: PublishedSpace, counts: Sequence[int], draws: int, methods: Sequence[str]) -> dict[str, Any]:
    """The results of one space, as the JSON holds them; counts that leave fewer than 100 networks are left out."""
    result: dict[str, Any] = {}
    for count in counts:
        if count + 100 > len(space.errors_N):
            continue
        found: dict[str, list[Score]] = {method: [] for method in methods}
        for seed in range(draws):
            order = np.random.default_rng(seed).permutation(len(space.errors_N))
            for method in methods:
                found[method].append(score(space, method, order[:count], order[count : count + TESTED]))
        result[str(count)] = {method: summary(scores) for method, scores in found.items()}
        for method, row in result[str(count)].items():
            line = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
            print(f"{space.name} {count} {method}: {line}", flush=True)
    return result


def summary(scores: Sequence[Score]) -> Score:
    """The mean over draws, and the worst Kendall."""
    means = {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}
    return {**means, "kendall_worst": min(one["kendall"] for one in scores)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--networks", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--space", nargs="+", default=list(SPACES))
    parser.add_argument("--method", nargs="+", default=list(METHODS))
    given = parser.parse_args(arguments)
    if min(given.networks) < 4 or given.draws < 1:
        parser.error("--networks must be 4 or more and --draws 1 or more")
    try:
        return run(given)
    except HwnasError as error:
        print(error, file=sys.stderr)
        return 2


def run(given: argparse.Namespace) -> int:
    """Every space in turn. Raises DataError, UnknownNameError."""
    for kind, names, known in (("space", given.space, SPACES), ("method", given.method, METHODS)):
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, name, known)
    start = time.perf_counter()
    spaces = {
        name: benchmark(SPACES[name](given.data), given.networks, given.draws, given.method) for name in given.space
    }
    document = {
        "spaces": spaces,
        "draws": given.draws,
        "tested": TESTED,
        "seconds": time.perf_counter() - start,
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
