import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.reports.axes import front_planes, model_value, primary_device, staircase
from hwnas.reports.documents import load_run

POINTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["error", "macs", "latency_ms@local-cpu"], [("latency_ms@local-cpu", "error", "macs")]),
        (["error", "latency_ms@rpi4"], [("latency_ms@rpi4", "error", None)]),
        (["error", "parameters", "macs"], [("macs", "error", "parameters")]),
        (["error", "parameters"], [("parameters", "error", None)]),
        (["macs", "error"], [("macs", "error", None)]),
        (["macs", "parameters"], [("parameters", "macs", None)]),
        (["macs", "latency_ms@rpi4", "parameters"], [("latency_ms@rpi4", "macs", "parameters")]),
        (["error"], []),
    ],
)
def test_which_objectives_are_drawn(run_folder, names, expected):
    run_folder.keep_objectives(*names)
    run_folder.verification = None
    planes = front_planes(load_run(run_folder.write()))
    found = [(plane.x.objective.name, plane.y.objective.name, plane.size and plane.size.name) for plane in planes]
    assert found == expected


def test_the_device_of_the_verification_comes_first(run_folder):
    run_folder.verification["device"] = "rpi4"
    run = load_run(run_folder.write())
    assert primary_device(run) == "rpi4"
    assert [plane.key for plane in front_planes(run)] == ["rpi4", "local-cpu"]


def test_without_a_latency_there_is_no_device(run_folder):
    run_folder.keep_objectives("error", "macs")
    run_folder.verification = None
    assert primary_device(load_run(run_folder.write())) is None


def test_a_model_is_placed_where_it_was_measured(run_folder):
    del run_folder.models[1]["macs"]
    del run_folder.files[2]["latency"]["rpi4"]["measured_ms"]
    run = load_run(run_folder.write())
    error, macs, _, _, on_rpi4 = run.objectives
    assert model_value(run.models[0], error, run) == 1 - run_folder.files[0]["test_accuracy"]
    assert model_value(run.models[1], macs, run) == 6_000_000  # from the front
    assert model_value(run.models[1], on_rpi4, run) == run_folder.files[1]["latency"]["rpi4"]["measured_ms"]
    assert model_value(run.models[2], on_rpi4, run) is None  # a prediction is no measurement


def test_what_was_measured_on_other_batch_sizes_is_not_what_the_search_speaks_of(run_folder):
    run_folder.files[0]["batch_size"] = 8
    run_folder.files[1]["batch_size"] = 1
    run = load_run(run_folder.write())
    on_rpi4 = run.objective("latency_ms@rpi4")
    assert model_value(run.models[0], on_rpi4, run) is None
    assert model_value(run.models[1], on_rpi4, run) is not None
    run_folder.settings = "batch_size = 8\n"
    run = load_run(run_folder.write())
    assert model_value(run.models[0], on_rpi4, run) is not None
    assert model_value(run.models[1], on_rpi4, run) is None


def test_the_first_view_holds_the_front_and_counts_what_it_leaves_out(run_folder):
    run_folder.evaluations[4]["values"].update({"latency_ms@local-cpu": 40.0, "error": 0.9})
    run_folder.verification = None
    run = load_run(run_folder.write())
    plane = front_planes(run)[0]
    assert plane.outside(run.front) == 0
    assert plane.outside(run.evaluations) == 1


def test_a_wide_axis_is_logarithmic_with_round_ticks(run_folder):
    run_folder.front[2]["values"]["error"] = 0.002
    run_folder.verification = None
    axis = front_planes(load_run(run_folder.write()))[0].y
    assert axis.log
    assert axis.ticks == pytest.approx([0.2, 0.5, 1, 2, 5, 10, 20])
    low, high = axis.plotly_range
    assert 10**low < 0.2 < 16 < 10**high


def test_equal_values_still_span_a_view(run_folder):
    for record in [*run_folder.front, *run_folder.evaluations[1:5]]:
        record["values"]["latency_ms@local-cpu"] = 0.5
    run_folder.verification = None
    low, high = front_planes(load_run(run_folder.write()))[0].x.view
    assert low < 0.5 < high


@given(points=POINTS, maximize_x=st.booleans(), maximize_y=st.booleans())
def test_a_staircase_holds_all_that_nothing_beats_and_nothing_else(points, maximize_x, maximize_y):
    sign_x, sign_y = (-1 if maximize_x else 1), (-1 if maximize_y else 1)

    def beaten(point):
        return any(
            other != point and sign_x * other[0] <= sign_x * point[0] and sign_y * other[1] <= sign_y * point[1]
            for other in points
        )

    expected = sorted({point for point in points if not beaten(point)})
    assert staircase(points, maximize_x=maximize_x, maximize_y=maximize_y) == expected
