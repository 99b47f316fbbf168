import pytest


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_bundles")


def file(precision, accuracy, predicted, measured, name=None):
    latency = {"board": {"predicted_ms": predicted, "measured_ms": measured}}
    path = f"models/winner-1/{name or precision}.onnx"
    return {"file": path, "precision": precision, "test_accuracy": accuracy, "same_class": 1.0, "latency": latency}


def rows(tool, *models):
    return tool.compare_precisions({"models": [{"name": "winner-1", "files": list(files)} for files in models]})


def test_int8_is_compared_with_the_fp32_of_the_same_winner(tool):
    image = file("int8", 0.1, 9.0, 9.0, name="int8-image")
    (row,) = rows(tool, [file("fp32", 0.92, 3.0, 2.0), image, file("int8", 0.91, 1.0, 1.25)])
    assert row["drop_points"] == pytest.approx(1.0)
    assert (row["gain"], row["foretold_gain"]) == (1.6, 3.0)
    assert row["errors"] == pytest.approx([0.5, -0.2])


def test_what_was_not_measured_is_left_out_and_what_was_not_foretold_is_none(tool):
    assert rows(tool, [file("fp32", 0.9, 1.0, None), file("int8", 0.9, 1.0, 1.0)], [file("fp32", 0.9, 1.0, 1.0)]) == []
    (row,) = rows(tool, [file("fp32", 0.9, None, 1.0), file("int8", 0.9, None, 1.0)])
    assert (row["foretold_gain"], row["errors"]) == (None, None)


def test_the_summary_counts_what_was_reached(tool):
    found = rows(
        tool,
        [file("fp32", 0.92, 3.0, 3.0), file("int8", 0.92, 1.0, 1.5)],
        [file("fp32", 0.92, 2.0, 1.1), file("int8", 0.91, 1.0, 1.0)],
        [file("fp32", 0.92, 1.0, 1.0), file("int8", 0.92, 1.0, 1.0)],
    )
    said = tool.summary(
        {
            "winners": 3,
            "test_images": 9,
            "exporting_seconds": 1,
            "verifying_and_measuring_seconds": 2,
            "precisions": found,
        }
    )
    assert "in 67% of 3: median 0.00, worst 1.00" in said[1]
    assert "it is in 1 of 2: 1.10 to 2.00 times" in said[2]
    assert said[3].startswith("fp32 latencies are foretold within 27.3% on average, 81.8% at worst")
