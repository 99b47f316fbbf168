import pytest

from hwnas.reports.foretold import accuracy_figure, accuracy_sentence


def traces(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_every_network_is_drawn_with_its_interval(foretold):
    drawn = traces(accuracy_figure(foretold))
    assert set(drawn) == {"agreement", "network"}
    points, networks = drawn["network"], foretold.networks
    assert list(points.x) == [100 * one.predicted for one in networks]
    assert list(points.y) == [100 * one.error for one in networks]
    for index, one in enumerate(networks):
        assert points.x[index] + points.error_x.array[index] == pytest.approx(100 * one.high)
        assert points.x[index] - points.error_x.arrayminus[index] == pytest.approx(100 * one.low)


def test_all_points_lie_within_equal_axes(foretold):
    figure = accuracy_figure(foretold)
    low, high = figure.layout.xaxis.range
    assert (low, high) == figure.layout.yaxis.range
    points = traces(figure)["network"]
    assert all(low < end < high for end in (*points.x, *points.y))


def test_the_caption_says_how_good_it_is(foretold):
    said = accuracy_sentence(foretold)
    assert said.startswith("40 networks that the search evaluated, each foretold by a predictor fitted without it.")
    assert f"Kendall {foretold.ranking.kendall:.2f}" in said
    assert f"by MACs alone: Kendall {foretold.macs.kendall:.2f}" in said
    assert f"errs by {100 * foretold.mean_absolute_error:.2f} points" in said
    assert f"{100 * foretold.coverage:.0f}% of the errors lie in their 90% interval" in said
