"""How well a device is predicted from a few measured networks, on published latencies; one device family left out in turn.

Usage: python tools/benchmark_adaptation.py --data ../shared/data [--json FILE] [--networks 10 30 100] [--draws 5]
       [--space nas_bench_201 fbnet ofa_mobilenetv3] [--families line|device]

The data are `nas_bench_201`, `fbnet_latency` and `ofa_mobilenetv3_latency`, each a .csv or .csv.gz. Every column
`lat_<device>_ms` is a device setting, so a column that is added is tried without a change here.

Families. By `line` (the default, the stricter) settings after the device's name (batch size, precision, threads) and the
number of its model are dropped: titan_rtx_1 and titan_rtx_256 are one family, and so are gold_6226 and gold_6240, pixel2 and
pixel3. By `device` only the settings are dropped: gold_6226 and gold_6240 are two. The published baselines are by device.

Protocol. For each setting in turn all of its family is hidden, its latency is measured (read) for some networks, and all
others are predicted; only networks not measured are scored. Disconnected cells of NAS-Bench-201 are left out throughout.
Nothing is fitted to the hidden family but the networks measured. Methods:
  chosen   hwnas's default: the networks to measure are chosen for what they tell (D-optimal), before any is measured
  random   the same prediction from networks drawn at random
  table    additive costs of operators (`adapt_costs`), as a latency table holds them, from the chosen networks; the basis is
           five known settings drawn at random, each as costs of operators too; for the spaces whose networks are choices of
           one operator a place
  ridge    plain ridge on the principal components of the known settings' log latencies, random networks
  mean     the mean of the known settings, each divided by its own mean, and a line fitted to random networks
  macs     multiply-accumulates, where they are known, and a line fitted to random networks

The JSON holds, under `spaces`, by space and number of networks, `mean_spearman`, `worst_spearman`, `median_error`
(relative, the mean over settings of each one's median), `interval_coverage` (of nominally 90 % intervals) and the same by
device for the default, each a mean over draws; under `methods` the same for every method.
"""

import argparse
import csv
import gzip
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from hwnas.devices.environment import cpu_name
from hwnas.errors import DataError, HwnasError, UnknownNameError
from hwnas.latency.adaptation import adapt_costs, cost_features
from hwnas.latency.transfer import NetworkBasis, Reading, build_basis, choose_networks, transfer_latencies

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.integer]
Predicted = tuple[FloatArray, FloatArray | None]  # mean and reach of the 90 % interval, in ms

MARKS: Final = r"b\d+|bs\d+|batch\d+|t\d+|\d+t|threads\d+|fp16|fp32|bf16|int8"
SETTING: Final = re.compile(rf"(_(\d+|{MARKS}))+$")
BATCH: Final = re.compile(rf"(_(1|2|4|8|16|32|64|128|256|512|{MARKS}))+$")
CELL_EDGES: Final = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
BASIS_DEVICES: Final = 5
COVERAGE: Final = 0.9


@dataclass(frozen=True)
class PublishedSpace:
    """Networks of one space and their latencies.

    Attributes:
        devices: the settings, one a column of latencies.
        latencies_ms_NK: (networks, settings).
        readings: of the networks' structure.
        macs_N: multiply-accumulates in any unit, where known.
        counts_NO: how often each operator is in each network, where a network is one choice of operator a place.
    """

    name: str
    devices: tuple[str, ...]
    latencies_ms_NK: FloatArray
    readings: tuple[Reading, ...]
    macs_N: FloatArray | None = None
    counts_NO: FloatArray | None = None


def line_of(setting: str) -> str:
    """The family of a setting, with all models of its line: "gold" for "gold_6226", "pixel" for "pixel2"."""
    name = SETTING.sub("", setting)
    return name.rstrip("0123456789").rstrip("_") or name


def device_of(setting: str) -> str:
    """The family of a setting, which is the device alone: "titan_rtx" for "titan_rtx_256"."""
    return BATCH.sub("", setting)


FAMILIES: Final[dict[str, Callable[[str], str]]] = {"line": line_of, "device": device_of}


def read_rows(folder: Path, stem: str) -> list[dict[str, str]]:
    """The rows of <stem>.csv or <stem>.csv.gz in `folder`. Raises DataError."""
    for path in (folder / f"{stem}.csv", folder / f"{stem}.csv.gz"):
        if not path.is_file():
            continue
        try:
            with (
                gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file
            ):
                rows = list(csv.DictReader(file))
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(str(path), "must be a readable CSV file", came=f"reading it says: {error}") from error
        if not rows:
            raise DataError(str(path), "must have rows", came="it has none")
        return rows
    raise DataError(
        str(folder), f"must hold {stem}.csv.gz", came="it does not", do="Give the folder of the published data: --data"
    )


def read_latencies(rows: Sequence[dict[str, str]], stem: str) -> tuple[tuple[str, ...], FloatArray]:
    """The settings and latencies of every column `lat_<device>_ms`. Raises DataError."""
    columns = [name for name in rows[0] if name and re.fullmatch(r"lat_.+_ms", name)]
    if not columns:
        raise DataError(stem, "must have a column lat_<device>_ms", came="it has none")
    latencies_NK = np.column_stack([numbers(rows, name, stem) for name in columns])
    for name, least in zip(columns, latencies_NK.min(axis=0), strict=True):
        if least <= 0:
            raise DataError(f"{stem}: {name}", "must be positive", came=f"{least:g} came")
    return tuple(name[len("lat_") : -len("_ms")] for name in columns), latencies_NK


def numbers(rows: Sequence[dict[str, str]], column: str, stem: str) -> FloatArray:
    """One column as finite numbers. Raises DataError that names the first row that is not."""
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        try:
            values[index] = float(row[column])
        except (KeyError, TypeError, ValueError):
            values[index] = np.nan
        if not np.isfinite(values[index]):
            raise DataError(
                f"{stem}: row {index + 1}", f"must have a number in {column}", came=f"{row.get(column)!r} came"
            )
    return values


def digits(rows: Sequence[dict[str, str]], column: str, stem: str) -> npt.NDArray[np.int64]:
    """A column of equally long strings of digits, one integer a digit, (rows, digits). Raises DataError."""
    texts = [row.get(column) or "" for row in rows]
    if len({len(text) for text in texts}) != 1 or not all(text.isdecimal() for text in texts):
        raise DataError(
            f"{stem}: {column}", "must hold equally long strings of digits", came=f"{texts[0]!r} came first"
        )
    return np.array([list(map(int, text)) for text in texts])


def one_hot(choices_NP: npt.NDArray[np.int64], options: Sequence[Sequence[int]] | None = None) -> FloatArray:
    """One column for each place and each option there."""
    options = options or [sorted(set(column.tolist())) for column in choices_NP.T]
    columns = [choices_NP[:, place] == option for place, known in enumerate(options) for option in known]
    return np.array(columns, dtype=np.float64).T


def with_pairs(choices_NP: npt.NDArray[np.int64], options: Sequence[Sequence[int]]) -> FloatArray:
    """`one_hot`, and the products of every two columns of different places."""
    columns_NF = one_hot(choices_NP, options)
    place_F = np.repeat(np.arange(len(options)), [len(known) for known in options])
    first, second = np.nonzero(place_F[:, None] < place_F[None])
    return np.hstack([columns_NF, columns_NF[:, first] * columns_NF[:, second]])


def without_unused(operators_NE: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Cells in which operators (0 is none) that the output does not depend on are none, as a compiler may drop them."""
    used = operators_NE != 0
    needed: dict[int, npt.NDArray[np.bool_]] = {3: np.ones(len(operators_NE), dtype=bool)}
    for node in (2, 1, 0):
        leaving = [used[:, edge] & needed[end] for edge, (start, end) in enumerate(CELL_EDGES) if start == node]
        needed[node] = np.logical_or.reduce(leaving)
    needed_NE = np.column_stack([needed[end] for _, end in CELL_EDGES])
    return np.where(needed_NE, operators_NE, 0)


def read_nas_bench_201(folder: Path) -> PublishedSpace:
    """The connected cells of NAS-Bench-201, as written and without operators that the output does not need."""
    stem = "nas_bench_201"
    rows = [row for row in read_rows(folder, stem) if row.get("connected") != "0"]
    if not rows:
        raise DataError(stem, "must have connected cells", came="it has none")
    devices, latencies = read_latencies(rows, stem)
    written = digits(rows, "ops", stem)
    options = [sorted({0, *column.tolist()}) for column in written.T]
    readings = [
        Reading(one_hot(cells, options), with_pairs(cells, options)) for cells in (written, without_unused(written))
    ]
    macs = numbers(rows, "c10_macs_m", stem) if "c10_macs_m" in rows[0] else None
    return PublishedSpace("nas_bench_201", devices, latencies, tuple(readings), macs, readings[0].structure_NF)


def read_fbnet(folder: Path) -> PublishedSpace:
    """Networks of the FBNet space: one operator for each of 22 layers."""
    rows = read_rows(folder, "fbnet_latency")
    devices, latencies = read_latencies(rows, "fbnet_latency")
    structure = one_hot(digits(rows, "ops", "fbnet_latency"))
    return PublishedSpace("fbnet", devices, latencies, (Reading(structure),), None, structure)


def read_ofa_mobilenetv3(folder: Path) -> PublishedSpace:
    """Once-for-All MobileNetV3: depths, the kernel and expansion of blocks that exist, and the resolution."""
    stem = "ofa_mobilenetv3_latency"
    rows = read_rows(folder, stem)
    devices, latencies = read_latencies(rows, stem)
    depths = digits(rows, "d", stem)
    blocks = 10 * digits(rows, "ks", stem) + digits(rows, "e", stem)
    place = np.tile(np.arange(blocks.shape[1] // depths.shape[1]), depths.shape[1])
    exists = place < np.repeat(depths, blocks.shape[1] // depths.shape[1], axis=1)
    resolution = numbers(rows, "r", stem)
    size = (resolution - resolution.mean()) / max(float(resolution.std()), 1.0) * 3
    structure = np.hstack([one_hot(depths), one_hot(np.where(exists, blocks, 0)), np.column_stack([size, size**2 / 3])])
    return PublishedSpace("ofa_mobilenetv3", devices, latencies, (Reading(structure),))


SPACES: Final[dict[str, Callable[[Path], PublishedSpace]]] = {
    "nas_bench_201": read_nas_bench_201,
    "fbnet": read_fbnet,
    "ofa_mobilenetv3": read_ofa_mobilenetv3,
}


class Family:
    """One family left out: what the methods may know of the other devices, and what they predict from it."""

    def __init__(self, space: PublishedSpace, known: Sequence[int]) -> None:
        self.space = space
        self.known_ms_NK = space.latencies_ms_NK[:, known]
        self.basis: NetworkBasis = build_basis(self.known_ms_NK, space.readings)
        self.spread_NF = self.basis.spread_NF()
        log_NK = np.log(self.known_ms_NK)
        log_NK -= log_NK.mean(axis=0)
        self.components_NP = log_NK @ np.linalg.eigh(log_NK.T @ log_NK)[1]
        self.components_NP /= max(float(self.components_NP[:, -1].std()), np.finfo(np.float64).tiny)
        self.mean_N: FloatArray = (self.known_ms_NK / self.known_ms_NK.mean(axis=0)).mean(axis=1)
        self.costs_KO = None if space.counts_NO is None else operator_costs(space.counts_NO, self.known_ms_NK)

    def methods(self) -> list[str]:
        """Those that this space allows."""
        table, macs = self.costs_KO is not None, self.space.macs_N is not None
        return ["chosen", "random", *["table"] * table, "ridge", "mean", *["macs"] * macs]

    def choose(self, method: str, count: int, seed: int) -> tuple[IndexArray, FloatArray | None]:
        """The networks to measure, and the basis of costs where the method has one."""
        rng = np.random.default_rng(seed)
        if method == "table" and self.costs_KO is not None and self.space.counts_NO is not None:
            drawn = rng.choice(len(self.costs_KO), min(BASIS_DEVICES, len(self.costs_KO)), replace=False)
            features = cost_features(self.space.counts_NO, basis_ms_KO=self.costs_KO[drawn])
            return choose_networks(features, count, rng=rng), self.costs_KO[drawn]
        if method == "chosen":
            return choose_networks(self.spread_NF, count, rng=rng), None
        return rng.choice(len(self.spread_NF), count, replace=False), None

    def predict(self, method: str, measured: IndexArray, ms: FloatArray, costs_KO: FloatArray | None) -> Predicted:
        """All networks, from some that were measured."""
        if method == "table" and self.space.counts_NO is not None:
            adapted = adapt_costs(self.space.counts_NO[measured], ms, basis_ms_KO=costs_KO)
            low_N, high_N = adapted.interval(self.space.counts_NO, coverage=COVERAGE)
            return adapted.predict(self.space.counts_NO)[0], (high_N - low_N) / 2
        if method in ("chosen", "random"):
            found = transfer_latencies(self.basis, measured, ms)
            return found.mean_ms_N, found.std_ms_N * float(stats.t.ppf((1 + COVERAGE) / 2, measured.size))
        if method == "ridge":
            return np.exp(ridge(self.components_NP, measured, np.log(ms), penalty=0.1)), None
        plain_N = self.space.macs_N if method == "macs" and self.space.macs_N is not None else self.mean_N
        slope, offset = np.polyfit(plain_N[measured], ms, 1) if np.ptp(plain_N[measured]) > 0 else (0.0, ms.mean())
        return abs(slope) * plain_N + offset, None  # a line through noise may fall; more work never takes less time


def operator_costs(counts_NO: FloatArray, latencies_ms_NK: FloatArray) -> FloatArray:
    """Additive costs of operators, not negative, that fit each setting best, (K, O): the tables of known devices."""
    operators = counts_NO.shape[1]
    upper_OO = np.linalg.cholesky(counts_NO.T @ counts_NO + np.eye(operators)).T
    targets_OK = np.linalg.solve(upper_OO.T, counts_NO.T @ latencies_ms_NK)
    return np.array([optimize.nnls(upper_OO, target_O, maxiter=100 * operators)[0] for target_O in targets_OK.T])


def ridge(features_NP: FloatArray, measured: IndexArray, targets: FloatArray, *, penalty: float) -> FloatArray:
    """Ridge regression with a free intercept, evaluated at every row."""
    chosen = features_NP[measured]
    centred = chosen - chosen.mean(axis=0)
    gram = centred.T @ centred + penalty * np.eye(chosen.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (targets - targets.mean()))
    predicted: FloatArray = (features_NP - chosen.mean(axis=0)) @ weights + targets.mean()
    return predicted


def score(predicted: Predicted, measured: IndexArray, true_ms_N: FloatArray) -> dict[str, float]:
    """Quality on the networks that were not measured."""
    unseen_N = np.ones(len(true_ms_N), dtype=bool)
    unseen_N[measured] = False
    mean, true = predicted[0][unseen_N], true_ms_N[unseen_N]
    varies = np.ptp(mean) > 0 and np.ptp(true) > 0
    found = {
        "spearman": float(stats.spearmanr(mean, true).statistic) if varies else 0.0,
        "median_error": float(np.median(np.abs(mean / true - 1))),
    }
    if predicted[1] is not None:
        found["interval_coverage"] = float(np.mean(np.abs(mean - true) <= predicted[1][unseen_N]))
    return found


def benchmark(
    space: PublishedSpace, networks: Sequence[int], draws: int, family_of: Callable[[str], str]
) -> dict[str, Any]:
    """The results of one space, as the JSON holds them. Raises DataError."""
    families = [family_of(device) for device in space.devices]
    if len(set(families)) < 2:
        raise DataError(
            space.name, "must have devices of two families", came=f"there is {', '.join(set(families))} alone"
        )
    if max(networks) >= len(space.latencies_ms_NK):
        raise DataError(
            space.name, "must have networks that are not measured", came=f"all {len(space.latencies_ms_NK)} would be"
        )
    scores: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for family in sorted(set(families)):
        left_out = Family(space, [index for index, other in enumerate(families) if other != family])
        hidden = [index for index, other in enumerate(families) if other == family]
        for count in networks:
            for seed in range(draws):
                for method in left_out.methods():
                    measured, costs_KO = left_out.choose(method, count, seed)
                    for index in hidden:
                        true_N = space.latencies_ms_NK[:, index]
                        predicted = left_out.predict(method, measured, true_N[measured], costs_KO)
                        key = (count, method, space.devices[index])
                        scores.setdefault(key, []).append(score(predicted, measured, true_N))
    methods = list(dict.fromkeys(method for _, method, _ in scores))
    result: dict[str, Any] = {}
    for count in networks:
        by_method = {method: summary({d: scores[count, method, d] for d in space.devices}) for method in methods}
        result[str(count)] = {**by_method["chosen"], "methods": by_method}
    return result


def summary(scores: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The mean over draws of each device, and over devices of those."""
    by_device = {
        device: {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
        for device, draws in scores.items()
    }
    result: dict[str, Any] = {
        "mean_spearman": float(np.mean([found["spearman"] for found in by_device.values()])),
        "worst_spearman": min(found["spearman"] for found in by_device.values()),
        "median_error": float(np.mean([found["median_error"] for found in by_device.values()])),
    }
    if all("interval_coverage" in found for found in by_device.values()):
        result["interval_coverage"] = float(np.mean([found["interval_coverage"] for found in by_device.values()]))
    return {**result, "devices": by_device}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--networks", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--space", nargs="+", default=list(SPACES))
    parser.add_argument("--families", choices=sorted(FAMILIES), default="line")
    given = parser.parse_args(arguments)
    if min(given.networks) < 1 or given.draws < 1:
        parser.error("--networks and --draws must be 1 or more")
    try:
        return run(given)
    except HwnasError as error:
        print(error, file=sys.stderr)
        return 2


def run(given: argparse.Namespace) -> int:
    """Every space in turn. Raises DataError, UnknownNameError."""
    for name in given.space:
        if name not in SPACES:
            raise UnknownNameError("space", name, SPACES)
    start = time.perf_counter()
    found: dict[str, Any] = {}
    families: dict[str, dict[str, str]] = {}
    print(f"{'space':16}{'networks':>9} {'method':8}{'mean rho':>9}{'worst rho':>10}{'error':>8}{'coverage':>10}")
    for name in given.space:
        space = SPACES[name](given.data)
        by_count = benchmark(space, given.networks, given.draws, FAMILIES[given.families])
        for count, result in by_count.items():
            for method, row in result["methods"].items():
                line = f"{name:16}{count:>9} {method:8}{row['mean_spearman']:9.4f}{row['worst_spearman']:10.3f}"
                coverage = f"{row['interval_coverage']:10.1%}" if "interval_coverage" in row else ""
                print(f"{line}{row['median_error']:8.1%}{coverage}", flush=True)
        found[name] = by_count
        families[name] = {device: FAMILIES[given.families](device) for device in space.devices}
    document = {
        "spaces": found,
        "draws": given.draws,
        "families_by": given.families,
        "families": families,
        "default_method": "chosen",
        "seconds": time.perf_counter() - start,
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
