import pytest

from hwnas.reports.comparisons import compare_latencies, median_error
from hwnas.reports.documents import load_run


def test_errors_are_relative_to_what_was_measured(run_folder):
    compared = compare_latencies(load_run(run_folder.write()).models, "local-cpu")
    assert [item.relative_error for item in compared] == pytest.approx([1 / 1.02 - 1, 1 / 1.04 - 1, 1 / 1.06 - 1])
    assert median_error(compared) == pytest.approx(1 - 1 / 1.04)


def test_a_model_without_a_prediction_or_a_measurement_is_left_out(run_folder):
    run_folder.files[0]["latency"]["local-cpu"]["predicted_ms"] = None
    run_folder.files[1]["latency"]["local-cpu"]["measured_ms"] = None
    compared = compare_latencies(load_run(run_folder.write()).models, "local-cpu")
    assert [item.model.number for item in compared] == [3]


def test_without_an_interval_the_measurement_is_its_own(run_folder):
    run_folder.files[0]["latency"]["local-cpu"]["measured_ci95_ms"] = None
    item = compare_latencies(load_run(run_folder.write()).models, "local-cpu")[0]
    assert item.low_ms == item.high_ms == item.measured_ms
