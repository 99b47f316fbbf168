"""What is shown of latency tables."""

import re
from dataclasses import replace

import pytest

from hwnas.api import describe_table
from hwnas.cli import screen, table_screen
from hwnas.devices import Measurement
from hwnas.latency import Finding, compare_tables


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(screen.console, "width", 200)


@pytest.fixture
def shown(capsys):
    """Calls a function of the screen and gives what it printed, a line each."""

    def call(function, *arguments):
        function(*arguments)
        return capsys.readouterr().out.splitlines()

    return call


def line(lines, start):
    return next(one for one in lines if one.lstrip("│ ").startswith(start))


def numbers(text):
    """The numbers behind the first cell."""
    return re.findall(r"[\d.]+", text.removeprefix("│").split("│", 1)[1])


def test_the_quality_is_of_each_way_to_foretell(proven_table, shown):
    lines = shown(table_screen.show_quality, proven_table)
    assert "Quality on 12 networks, each left out of the fit that foretells it" in lines[0]
    assert [one.split() for one in lines[1:3]] == [
        ["┃", "┃", "┃", "mean", "┃", "within", "┃", "within"],
        ["┃", "Spearman", "┃", "Kendall", "┃", "error", "┃", "5", "%", "┃", "10", "%"],
    ]
    quality = proven_table.quality
    rows = {
        "calibrated prediction": quality.calibrated,
        "sum of rows": quality.raw_sum,
        "MACs alone": quality.macs,
        "noise ceiling (measured twice)": quality.noise_ceiling,
    }
    for name, found in rows.items():
        wanted = [f"{found.spearman:.3f}", f"{found.kendall:.3f}", f"{100 * found.mean_error:.2f}"]
        assert numbers(line(lines, name))[:3] == wanted
    assert not any("Never calibrated" in one for one in lines)


def test_profile_and_show_print_the_same_quality(proven_table, shown):
    quality = shown(table_screen.show_quality, proven_table)
    assert shown(table_screen.show_table, proven_table)[: len(quality)] == quality
    whole = "\n".join(shown(table_screen.show_description, proven_table, describe_table(proven_table)))
    assert "\n".join(quality) in whole


def test_a_table_that_was_never_calibrated_gets_the_command(bare_table, proven_table, shown):
    lines = shown(table_screen.show_quality, bare_table)
    assert lines == [line(lines, "Never calibrated")]
    assert lines[0].endswith("--num-classes 10 --space-option width_mult=0.25 --calibrate 10")
    carriers = tuple(replace(one, role="carrier") for one in proven_table.networks)
    lines = shown(table_screen.show_quality, replace(proven_table, networks=carriers))
    assert "each left out of the fit that foretells it" in lines[0]
    assert not any("calibrated prediction" in one for one in lines)
    assert "Never calibrated" in lines[-1]


def test_the_quality_fits_into_80_columns(proven_table, shown, monkeypatch):
    lines = shown(table_screen.show_quality, proven_table)
    monkeypatch.setattr(screen.console, "width", 80)
    assert [one.rstrip() for one in shown(table_screen.show_quality, proven_table)] == [one.rstrip() for one in lines]


def test_too_low_a_quality_is_said(proven_table, shown):
    poor = replace(proven_table.quality.calibrated, spearman=0.3, kendall=None)
    table = replace(proven_table, quality=replace(proven_table.quality, calibrated=poor, noise_ceiling=None))
    lines = shown(table_screen.show_quality, table)
    assert "Spearman 0.30, below 0.8" in line(lines, "Not good enough to search by")
    assert line(lines, "noise ceiling").count("–") == 5


def test_the_description_says_what_a_prediction_is(proven_table, bare_table, shown):
    text = "\n".join(shown(table_screen.show_description, proven_table, describe_table(proven_table)))
    calibration = proven_table.calibration
    assert f"{calibration.scale:.4g} × the sum of rows + {calibration.overhead_ms:.4g} ms a call" in text
    assert "90 % of networks within ± " in text
    assert "84, complete for its space" in text
    assert "cpu a processor, cores 4" in text
    assert "governor" not in text
    assert "! operators: the machine drifted" in text
    text = "\n".join(shown(table_screen.show_description, bare_table, describe_table(bare_table)))
    assert "never: a prediction is the sum of rows" in text


def test_an_incomplete_table_lists_the_first_of_what_it_lacks(bare_table, shown):
    refused, *rest = list(bare_table.entries)
    entries = {one: bare_table.entries[one] for one in rest[7:]}
    table = replace(bare_table, entries=entries, refused={refused: "no [red] kernel"}, fingerprint={})
    lines = shown(table_screen.show_description, table, describe_table(table))
    assert "76 of 84: incomplete, 7 missing and 1 refused by the runtime" in line(lines, "operators")
    assert "not known" in line(lines, "environment")
    assert sum(one.startswith("missing ") for one in lines) == 5
    assert "… and 2 more" in "\n".join(lines)
    assert line(lines, "refused ").endswith("no [red] kernel")


def test_the_slowest_operators_come_first(bare_table, shown):
    lines = shown(table_screen.show_slowest, bare_table)
    slowest = sorted(bare_table.entries.values(), key=lambda row: -row.latency_ms)
    times = re.findall(r"│ (\d\.\d{4}) │", "\n".join(lines))
    assert times == [f"{row.latency_ms:.4f}" for row in slowest[:5]]


def test_a_comparison_shows_what_differs_and_the_extremes(proven_table, bare_table, shown):
    entries = dict(proven_table.entries)
    slower, faster, gone, *_ = entries
    entries[slower] = Measurement(4 * entries[slower].latency_ms, (0.0, 99.0))
    entries[faster] = Measurement(entries[faster].latency_ms / 4, (0.0, 99.0))
    del entries[gone]
    identity = replace(bare_table.identity, batch_size=8)
    other = replace(bare_table, identity=identity, entries=entries)
    lines = shown(table_screen.show_comparison, compare_tables(proven_table, other))
    text = "\n".join(lines)
    assert numbers(line(lines, "batch size")) == ["1", "8"]
    assert "Environment: the same" in text
    assert f"1 operators in the first only, such as {gone}" in text
    assert numbers(line(lines, "operators ")) == ["83", "1.000", "1.000", "1.000"]
    assert [f"{ratio:.3f}" in text for ratio in (4, 0.25)] == [True, True]
    assert text.index("4.000") < text.index("0.250")
    assert numbers(line(lines, "networks left out")) == ["12", "0"]
    assert "scale + overhead" in line(lines, "calibration")
    assert "never" in line(lines, "calibration")


def test_findings_are_a_line_each(shown):
    findings = [Finding("wrong", "stale [x]"), Finding("note", "never calibrated")]
    assert shown(table_screen.show_findings, "a.json", findings) == [
        "a.json: wrong: stale [x]",
        "a.json: note: never calibrated",
    ]
    assert shown(table_screen.show_findings, "a.json", findings[1:])[-1] == "a.json: nothing is wrong"
