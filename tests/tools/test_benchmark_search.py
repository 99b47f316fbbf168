import csv
import json

import numpy as np
import pytest

from hwnas.benchmarks import load_benchmark
from hwnas.errors import SpaceError
from hwnas.front import Candidate
from hwnas.strategies import STRATEGIES, SearchStrategy

MACRO = ["--benchmark", "nas_bench_macro", "--objectives", "error,macs"]
QUICK = ["--evaluations", "60", "--seeds", "2"]


class Sampling(SearchStrategy):
    """Random architectures, batch for batch."""

    def __init__(self, space, objectives, *, rng, batch_size=8):
        self._space, self._rng, self._batch_size = space, rng, batch_size

    def ask(self):
        drawn = self._space.sample_choices(self._batch_size, rng=self._rng)
        return [Candidate(one) for one in self._space.architectures(drawn)]

    def tell(self, evaluations):
        assert all(one.failure or set(one.values) == {"error", "macs"} for one in evaluations)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Refusing(Sampling):
    def __init__(self, space, objectives, *, rng):
        raise SpaceError(space.name, "must have morphisms", came="it has none")


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_search")


@pytest.fixture(autouse=True)
def strategies(monkeypatch):
    for name in list(STRATEGIES):
        monkeypatch.delitem(STRATEGIES, name)
    monkeypatch.setitem(STRATEGIES, "sampling", Sampling)
    monkeypatch.setitem(STRATEGIES, "refusing", Refusing)


def compared(tool, path, *arguments):
    assert tool.main([*MACRO, *QUICK, "--json", str(path), *arguments]) == 0
    return json.loads(path.read_text())


def test_the_document_holds_what_the_header_says(tool, tmp_path, capsys):
    plot = tmp_path / "found.svg"
    document = compared(tool, tmp_path / "found.json", "--strategy", "ours,pymoo_nsga2", "--plot", str(plot))
    assert document["budgets"] == [50, 60]
    assert 0 < document["true_hypervolume"] < 1
    assert set(document["strategies"]) == {"sampling", "pymoo_nsga2"}
    for entry in document["strategies"].values():
        per_seed = np.array(entry["per_seed"])
        assert per_seed.shape == (2, 2)
        assert ((per_seed > 0.3) & (per_seed <= 1)).all()
        assert entry["mean"] == pytest.approx(per_seed.mean(axis=0), abs=1e-5)
        assert entry["worst"] == per_seed.min(axis=0).tolist()
        assert set(entry["evaluations_to_reach"]) == {"0.95", "0.98", "0.99", "0.995"}
        assert entry["seconds"] >= 0
    assert {"cpu", "python", "versions", "evaluations", "objectives", "dataset", "bounds"} <= set(document)
    printed = capsys.readouterr().out
    assert "refusing is left out: nas_bench_macro must have morphisms" in printed
    assert "| pymoo_nsga2 | 0." in printed
    assert "sampling" in plot.read_text()


def test_a_comparison_is_gone_on_with(tool, tmp_path):
    whole = compared(tool, tmp_path / "whole.json", "--strategy", "sampling,pymoo_nsga2")
    parts = tmp_path / "parts.json"
    compared(tool, parts, "--strategy", "sampling", "--seeds", "1")
    found = compared(tool, parts, "--resume", "--strategy", "sampling", "--strategy", "pymoo_nsga2")
    for name, entry in whole["strategies"].items():
        assert found["strategies"][name]["curves"] == entry["curves"]
        assert found["strategies"][name]["per_seed"] == entry["per_seed"]
        assert found["strategies"][name]["evaluations_to_reach"] == entry["evaluations_to_reach"]


def test_a_comparison_of_something_else_is_not_gone_on_with(tool, tmp_path, capsys):
    path = tmp_path / "found.json"
    compared(tool, path, "--strategy", "sampling", "--seeds", "1")
    before = path.read_bytes()
    arguments = [*MACRO, *QUICK, "--json", str(path), "--resume", "--strategy", "sampling"]
    for changed, said in (
        (["--objectives", "error,parameters"], "must be of objectives = ['error', 'parameters']"),
        (["--evaluations", "70"], "must be of evaluations = 70"),
        (["--bound", "error=0.2"], "must be of bounds"),
        (["--option", "sampling.batch_size=2"], "must have been searched with the options {'batch_size': 2}"),
    ):
        assert tool.main([*arguments, *changed]) == 2
        assert said in capsys.readouterr().err
        assert path.read_bytes() == before


def test_options_reach_a_strategy(tool, tmp_path):
    found = compared(tool, tmp_path / "found.json", "--strategy", "sampling", "--option", "sampling.batch_size=3")
    assert found["strategies"]["sampling"]["options"] == {"batch_size": 3}
    plain = compared(tool, tmp_path / "plain.json", "--strategy", "sampling")
    assert plain["strategies"]["sampling"]["curves"] != found["strategies"]["sampling"]["curves"]


def test_nas_bench_201_is_bounded_unless_told_otherwise(tool):
    def bounds(*arguments):
        return dict(tool.setting_of(tool.parse(["--benchmark", "nas_bench_201", *arguments])).bounds)

    assert bounds() == {"error": 0.6}
    assert bounds("--bound", "error=0.5", "--bound", "macs=1e8") == {"error": 0.5, "macs": 1e8}
    assert bounds("--objectives", "macs,parameters") == {}
    assert tool.setting_of(tool.parse(MACRO)).bounds == ()


def test_a_table_never_seen_before(tool, tmp_path):
    """With some architectures only, one of them without an accuracy, and a device of its own."""
    choices_NV = load_benchmark("nas_bench_macro").choices_NV[::2]
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["arch", "mean_acc", "params", "macs", "lat_board_ms"])
        for number, row in enumerate(choices_NV):
            accuracy = "" if number == 7 else 60 + row.sum() + number % 5
            rows.writerow(["".join(map(str, row)), accuracy, 1 + row.sum(), 10 + row[0], 5 + row @ np.arange(1, 9)])
    arguments = ["--table", str(table), "--objectives", "error,latency:board", "--strategy", "pymoo_nsga2"]
    found = compared(tool, tmp_path / "found.json", *arguments)
    assert found["objectives"] == ["error", "latency_ms@board"]
    assert 0.3 < found["strategies"]["pymoo_nsga2"]["worst"][-1] <= 1


def test_options_of_what_is_not_run_are_a_mistake(tool, capsys):
    assert tool.main([*MACRO, *QUICK, "--strategy", "pymoo_nsga2", "--option", "sampling.batch_size=2"]) == 2
    assert "must be of a strategy that is run, but sampling is not" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_find_the_same(tool, tmp_path):
    alone, together = (
        compared(tool, tmp_path / f"{count}.json", "--strategy", "pymoo_nsga2", "--processes", str(count))
        for count in (1, 2)
    )
    assert alone["strategies"]["pymoo_nsga2"]["curves"] == together["strategies"]["pymoo_nsga2"]["curves"]


def test_a_peer_that_is_not_installed_is_left_out(tool, monkeypatch, capsys):
    peer = tool.PEERS["pymoo_nsga2"]
    monkeypatch.setitem(tool.PEERS, "optuna_tpe", type(peer)(peer.converse, ("no_such_package",)))
    assert tool.main([*MACRO, *QUICK, "--strategy", "sampling,optuna_tpe"]) == 0
    assert "optuna_tpe is left out: it needs no_such_package. Install" in capsys.readouterr().out
    assert tool.main([*MACRO, *QUICK, "--strategy", "optuna_tpe"]) == 2
    assert "must name one that can run here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--benchmark", "nas_bench_micro"], "Did you mean 'nas_bench_macro'"),
        (["--dataset", "cifar100"], "Did you mean 'cifar10'"),
        (["--objectives", "error,mac"], "Did you mean 'macs'"),
        (["--objectives", "error"], "must be two or more"),
        (["--objectives", "error,error"], "error comes twice"),
        (["--strategy", "samplign"], "Did you mean 'sampling'"),
        (["--strategy", "pymoo_nsga3"], "Did you mean 'pymoo_nsga2'"),
        (["--strategy", "refusing"], "must have morphisms"),
        (["--evaluations", "0"], "--evaluations must be 1 or more, but 0 came"),
        (["--seeds", "0"], "--seeds must be 1 or more"),
        (["--processes", "0"], "--processes must be 1 or more"),
        (["--option", "sampling.batch=2"], "Did you mean 'batch_size'"),
        (["--option", "batch_size=2"], "must name a strategy and its option"),
        (["--option", "sampling.batch_size=two"], "must be a name and a number"),
        (["--option", "samplign.batch_size=2"], "Did you mean 'sampling'"),
        (["--bound", "error=inf"], "must be a name and a number"),
        (["--bound", "parameters=9"], "parameters is none of them"),
        (["--bound", "error=0.01"], "error <= 0.01"),
        (["--plot", "found.pdf"], "must end in .svg or .png"),
        (["--table", "absent.csv"], "absent.csv"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tool, capsys, arguments, said):
    assert tool.main([*MACRO, *QUICK, "--strategy", "sampling", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_an_objective_that_is_constant_is_left_out_by_the_user(tool, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("arch,mean_acc,macs\n00000000,50,7\n00000001,60,7\n")
    assert tool.main([*MACRO, "--table", str(table), "--strategy", "sampling"]) == 2
    assert "The objective macs must differ between architectures, but it is 7 MACs for all 2" in capsys.readouterr().err
