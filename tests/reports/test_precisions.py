import statistics

import pytest

from hwnas.reports.documents import load_run
from hwnas.reports.precisions import pair_drawings, pair_sentence, pairs_of


def test_each_model_is_drawn_in_both_precisions(example):
    run = load_run(example.path)
    pairs = pairs_of(run, "int8")
    drawn = pair_drawings(run, pairs)
    assert [one.heading for one in drawn] == ["Test accuracy", "Latency on local-cpu", "Latency on rpi4"]
    link, large, small = drawn[0].figure.data
    assert list(large.x) == [100 * pair.float_file.test_accuracy for pair in pairs]
    assert list(small.x) == [100 * pair.small_file.test_accuracy for pair in pairs]
    assert list(link.x[:2]) == [large.x[0], small.x[0]]
    assert large.marker.symbol != small.marker.symbol
    assert list(large.y) == [model.name for model in run.models]


def test_the_sentence_says_what_it_costs_and_brings(example):
    run = load_run(example.path)
    pairs = pairs_of(run, "int8")
    said = pair_sentence(run, pairs, "int8")
    drops = [100 * (pair.float_file.test_accuracy - pair.small_file.test_accuracy) for pair in pairs]
    assert f"{statistics.median(drops):.2f} points lower" in said
    assert f"{sum(round(drop, 6) <= 0.5 for drop in drops)} of {len(pairs)} models lose at most 0.5 points" in said
    assert "times as fast" in said


def test_a_slower_smaller_model_is_called_slower(run_folder):
    own = run_folder.files[0]
    slow = {"rpi4": own["latency"]["rpi4"] | {"measured_ms": 2 * own["latency"]["rpi4"]["measured_ms"]}}
    run_folder.models[0]["files"].append(own | {"precision": "int8", "latency": slow})
    run = load_run(run_folder.write())
    said = pair_sentence(run, pairs_of(run, "int8"), "int8")
    assert "the median test accuracy is the same" in said
    assert "On rpi4 it is 2.0 times slower (median of 1)." in said


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_without_a_second_precision_there_is_nothing_to_draw(run_folder, precision):
    run = load_run(run_folder.write())
    assert pair_drawings(run, pairs_of(run, precision)) == []
