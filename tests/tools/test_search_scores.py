import numpy as np
import pytest

from hwnas.benchmarks import Truth, load_benchmark
from hwnas.errors import SettingsError
from hwnas.front import Candidate

MACRO = ("nas_bench_macro", None, ("error", "macs"), (), None)


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("search_scores")


@pytest.fixture(scope="module")
def truth():
    benchmark = load_benchmark("nas_bench_macro")
    return Truth(benchmark, benchmark.objectives(["error", "macs"]))


def scripted(batches, heard=None):
    """A conversation that asks for these batches of positions in the table, and notes what it hears."""
    choices_NV = load_benchmark("nas_bench_macro").choices_NV
    for batch in batches:
        answer = yield choices_NV[list(batch)]
        if heard is not None:
            heard.append(answer)


def test_budgets_end_with_the_evaluations(tool):
    assert tool.Setting(*MACRO, 500).budgets == [50, 100, 200, 300, 500]
    assert tool.Setting(*MACRO, 120).budgets == [50, 100, 120]
    assert tool.Setting(*MACRO, 25).curve_evaluations == [10, 20, 25]


def test_distinct_architectures_are_counted_in_their_order(tool, truth):
    heard = []
    found_NV, seconds = tool.follow(scripted([[5, 3, 5], [3, 9]], heard), truth, 100)
    np.testing.assert_array_equal(found_NV, truth.benchmark.choices_NV[[5, 3, 9]])
    np.testing.assert_array_equal(heard[0], truth.values_NM[[5, 3, 5]])
    assert seconds >= 0


def test_a_batch_beyond_the_budget_is_cut_and_not_told(tool, truth):
    heard = []
    found_NV, _ = tool.follow(scripted([[0, 1], [2, 0, 3, 4]], heard), truth, 4)
    np.testing.assert_array_equal(found_NV, truth.benchmark.choices_NV[[0, 1, 2, 3]])
    assert len(heard) == 1


def test_asking_for_nothing_new_is_bounded(tool, truth):
    heard = []
    found_NV, _ = tool.follow(scripted([[0, 1], *[[0, 1]] * 10_000], heard), truth, 4)
    assert len(found_NV) == 2
    assert len(heard) <= 1 + tool.MAX_REPEATS / 2


def test_a_conversation_about_nothing_has_no_share(tool, truth):
    found_NV, _ = tool.follow(scripted([]), truth, 4)
    run = tool.measure(truth, found_NV, tool.Setting(*MACRO, 20), 0.0)
    assert run.curve == [0.0, 0.0]
    assert run.reached == [None] * len(tool.SHARES)


def test_shares_are_those_of_the_truth_and_an_early_end_keeps_the_last(tool, truth):
    found_NV = truth.benchmark.choices_NV[np.random.default_rng(0).permutation(len(truth.values_NM))[:25]]
    run = tool.measure(truth, found_NV, tool.Setting(*MACRO, 60), 1.0)
    expected = [truth.share(found_NV[:count]) for count in (10, 20, 25, 25, 25, 25)]
    assert run.curve == pytest.approx(expected, abs=1e-5)


def test_reached_is_the_first_evaluation_that_reaches_a_share(tool, truth):
    order = np.random.default_rng(0).permutation(len(truth.values_NM))[:400]
    front_NV = np.array([one.architecture.choices for one in truth.front])
    found_NV = np.concatenate([truth.benchmark.choices_NV[order], front_NV])
    run = tool.measure(truth, found_NV, tool.Setting(*MACRO, 500), 1.0)
    for share, count in zip(tool.SHARES, run.reached, strict=True):
        assert truth.share(found_NV[:count]) >= share > truth.share(found_NV[: count - 1])


def test_a_summary_is_over_seeds(tool):
    setting = tool.Setting(*MACRO, 60)
    runs = [
        tool.Run([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [10, 20, 30, None], 1.0),
        tool.Run([0.2, 0.3, 0.4, 0.5, 0.9, 1.0], [20, 40, None, None], 3.0),
    ]
    found = tool.summary(runs, setting, {"batch_size": 5})
    assert found["mean"] == pytest.approx([0.7, 0.8])
    assert found["worst"] == [0.5, 0.6]
    assert found["per_seed"] == [[0.5, 0.6], [0.9, 1.0]]
    assert found["seconds"] == 2.0
    assert found["seeds"] == 2
    reach = found["evaluations_to_reach"]
    assert reach["0.95"] == {"mean": 15.0, "worst": 20, "per_seed": [10, 20]}
    assert reach["0.99"] == {"mean": None, "worst": None, "per_seed": [30, None]}
    assert tool.runs_of(found) == runs


def test_a_strategy_is_told_what_was_not_recorded_as_failed(tool, truth):
    candidate = Candidate(truth.benchmark.space.smallest())
    assert tool.evaluation(candidate, ["error", "macs"], [0.1, 5.0]).values == {"error": 0.1, "macs": 5.0}
    failed = tool.evaluation(candidate, ["error", "macs"], [0.1, np.nan])
    assert failed.failure == "no macs was recorded"
    assert not failed.values


@pytest.mark.parametrize(
    ("objectives", "bounds", "said"),
    [
        (("error",), (), "must be two or more"),
        (("error", "macs"), (("parameters", 1.0),), "parameters is none of them"),
    ],
)
def test_what_cannot_be_compared(tool, objectives, bounds, said):
    with pytest.raises(SettingsError, match=said):
        tool.truth_of(tool.Setting("nas_bench_macro", None, objectives, bounds, None, 10))


def test_peers_find_more_than_the_first_of_the_table(tool):
    setting = tool.Setting(*MACRO, 150)
    run = tool.search(setting, "pymoo_nsga2", {}, 0)
    assert run.curve == sorted(run.curve)
    assert 0.8 < run.curve[-1] <= 1
    assert run.seconds > 0
    assert tool.search(setting, "pymoo_nsga2", {}, 0).curve == run.curve
