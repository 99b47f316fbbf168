import numpy as np
import pytest

from hwnas.benchmarks import Truth, load_benchmark

BATCHES = {"pymoo_nsga2": 4, "optuna_nsga2": 70, "optuna_tpe": 40, "botorch_qnehvi": 3}
SMALL = {"FIRST_BATCH": 6, "BATCH": 2, "POOL": 20, "SAMPLES": 4, "FIT_STEPS": 5}


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("search_peers")


@pytest.fixture(scope="module")
def truth():
    benchmark = load_benchmark("nas_bench_macro")
    error, macs = benchmark.objectives(["error", "macs"])
    return Truth(benchmark, [error.bounded(float(np.quantile(benchmark.records["error"], 0.2))), macs])


@pytest.fixture
def problem(tool, truth):
    return tool.Problem(truth.benchmark.space, truth.objectives, truth.scale.low_M + truth.scale.span_M)


@pytest.fixture(params=BATCHES)
def peer(request, tool, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(tool, name, value)
    found = tool.PEERS[request.param]
    for package in found.packages:
        pytest.importorskip(package)
    return request.param


def talk(conversation, truth, batches, *, fails=lambda index: False):
    """What was asked for in the first batches, told the truth, or NaN where it fails."""
    answer, asked = None, []
    for index in range(batches):
        asked.append(conversation.send(answer))
        answer = truth.values_NM[truth.benchmark.positions(asked[-1])]
        if fails(index):
            answer = np.full_like(answer, np.nan)
    return np.concatenate(asked)


@pytest.mark.filterwarnings("ignore")  # other libraries warn of their own insides
def test_a_peer_asks_for_members_and_is_a_function_of_its_seed(tool, truth, problem, peer):
    asked_NV, again_NV, other_NV = (
        talk(tool.PEERS[peer].converse(problem, seed), truth, BATCHES[peer]) for seed in (1, 1, 2)
    )
    assert (asked_NV >= 0).all()
    assert (asked_NV < problem.space.num_options_V).all()
    np.testing.assert_array_equal(asked_NV, again_NV)
    assert not np.array_equal(asked_NV, other_NV)


@pytest.mark.filterwarnings("ignore")
def test_a_peer_goes_on_where_nothing_was_recorded(tool, truth, problem, peer):
    fails = {"pymoo_nsga2": [1], "botorch_qnehvi": [1]}.get(peer, range(5, 30, 5))
    asked_NV = talk(tool.PEERS[peer].converse(problem, 0), truth, BATCHES[peer], fails=lambda index: index in fails)
    assert len(np.unique(asked_NV, axis=0)) > len(asked_NV) / 2


@pytest.mark.parametrize(("name", "batches"), [("pymoo_nsga2", 8), ("optuna_nsga2", 400)])
def test_a_bound_is_told(tool, truth, problem, name, batches):
    """After some generations most are within it; of all architectures a fifth is."""
    pytest.importorskip(tool.PEERS[name].packages[0])
    asked_NV = talk(tool.PEERS[name].converse(problem, 0), truth, batches)
    errors_N = truth.values_NM[truth.benchmark.positions(asked_NV), 0]
    assert (errors_N[-100:] <= problem.objectives[0].bound).mean() > 0.5


def test_a_peer_names_the_packages_that_it_lacks(tool):
    present, absent = ("numpy",), ("numpy", "no_such_package")
    assert tool.Peer(tool.pymoo_nsga2, present).missing == []
    assert tool.Peer(tool.pymoo_nsga2, absent).missing == ["no_such_package"]


def test_bounds_come_with_their_positions(problem):
    assert problem.bounded == [(0, problem.objectives[0].bound)]
