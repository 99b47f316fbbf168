import numpy as np
import pytest


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("search_curves")


def entry(curves, reached):
    return {
        "mean": np.mean(curves, axis=0)[[-1]].tolist(),
        "worst": np.min(curves, axis=0)[[-1]].tolist(),
        "evaluations_to_reach": {"0.95": reached},
        "seconds": 1.25,
        "curves": curves,
    }


@pytest.fixture
def document():
    return {
        "benchmark": "toy",
        "dataset": "toys",
        "objectives": ["error", "macs"],
        "budgets": [30],
        "curve_evaluations": [10, 20, 30],
        "strategies": {
            "pymoo_nsga2": entry([[0.2, 0.3, 0.4]], {"mean": None, "worst": None, "per_seed": [None]}),
            "good_search": entry(
                [[0.5, 0.8, 1.0], [0.5, 0.9, 0.98]], {"mean": 27.5, "worst": 30, "per_seed": [25, 30]}
            ),
        },
    }


def test_the_table_has_the_best_first(tool, document):
    header, _, *rows = [line.strip("| ").split(" | ") for line in tool.markdown(document).splitlines()]
    assert header == ["strategy", "30", "to 95 %", "s"]
    assert rows == [
        ["good_search", "0.990 (0.980)", "28 (30)", "1.2"],
        ["pymoo_nsga2", "0.400 (0.400)", "0 of 1 seeds", "1.2"],
    ]


def test_a_plot_names_all_and_is_the_same_again(tool, document, tmp_path):
    tool.draw(document, tmp_path / "first.svg")
    tool.draw(document, tmp_path / "second.svg")
    drawn = (tmp_path / "first.svg").read_text()
    for text in ("good_search", "pymoo_nsga2", "toy, toys: error, macs; 1 to 2 seeds"):
        assert f"<!-- {text} -->" in drawn
    assert drawn == (tmp_path / "second.svg").read_text()


def test_a_plot_may_be_a_picture(tool, document, tmp_path):
    tool.draw(document, tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_the_axis_is_logarithmic_in_what_is_missing(tool):
    shares_N = np.array([0.0, 0.9, 0.99, 1.0])
    np.testing.assert_allclose(tool.missing_digits(shares_N), [0, 1, 2, -np.log10(tool.LEAST_MISSING)])
