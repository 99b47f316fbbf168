from dataclasses import replace

import pytest

from hwnas.devices import Measurement
from hwnas.latency import Calibration, MeasuredNetwork
from hwnas.reports.comparisons import compare_latencies
from hwnas.reports.documents import load_run
from hwnas.reports.predictions import axis_ends, network_points, prediction_figure, proof_sentence


def traces(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def colours(part):
    """Every colour named anywhere in a plotly document."""
    if isinstance(part, dict):
        for key, value in part.items():
            if "color" in key and isinstance(value, str):
                yield value
            else:
                yield from colours(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from colours(value)


@pytest.fixture
def with_carriers(proven_table):
    """The table with two carriers before its networks."""
    carriers = tuple(
        MeasuredNetwork("carrier", (number,), Measurement(2.0 + number, (1.9, 4.0)), 2.1, 2.1 + number)
        for number in range(2)
    )
    return replace(proven_table, networks=(*carriers, *proven_table.networks))


def test_predictions_carry_their_intervals(run_folder):
    compared = compare_latencies(load_run(run_folder.write()).models, "rpi4")
    drawn = traces(prediction_figure(compared))
    point, line = drawn["point"], drawn["agreement"]
    assert list(point.x) == [1.9, 3.1, 5.8]
    for index, model in enumerate(run_folder.files):
        low, high = model["latency"]["rpi4"]["measured_ci95_ms"]
        assert point.y[index] - point.error_y.arrayminus[index] == pytest.approx(low)
        assert point.y[index] + point.error_y.array[index] == pytest.approx(high)
    assert list(line.x) == list(line.y)
    assert point.error_x.array is None
    assert set(drawn) == {"agreement", "point"}


def test_networks_are_drawn_as_the_table_has_them(with_carriers):
    drawn = traces(prediction_figure([], with_carriers))
    assert set(drawn) == {"band", "agreement", "carrier", "calibration"}
    proof = with_carriers.networks[2:]
    assert list(drawn["carrier"].x) == [2.1, 3.1]
    assert list(drawn["carrier"].y) == [2.0, 3.0]
    assert list(drawn["calibration"].x) == [one.predicted_ms for one in proof]
    assert list(drawn["calibration"].y) == [one.found.latency_ms for one in proof]
    assert drawn["carrier"].marker.symbol != drawn["calibration"].marker.symbol


def test_the_bars_are_the_prediction_interval(with_carriers, run_folder):
    compared = compare_latencies(load_run(run_folder.write()).models, "rpi4")
    drawn = traces(prediction_figure(compared, with_carriers))
    half = with_carriers.calibration.half_width(0.9)
    for role in ("calibration", "point"):
        assert list(drawn[role].error_x.array) == pytest.approx([half * x for x in drawn[role].x])
    assert drawn["carrier"].error_x.array is None
    assert "90% prediction interval" in drawn["calibration"].name


def test_carriers_have_the_interval_where_nothing_else_proves(with_carriers):
    points = network_points(replace(with_carriers, networks=with_carriers.networks[:2]))
    assert [(some.role, some.half_width) for some in points] == [("carrier", with_carriers.calibration.half_width(0.9))]


def test_a_table_that_knows_no_interval_has_no_bars(with_carriers):
    points = network_points(replace(with_carriers, calibration=Calibration()))
    assert [some.half_widths_ms for some in points] == [None, None]


def test_the_band_is_where_a_prediction_errs_by_five_percent(with_carriers):
    band = traces(prediction_figure([], with_carriers))["band"]
    errors = [x / y - 1 for x, y in zip(band.x, band.y, strict=True)]
    assert errors == pytest.approx([0.05, 0.05, -0.05, -0.05])


def test_everything_lies_within_the_axes(with_carriers, run_folder):
    compared = compare_latencies(load_run(run_folder.write()).models, "rpi4")
    low, high = axis_ends(compared, network_points(with_carriers))
    figure = prediction_figure(compared, with_carriers)
    assert figure.layout.xaxis.range == figure.layout.yaxis.range == (low, high)
    for role in ("carrier", "calibration", "point"):
        trace = traces(figure)[role]
        assert all(low < end < high for end in (*trace.x, *trace.y))


def test_every_colour_is_looked_up_so_that_dark_pages_are_dark(with_carriers, run_folder):
    compared = compare_latencies(load_run(run_folder.write()).models, "rpi4")
    found = set(colours(prediction_figure(compared, with_carriers).to_dict()))
    assert {colour for colour in found if not colour.startswith("var(--")} == {"rgba(0,0,0,0)"}


def test_the_caption_says_what_the_networks_prove(proven_table, bare_table):
    said = proof_sentence(proven_table)
    quality = proven_table.quality
    assert said.startswith("On 12 networks, each left out of the fit that foretells it, the table errs by ")
    assert f"errs by {100 * quality.calibrated.mean_error:.1f}% on average" in said
    assert f"Measured a second time they differ by {100 * quality.noise_ceiling.mean_error:.1f}%." in said
    assert f"± {100 * proven_table.calibration.half_width(0.9):.1f}%." in said
    assert proof_sentence(bare_table) == ""
    unranked = replace(quality, calibrated=replace(quality.calibrated, spearman=None), noise_ceiling=None)
    said = proof_sentence(replace(proven_table, networks=(), quality=unranked))
    assert "each left out of the fit that foretells it" in said
    assert "Spearman" not in said
    assert "second time" not in said
