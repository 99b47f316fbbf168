import math

import pytest

from hwnas.reports.axes import front_planes
from hwnas.reports.documents import load_run
from hwnas.reports.figures import front_figure, hypervolume_figure, marker_diameter


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


def test_the_front_is_drawn_with_the_values_of_the_files(run_folder):
    run = load_run(run_folder.write())
    drawn = traces(front_figure(run, front_planes(run)[0]))
    assert list(drawn["cloud"].x) == [0.19]
    assert list(drawn["cloud"].y) == pytest.approx([11.0])
    assert sorted(zip(drawn["front"].x, drawn["front"].y, strict=True)) == [(0.10, 16.0), (0.17, 8.0), (0.30, 2.0)]
    assert list(drawn["winner"].x) == [model["measured_ms"] for model in run_folder.models]
    assert list(drawn["winner"].text) == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    assert list(drawn["winner"].customdata) == ["model-1", "model-2", "model-3"]


def test_the_border_steps_through_the_front_to_the_edges_of_the_view(run_folder):
    run = load_run(run_folder.write())
    plane = front_planes(run)[0]
    step = traces(front_figure(run, plane))["step"]
    assert step.line.shape == "hv"
    assert list(step.x) == [0.10, 0.10, 0.17, 0.30, plane.x.view[1]]
    assert list(step.y) == pytest.approx([100 * plane.y.view[1], 16.0, 8.0, 2.0, 2.0])


def test_an_objective_to_maximize_turns_the_border(run_folder):
    run_folder.objectives[0].update(name="score", direction="maximize", unit="")
    for record in [*run_folder.front, *run_folder.evaluations[1:5]]:
        record["values"] = {"score": 1 - record["values"]["error"], "macs": record["values"]["macs"]}
    run_folder.objectives = run_folder.objectives[:2]
    run_folder.verification = None
    run = load_run(run_folder.write())
    plane = front_planes(run)[0]
    step = traces(front_figure(run, plane))["step"]
    assert list(step.y) == pytest.approx([plane.y.view[0], 0.84, 0.92, 0.98, 0.98])


def test_the_area_of_a_marker_stands_for_the_macs(run_folder):
    run = load_run(run_folder.write())
    sizes = traces(front_figure(run, front_planes(run)[0]))["front"].marker.size
    assert sizes[0] == max(sizes)  # drawn from large to small
    assert sizes[1] / sizes[0] == pytest.approx(math.sqrt(6 / 18))
    assert marker_diameter(None, 18.0) == marker_diameter(1e-9, 18.0) > 0


def test_points_without_one_of_the_two_values_are_left_out(run_folder):
    del run_folder.front[0]["values"]["error"]
    del run_folder.evaluations[4]["values"]["latency_ms@local-cpu"]
    run_folder.verification = None
    run = load_run(run_folder.write())
    drawn = traces(front_figure(run, front_planes(run)[0]))
    assert len(drawn["front"].x) == 2
    assert "cloud" not in drawn
    assert "winner" not in drawn


def test_hypervolume_over_evaluations(run_folder):
    figure = hypervolume_figure(load_run(run_folder.write()).progress)
    assert list(figure.data[0].x) == [2, 5]
    assert list(figure.data[0].y) == [0.61, 0.87]


def test_every_colour_is_looked_up_so_that_dark_pages_are_dark(run_folder):
    run = load_run(run_folder.write())
    figures = [
        front_figure(run, front_planes(run)[0]),
        hypervolume_figure(run.progress),
    ]
    for figure in figures:
        found = set(colours(figure.to_dict()))
        assert found
        assert {colour for colour in found if not colour.startswith("var(--")} == {"rgba(0,0,0,0)"}


def test_descriptions_cannot_bring_markup_into_a_hover(run_folder):
    run_folder.models[0]["description"] = '<a href="https://example.org">x</a>'
    run = load_run(run_folder.write())
    hover = traces(front_figure(run, front_planes(run)[0]))["winner"].hovertext[0]
    assert "<a" not in hover
    assert "&lt;a" in hover
