import re

import pytest

from hwnas.reports.documents import load_run
from hwnas.reports.progress import (
    hypervolume_figure,
    hypervolume_over_time,
    refinement_figure,
    refinement_label,
    refinement_sentence,
    spent_figure,
    spent_label,
    spent_seconds,
    spent_sentence,
)


def test_hypervolume_over_evaluations_and_time(run_folder):
    progress = load_run(run_folder.write()).progress
    figure = hypervolume_figure(progress)
    assert list(figure.data[0].x) == [2, 5]
    assert list(figure.data[0].y) == [0.61, 0.87]
    timed = hypervolume_over_time(progress)
    assert list(timed.data[0].x) == [1.0, 2.0]
    assert timed.layout.xaxis.title.text == "Time searched (s)"


@pytest.mark.parametrize(("factor", "unit"), [(1, "s"), (100, "min"), (7200, "h")])
def test_the_time_has_a_unit_that_suits_it(run_folder, factor, unit):
    for line in run_folder.progress:
        line["seconds"] *= factor
    title = hypervolume_over_time(load_run(run_folder.write()).progress).layout.xaxis.title.text
    assert title == f"Time searched ({unit})"


def test_a_log_without_times_is_not_drawn_over_time(run_folder):
    for line in run_folder.progress:
        del line["seconds"]
    run = load_run(run_folder.write())
    assert hypervolume_over_time(run.progress) is None
    assert spent_seconds(run) == {}


def test_the_rounds_of_refinement(example):
    rounds = load_run(example.path).refinement
    figure = refinement_figure(rounds)
    assert [trace.name for trace in figure.data] == ["local-cpu", "rpi4"]
    assert list(figure.data[0].x) == [1, 2, 3, 4]
    assert figure.data[0].y[0] == pytest.approx(3.4)
    said = refinement_sentence(rounds)
    assert "from 3.4% to 0.6% on local-cpu, from 8.1% to 0.7% on rpi4" in said
    assert "every measured model lies within its prediction interval" in said
    assert "6 measured latencies lie outside" in refinement_sentence(rounds[:1])
    assert refinement_label(rounds).startswith("Median error")


def test_the_time_spent_is_summed_by_stage(example):
    run = load_run(example.path)
    spent = spent_seconds(run)
    assert list(spent) == ["profiling", "training", "searching", "exporting", "verifying", "comparing"]
    figure = spent_figure(spent)
    assert list(figure.data[0].x) == list(spent.values())
    assert figure.data[0].text[1] == "37\xa0min\xa000\xa0s"
    said = spent_sentence(run, spent)
    assert said.startswith("1\xa0h\xa013\xa0min in all. The 240 evaluations took ")
    assert "No time is recorded" not in said
    assert re.match("Profiling: 6\xa0min", spent_label(spent))


def test_what_was_not_recorded_is_said(run_folder):
    run = load_run(run_folder.write())
    spent = spent_seconds(run)
    assert spent == {"searching": 2.0}
    assert "No time is recorded for profiling, training, exporting and verifying." in spent_sentence(run, spent)
