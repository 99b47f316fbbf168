"""Networks that grow by morphisms against random ones that were trained for as long.

lemonade and nash begin with small networks of convnet and let each child start from its parent's weights; random
architectures of the same space are each trained from scratch, for each of several numbers of epochs. All get the same
time, counted in seconds of the processor, so that what else the machine does matters little, and each way of searching is
a process of one thread. Fronts of validation error against size are compared, and the errors of their members on the test
part, which no search has seen.

The JSON holds what each way has `found`, by its name, and under `dominated` which share of a random front's members some
member of another front is at least as good as. It is written as the ways end.

Example: python tools/benchmark_morphisms.py --seconds 150 --json morphisms.json
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from hwnas.devices.environment import cpu_name
from hwnas.errors import HwnasError
from hwnas.files import write_json
from hwnas.front import Candidate, Evaluation, ParetoFront, hypervolume, pareto_front
from hwnas.objectives import Objective, error, macs, parameters
from hwnas.spaces import ConvNet, SearchSpace
from hwnas.strategies import make_strategy
from hwnas.training import ImageData, NetworkEvaluator, TrainingSettings, accuracy, load_data

SCHEMA_VERSION: Final = 1
COSTS: Final[dict[str, Callable[[SearchSpace], Objective]]] = {"parameters": parameters, "macs": macs}
WORST_ERROR: Final = 0.2
"""Of the hypervolume's reference point; the cost is scaled from the smallest to the largest network's, as a logarithm."""


class Contest:
    """What all ways of searching have in common.

    Args:
        given: the command line.
        data: to train on.
    """

    def __init__(self, given: argparse.Namespace, data: ImageData) -> None:
        self.given = given
        self.data = data
        self.space = ConvNet(data.input_shape, data.num_classes)
        self.cost = COSTS[given.cost](self.space)
        self.settings = TrainingSettings(batch_size=given.batch_size, learning_rate=given.learning_rate)

    def grown(self, strategy: str, folder: Path) -> dict[str, Any]:
        """The front of a strategy whose networks start from their parents."""
        evaluator = self._evaluator(folder, self.given.epochs, inherits=True)
        objectives = [error(evaluator.errors), self.cost]
        asked = make_strategy(strategy, self.space, objectives, seed=self.given.seed)

        def rounds() -> Iterator[tuple[Candidate, Callable[[Evaluation], None]]]:
            while candidates := asked.ask():
                answers: list[Evaluation] = []
                for candidate in candidates:
                    yield candidate, answers.append
                asked.tell(answers)

        return self._run(evaluator, rounds())

    def random(self, epochs: int, folder: Path) -> dict[str, Any]:
        """The front of random architectures, each trained from scratch."""
        rng = np.random.default_rng(self.given.seed)
        evaluator = self._evaluator(folder, epochs, inherits=False)
        chosen = (Candidate(self.space.sample(rng)) for _ in range(1_000_000))
        return self._run(evaluator, ((candidate, lambda _evaluation: None) for candidate in chosen))

    def _evaluator(self, folder: Path, epochs: int, *, inherits: bool) -> NetworkEvaluator:
        return NetworkEvaluator(
            self.space,
            self.data,
            folder,
            settings=self.settings,
            epochs=epochs,
            inherits=inherits,
            seed=self.given.seed,
            device="cpu",
        )

    def _run(
        self, evaluator: NetworkEvaluator, asked: Iterator[tuple[Candidate, Callable[[Evaluation], None]]]
    ) -> dict[str, Any]:
        """Evaluates what is asked for until the time is over."""
        found: list[Evaluation] = []
        start = time.process_time()
        for candidate, answer in asked:
            found.append(self._evaluated(evaluator, candidate))
            answer(found[-1])
            if time.process_time() - start > self.given.seconds:
                break
        front = pareto_front(found, [error(evaluator.errors), self.cost])
        return {
            "evaluations": len(found),
            "failed": sum(one.failure is not None for one in found),
            "seconds": round(time.process_time() - start, 1),
            "hypervolume": self._hypervolume(front),
            "front": [self._member(evaluator, one) for one in front],
        }

    def _evaluated(self, evaluator: NetworkEvaluator, candidate: Candidate) -> Evaluation:
        try:
            found = evaluator.error(candidate.architecture, candidate.parent)
        except HwnasError as failure:
            return Evaluation(candidate, failure=str(failure))
        return Evaluation(candidate, {"error": found, self.cost.name: self.cost.evaluate([candidate.architecture])[0]})

    def _member(self, evaluator: NetworkEvaluator, one: Evaluation) -> dict[str, Any]:
        network = evaluator.network(one.architecture)
        return {
            "error": one.values["error"],
            "test_error": 1 - accuracy(network, self.data, self.data.test),
            self.cost.name: one.values[self.cost.name],
            "architecture": self.space.describe(one.architecture),
        }

    def _hypervolume(self, front: ParetoFront) -> float:
        least, most = np.log(self.cost.evaluate([self.space.smallest(), self.space.largest()]))
        values_NM = front.values_NM
        scaled_NM = np.column_stack([values_NM[:, 0] / WORST_ERROR, (np.log(values_NM[:, 1]) - least) / (most - least)])
        return hypervolume(scaled_NM, [1.0, 1.0])


def share_dominated(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], *, names: Sequence[str]) -> float:
    """The share of their front's members that some member of ours is at least as good as in all of `names`."""

    def values(front: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
        return np.array([[member[name] for name in names] for member in front])

    beaten_NP = np.all(values(ours)[None] <= values(theirs)[:, None], axis=2)
    return float(np.mean(np.any(beaten_NP, axis=1)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches, compares, prints, and writes JSON."""
    given = parse(arguments)
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "machine": {
            "cpu": cpu_name(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "setting": {name: value for name, value in vars(given).items() if name != "json"},
        "found": {},
        "dominated": {},
    }
    for name, found in outcomes(given):
        document["found"][name] = found
        document["dominated"] = dominated(document["found"], given.strategies, cost=given.cost)
        show(name, found, given.cost)
        if given.json:
            write_json(given.json, document)
    for name, shares in document["dominated"].items():
        print(f"{name}: {shares['error']:.0%} of its front dominated ({shares['test_error']:.0%} on test)")


def outcomes(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each way of searching found, with its name, as they end."""
    ways = {f"random, {epochs} epochs": epochs for epochs in given.random_epochs} | {
        one: one for one in given.strategies
    }
    if given.processes == 1:
        yield from ((name, searched(given, way)) for name, way in ways.items())
        return
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(searched, given, way): name for name, way in ways.items()}
        yield from ((running[one], one.result()) for one in as_completed(running))


def searched(given: argparse.Namespace, way: str | int) -> dict[str, Any]:
    """The front that is found by a strategy, or by training random architectures for so many epochs."""
    torch.set_num_threads(1)
    contest = Contest(given, load_data("digits"))
    with tempfile.TemporaryDirectory() as folder:
        return contest.grown(way, Path(folder)) if isinstance(way, str) else contest.random(way, Path(folder))


def dominated(found: Mapping[str, dict[str, Any]], strategies: Sequence[str], *, cost: str) -> dict[str, Any]:
    """The share of each random front that each strategy dominates, by validation and by test error."""
    return {
        f"{theirs} by {ours}": {
            part: share_dominated(found[ours]["front"], found[theirs]["front"], names=[part, cost])
            for part in ("error", "test_error")
        }
        for theirs in sorted(found.keys() - strategies)
        for ours in strategies
        if ours in found
    }


def show(name: str, found: dict[str, Any], cost: str) -> None:
    """A front as lines of text."""
    print(
        f"{name}: {found['evaluations']} networks in {found['seconds']:.0f} s, hypervolume {found['hypervolume']:.4f}",
        flush=True,
    )
    for member in found["front"]:
        errors = f"error {member['error']:.2%}, test {member['test_error']:.2%}"
        print(f"  {member[cost]:>11,.0f} {cost}: {errors}: {member['architecture']}", flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150.0, help="of the processor, for each way of searching")
    parser.add_argument("--strategies", nargs="+", default=["lemonade", "nash"])
    parser.add_argument("--cost", choices=COSTS, default="parameters")
    parser.add_argument("--epochs", type=int, default=8, help="of each network that has a parent, or could have")
    parser.add_argument("--random-epochs", type=int, nargs="+", default=[20, 60], help="of each random network")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="in which the ways of searching run, each in one")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
