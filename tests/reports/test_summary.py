from hwnas.reports.documents import load_run
from hwnas.reports.summary import summary_headline, summary_lead, summary_tiles

NBSP = "\N{NO-BREAK SPACE}"


def test_the_headline_names_both_ends_of_the_trade_off(run_folder):
    run = load_run(run_folder.write())
    assert summary_headline(run) == f"98.5% accurate in 0.318{NBSP}ms, or 84.5% in 0.102{NBSP}ms"
    lead = summary_lead(run)
    assert "The best of 3 exported models is winner-3" in lead
    assert "on 360 test images" in lead
    assert "The slowest takes 3.1 times as long as the fastest." in lead
    assert "5 evaluations left 3 architectures on the front." in lead


def test_the_tiles_rest_on_the_measurements(run_folder):
    tiles = {tile.label: tile for tile in summary_tiles(load_run(run_folder.write()))}
    assert tiles["Best test accuracy"].value == "98.5%"
    assert tiles["Fastest model"].value == f"0.102{NBSP}ms"
    assert tiles["Latency span"].value == "3.1×"
    assert tiles["Prediction error"].value == "3.8%"
    assert tiles["Evaluations"].value == "5"
    assert tiles["Evaluations"].note == "3 on the front, 1 failed"


def test_before_the_export_the_numbers_are_called_estimates(run_folder):
    run_folder.verification = None
    run = load_run(run_folder.write())
    assert summary_headline(run) == f"3 architectures on the front, down to 2.00% error and 0.100{NBSP}ms"
    assert "the search's own estimates" in summary_lead(run)
    tiles = {tile.label: tile.value for tile in summary_tiles(run)}
    assert tiles["Lowest error"] == "2.00%"
    assert tiles["Lowest latency on local-cpu"] == f"0.100{NBSP}ms"
    assert tiles["Lowest MACs"] == f"2.00{NBSP}M"


def test_one_model_spans_nothing(run_folder):
    run_folder.verification["models"] = run_folder.models[:1]
    run = load_run(run_folder.write())
    assert summary_headline(run) == f"84.5% accurate; the fastest model takes 0.102{NBSP}ms"
    assert "times as long" not in summary_lead(run)
    assert "Latency span" not in {tile.label for tile in summary_tiles(run)}


def test_of_two_equally_accurate_models_the_faster_is_best(run_folder):
    for file in run_folder.files:
        file["test_accuracy"] = 0.9
    assert "is winner-1, with 90.0%" in summary_lead(load_run(run_folder.write()))
