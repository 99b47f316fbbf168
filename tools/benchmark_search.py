"""How many evaluations does a search need? Strategies, and other libraries' searches, on published tables.

Everyone asks the same oracle. What is counted is distinct architectures; asking again is free, but a search is ended that
asks for 1,000 in a row of which none is new; it keeps what it has. Measured is the hypervolume of what was evaluated, as a
share of that of the true front: objectives are scaled to [0, 1] over the architectures that the benchmark considers, and 1
is the reference point. nas_bench_201 is searched with the bound error <= 0.6, which all are told in their own way.

Ours are the strategies of hwnas, and know the cheap objectives beforehand, as in any search. Peers are other libraries'
searches, which come with the extra `bench` and are left out where they are not installed. Seconds are a processor's, with
one thread, of a whole search without the oracle.

The JSON holds `true_hypervolume`, `budgets` and, under `strategies`, for each by name: `mean` and `worst` share at each
budget, `per_seed` (a list over budgets for each seed), `evaluations_to_reach` (for each share the `mean` and the `worst`,
null where a seed does not reach it, and `per_seed`), `seconds`, `seconds_per_seed`, `options`, and `curves` (for each seed
the shares at `curve_evaluations`). It is written after each search; with --resume those in it are not run again.

Example: python tools/benchmark_search.py --benchmark nas_bench_201 --dataset cifar100
         --objectives error,latency:titan_rtx_1,macs --strategy ours,pymoo_nsga2 --json found.json --plot found.svg
"""

import argparse
import itertools
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from operator import call
from pathlib import Path
from typing import Any, Final

from search_curves import PLOTS, draw, markdown
from search_peers import PEERS
from search_scores import Options, Run, Setting, runs_of, search, summary, truth_of

from hwnas.devices.environment import cpu_name
from hwnas.errors import HwnasError, SettingsError, UnknownNameError
from hwnas.files import first_difference, read_json, write_json
from hwnas.plugins import plugin_origins
from hwnas.strategies import STRATEGIES, make_strategy

SCHEMA_VERSION: Final = 1
BOUNDS: Final[dict[str, dict[str, float]]] = {"nas_bench_201": {"error": 0.6}}
LIBRARIES: Final = ("numpy", "torch", "pymoo", "optuna", "botorch", "gpytorch")
OPTION_EXAMPLE: Final = "nsga2.population_size=20"
GROUPS: Final = ("all", "ours", "peers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison."""
    try:
        run(parse(arguments))
    except HwnasError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(given: argparse.Namespace) -> None:
    """All searches in turn. Raises HwnasError."""
    for name in ("evaluations", "seeds", "processes"):
        if getattr(given, name) < 1:
            raise SettingsError(f"--{name}", "must be 1 or more", came=f"{getattr(given, name)} came")
    if given.plot and given.plot.suffix not in PLOTS:
        raise SettingsError("--plot", f"must end in {' or '.join(PLOTS)}", came=f"{given.plot} came")
    setting = setting_of(given)
    options = options_of(given.option)
    names = chosen(listed(given.strategy), options, setting)
    document = begin(setting, given.json, resume=given.resume)
    if given.json:
        write_json(given.json, document, indent=None)  # before hours are spent, not after
    jobs = list(missing_searches(document, setting, names, options, given.seeds))
    finished = outcomes([job for _, _, job in jobs], given.processes)
    for (name, seed, _), outcome in zip(jobs, finished, strict=True):
        earlier = runs_of(document["strategies"][name]) if seed else []
        document["strategies"][name] = summary([*earlier, outcome], setting, options.get(name, {}))
        if given.json:
            write_json(given.json, document, indent=None)
        print(f"{name}, seed {seed}: {outcome.curve[-1]:.4f} in {outcome.seconds:.1f} s", flush=True)
    print(markdown(document))
    if given.plot:
        draw(document, given.plot)


def setting_of(given: argparse.Namespace) -> Setting:
    """What the command line asks for. Raises HwnasError."""
    objectives = tuple(listed([given.objectives]))
    usual = {name: bound for name, bound in BOUNDS.get(given.benchmark, {}).items() if name in objectives}
    bounds = {**usual, **pairs_of("--bound", given.bound, "error=0.5")}
    return Setting(given.benchmark, given.dataset, objectives, tuple(bounds.items()), given.table, given.evaluations)


def listed(texts: Iterable[str]) -> list[str]:
    """Names that are separated by commas."""
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def pairs_of(argument: str, texts: Iterable[str], example: str) -> dict[str, float]:
    """Numbers by name, from NAME=NUMBER. Raises SettingsError."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = int(value) if value.strip().isdecimal() else float(value)
        except ValueError:
            found[name.strip()] = math.nan
        if not math.isfinite(found[name.strip()]):
            raise SettingsError(argument, f"must be a name and a number, such as {example}", came=f"{text!r} came")
    return found


def options_of(texts: Iterable[str]) -> dict[str, Options]:
    """Options by strategy, from STRATEGY.OPTION=NUMBER. Raises SettingsError."""
    found: dict[str, dict[str, float]] = {}
    for path, value in pairs_of("--option", texts, OPTION_EXAMPLE).items():
        strategy, dot, option = path.partition(".")
        if not dot:
            must = f"must name a strategy and its option, such as {OPTION_EXAMPLE}"
            raise SettingsError("--option", must, came=f"{path!r} came")
        found.setdefault(strategy, {})[option] = value
    return dict(found)


def missing_searches(
    document: Mapping[str, Any], setting: Setting, names: Sequence[str], options: Mapping[str, Options], seeds: int
) -> Iterator[tuple[str, int, Callable[[], Run]]]:
    """What the document lacks: strategy, seed, and the search to call. Raises SettingsError."""
    for name in names:
        entry, given = document["strategies"].get(name), dict(options.get(name, {}))
        if entry is not None and entry["options"] != given:
            must = f"must have been searched with the options {given} to be gone on with"
            raise SettingsError(name, must, came=f"they were {entry['options']}", do="Name another file")
        for seed in range(len(entry["curves"]) if entry else 0, seeds):
            yield name, seed, partial(search, setting, name, given, seed)


def outcomes(jobs: Sequence[Callable[[], Run]], processes: int) -> Iterator[Run]:
    """The searches' outcomes in order, each as it comes."""
    if processes == 1:
        yield from map(call, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(call, jobs)


def describe(setting: Setting) -> dict[str, Any]:
    """What the figures are of; a comparison is gone on with where all of this is the same."""
    truth = truth_of(setting)
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": setting.benchmark,
        "dataset": truth.benchmark.data_set,
        "objectives": [objective.name for objective in truth.objectives],
        "bounds": {one.name: one.bound for one in truth.objectives if one.bound is not None},
        "table": None if setting.table is None else str(setting.table),
        "evaluations": setting.evaluations,
        "true_hypervolume": truth.hypervolume,
        "true_front": len(truth.front),
        "budgets": setting.budgets,
        "curve_evaluations": setting.curve_evaluations,
    }


def machine() -> dict[str, Any]:
    """Where and with what the seconds were measured."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def begin(setting: Setting, path: Path | None, *, resume: bool) -> dict[str, Any]:
    """The document, with the strategies that are in the file if it is to be gone on with. Raises HwnasError."""
    document = {**describe(setting), **machine(), "strategies": {}}
    if path is None or not (resume and path.exists()):
        return document
    stored = read_json(path, kind="comparison of searches", schema_version=SCHEMA_VERSION)
    different = first_difference(stored, describe(setting))
    if different is not None:
        key, old, new = different
        must = f"must be of {key} = {new!r} to be gone on with"
        raise SettingsError(str(path), must, came=f"it is of {old!r}", do="Name another file")
    return {**document, "strategies": stored.get("strategies", {})}


def chosen(names: Sequence[str], options: Mapping[str, Options], setting: Setting) -> list[str]:
    """The strategies named, or in the groups named, that can run here. Raises HwnasError."""
    ours = [*STRATEGIES, *plugin_origins("hwnas.strategies")]
    groups = {"all": [*ours, *PEERS], "ours": ours, "peers": list(PEERS)}
    for name in (*names, *options):
        if name not in {*groups, *ours, *PEERS} or (name in options and name not in ours):
            raise UnknownNameError("strategy", name, ours if name in options else {*groups, *ours, *PEERS})
    found = []
    for name in dict.fromkeys(itertools.chain(*(groups.get(one, [one]) for one in names))):
        reason = missing(name) if name in PEERS else refusal(name, options.get(name, {}), setting)
        if isinstance(reason, HwnasError) and name in names:
            raise reason
        if reason is None:
            found.append(name)
        else:
            print(f"{name} is left out: {reason}", flush=True)
    for name in options.keys() - set(found):
        raise SettingsError("--option", "must be of a strategy that is run", came=f"{name} is not")
    if not found:
        raise SettingsError("--strategy", "must name one that can run here", came="none of those named can")
    return found


def missing(peer: str) -> str | None:
    """Why a peer cannot run."""
    packages = " and ".join(PEERS[peer].missing)
    return f"it needs {packages}. Install the extra: pip install 'hwnas[bench]'" if packages else None


def refusal(strategy: str, options: Options, setting: Setting) -> HwnasError | None:
    """What a strategy says against searching this."""
    truth = truth_of(setting)
    try:
        make_strategy(strategy, truth.benchmark.space, truth.objectives, seed=0, options=options)
    except HwnasError as error:
        return error
    return None


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="nas_bench_201")
    parser.add_argument("--dataset", help="default: the benchmark's first")
    parser.add_argument("--objectives", default="error,macs", help="such as error,latency:titan_rtx_1,macs")
    parser.add_argument(
        "--strategy", action="append", help=f"names, separated by commas or repeated; also {', '.join(GROUPS)}"
    )
    parser.add_argument("--option", action="append", default=[], help=f"of one of ours, such as {OPTION_EXAMPLE}")
    parser.add_argument("--bound", action="append", default=[], help="of an objective, such as error=0.5")
    parser.add_argument("--evaluations", type=int, default=500, help="distinct architectures a search")
    parser.add_argument("--seeds", type=int, default=10, help="searches a strategy, from seed 0 up")
    parser.add_argument("--processes", type=int, default=1, help="searches at a time")
    parser.add_argument("--table", type=Path, help="a csv of the published columns, in place of the published one")
    parser.add_argument("--json", type=Path, help="where results are written after each search")
    parser.add_argument("--resume", action="store_true", help="go on with what --json holds")
    parser.add_argument("--plot", type=Path, help="where the shares are drawn, .svg or .png")
    given = parser.parse_args(arguments)
    given.strategy = given.strategy or ["all"]
    return given


if __name__ == "__main__":
    raise SystemExit(main())
