import math

import pytest

from hwnas.reports.axes import front_planes
from hwnas.reports.candidates import candidates_of
from hwnas.reports.documents import load_run
from hwnas.reports.figures import front_figure, marker_diameter
from hwnas.reports.networks import Networks
from hwnas.reports.quantities import wilson_interval


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
    assert sorted(zip(drawn["front-fp32"].x, drawn["front-fp32"].y, strict=True)) == [
        (0.10, 16.0),
        (0.17, 8.0),
        (0.30, 2.0),
    ]
    assert list(drawn["winner"].x) == [file["latency"]["local-cpu"]["measured_ms"] for file in run_folder.files]
    assert list(drawn["winner"].text) == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    assert list(drawn["winner"].customdata) == ["front-1", "front-2", "front-3"]


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
    sizes = traces(front_figure(run, front_planes(run)[0]))["front-fp32"].marker.size
    assert sizes[0] == max(sizes)  # drawn from large to small
    assert sizes[1] / sizes[0] == pytest.approx(math.sqrt(6 / 18))
    assert marker_diameter(None, 18.0) == marker_diameter(1e-9, 18.0) > 0


def test_points_without_one_of_the_two_values_are_left_out(run_folder):
    del run_folder.front[0]["values"]["error"]
    del run_folder.evaluations[4]["values"]["latency_ms@local-cpu"]
    run_folder.verification = None
    run = load_run(run_folder.write())
    drawn = traces(front_figure(run, front_planes(run)[0]))
    assert len(drawn["front-fp32"].x) == 2
    assert "cloud" not in drawn
    assert "winner" not in drawn


def test_a_model_that_could_not_be_measured_is_not_drawn_as_measured(run_folder):
    latency = run_folder.files[1]["latency"]["local-cpu"]
    latency.update(measured_ms=None, measured_ci95_ms=None, not_measured="it is offline")
    run = load_run(run_folder.write())
    drawn = {plane.key: traces(front_figure(run, plane))["winner"] for plane in front_planes(run)}
    numbers = {device: list(trace.text) for device, trace in drawn.items()}
    assert numbers == {"local-cpu": ["<b>1</b>", "<b>3</b>"], "rpi4": ["<b>1</b>", "<b>2</b>", "<b>3</b>"]}


def test_every_colour_is_looked_up_so_that_dark_pages_are_dark(run_folder):
    run = load_run(run_folder.write())
    found = set(colours(front_figure(run, front_planes(run)[0]).to_dict()))
    assert {colour for colour in found if not colour.startswith("var(--")} == {"rgba(0,0,0,0)"}


def test_descriptions_cannot_bring_markup_into_a_hover(run_folder):
    run_folder.models[0]["description"] = '<a href="https://example.org">x</a>'
    run = load_run(run_folder.write())
    hover = traces(front_figure(run, front_planes(run)[0]))["winner"].hovertext[0]
    assert "<a" not in hover
    assert "&lt;a" in hover


def test_error_bars_are_the_intervals_of_what_was_measured_and_estimated(example):
    run = load_run(example.path)
    plane = front_planes(run)[0]
    networks = Networks(example.space, example.tables)
    drawn = traces(front_figure(run, plane, networks))
    model = run.models[0]
    low, high = wilson_interval(1 - model.accuracy, run.verification.test_images)
    winner = drawn["winner"]
    assert winner.y[0] + winner.error_y.array[0] == pytest.approx(100 * high)
    assert winner.y[0] - winner.error_y.arrayminus[0] == pytest.approx(100 * low)
    ends = model.latency_on("local-cpu").ci95_ms
    assert winner.x[0] + winner.error_x.array[0] == pytest.approx(ends[1])
    interval = drawn["interval"]
    member = next(one for one in candidates_of(run) if one.key == interval.customdata[0])
    low, high = networks.interval_ms(member.record.architecture, "local-cpu", member.precision)
    assert interval.x[0] - interval.error_x.arrayminus[0] == pytest.approx(low)
    low, high = wilson_interval(member.record.values["error"], run.validation_images)
    assert interval.y[0] + interval.error_y.array[0] == pytest.approx(100 * high)


def test_precisions_and_known_networks_have_looks_of_their_own(example):
    run = load_run(example.path)
    drawn = traces(front_figure(run, front_planes(run)[1]))
    assert drawn["front-fp32"].marker.symbol != drawn["front-int8"].marker.symbol
    assert len(drawn["front-fp32"].x) + len(drawn["front-int8"].x) == len(run.front)
    assert list(drawn["baseline"].text) == ["<b>A</b>", "<b>B</b>", "<b>C</b>", "<b>D</b>"]
    assert list(drawn["baseline"].x) == [one.latency_on("rpi4").measured_ms for one in run.baselines]
    shapes = dict(zip(drawn["winner"].customdata, drawn["winner"].marker.symbol, strict=True))
    for one in candidates_of(run):
        if one.model is not None:
            assert shapes[one.key] == {"fp32": "square", "int8": "diamond"}[one.precision]
