from hwnas.reports.axes import front_planes
from hwnas.reports.candidates import candidates_of
from hwnas.reports.documents import load_run
from hwnas.reports.hovers import baseline_hover, candidate_hover, model_hover


def test_each_kind_of_point_says_what_it_is(example):
    run = load_run(example.path)
    plane = front_planes(run)[0]
    member = candidate_hover(candidates_of(run)[0], plane, "k3 e6")
    assert member.startswith("<b>front:1</b> · ")
    assert "as the search estimated it" in member
    assert member.endswith("k3 e6")
    model = run.models[0]
    assert "ms" in model_hover(model, {plane.x: model.latency_on("local-cpu").measured_ms, plane.y: 0.07})
    assert " ± " in model_hover(model, {plane.x: model.latency_on("local-cpu").measured_ms})
    baseline = run.baselines[0]
    assert baseline_hover(baseline, {plane.y: 0.1}).startswith(f"<b>A · {baseline.name}</b>, measured")


def test_a_long_description_is_cut(example):
    run = load_run(example.path)
    hover = candidate_hover(candidates_of(run)[0], front_planes(run)[0], "k3e6 " * 200)
    assert hover.endswith("…")
    assert hover.count("<br>") < 10
