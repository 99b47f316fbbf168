import json
import re

import pytest

from hwnas.reports.documents import load_run
from hwnas.reports.explorer import front_parts
from hwnas.reports.networks import Networks


def document(parts):
    """What the page's script is told."""
    return json.loads(re.search(r'class="choices">(.*?)</script>', "".join(parts)).group(1))


def test_each_objective_has_a_slider_and_a_field_with_labels(run_folder):
    html = "".join(front_parts(load_run(run_folder.write()), None))
    assert html.count('type="range"') == html.count('type="number"') == 5
    assert html.count('aria-valuetext="no bound"') == 5
    assert all(f'for="bound-{index}"' in html and f'id="bound-{index}"' in html for index in range(5))


def test_sliders_span_the_front_and_wide_spans_are_logarithmic(run_folder):
    run_folder.verification = None
    run_folder.front[2]["values"]["macs"] = 40_000_000
    objectives = {one["name"]: one for one in document(front_parts(load_run(run_folder.write()), None))["objectives"]}
    assert (objectives["error"]["low"], objectives["error"]["high"]) == (0.02, 0.16)
    assert [objectives[name]["log"] for name in ("error", "macs")] == [False, True]
    assert objectives["latency_ms@rpi4"]["device"] == "rpi4"
    assert objectives["error"]["suffix"] == "%"


def test_a_model_that_could_not_be_measured_is_said_to_be_so(run_folder):
    latency = run_folder.files[1]["latency"]["rpi4"]
    latency.update(measured_ms=None, measured_ci95_ms=None, not_measured="it is offline")
    html = "".join(front_parts(load_run(run_folder.write()), None))
    assert "Not drawn, since it was not measured on rpi4 as the search has it: winner-2." in html
    assert "exported as winner-2, partly measured" in html
    assert "exported as winner-1, measured" in html


def test_the_command_names_the_run_as_a_shell_takes_it(run_folder):
    run_folder.path = run_folder.path.with_name("my digits; rm")
    told = document(front_parts(load_run(run_folder.write()), None))
    assert told["run"] == f"'{run_folder.path}'"


def test_an_objective_to_maximize_has_a_lower_bound(run_folder):
    run_folder.objectives[0]["direction"] = "maximize"
    html = "".join(front_parts(load_run(run_folder.write()), None))
    assert html.count("at least") == 2  # for the eye and for the slider's name
    assert 'value="0" aria-label="Error at least"' in html


def test_the_list_has_the_front_in_its_order_and_says_each_member_in_words(run_folder):
    html = "".join(front_parts(load_run(run_folder.write()), None))
    options = re.findall(r'data-key="([^"]+)" aria-selected="false" aria-label="([^"]+)"', html)
    assert [key for key, _ in options] == ["front-1", "front-2", "front-3"]
    assert options[2][1].startswith("front:3, Error 1.5%, Latency on local-cpu 0.318")
    assert options[2][1].endswith("exported as winner-3, measured")
    assert "The blocks of the networks are not shown" in html


def test_everything_of_a_rich_run_is_told(example):
    run = load_run(example.path)
    parts = front_parts(run, Networks(example.space, example.tables))
    told = document(parts)
    assert [one["key"] for one in told["baselines"]] == ["baseline-A", "baseline-B", "baseline-C", "baseline-D"]
    assert told["baselines"][0]["values"]["error"] == pytest.approx(1 - 0.905)
    assert {one["precision"] for one in told["candidates"]} == {"fp32", "int8"}
    html = "".join(parts)
    assert "Letters are known networks" in html
    assert "The blocks of the networks are not shown" not in html


def test_a_single_objective_has_no_plane_but_a_list(run_folder):
    run_folder.keep_objectives("error")
    html = "".join(front_parts(load_run(run_folder.write()), None))
    assert "single objective" in html
    assert html.count('role="option"') == 3
