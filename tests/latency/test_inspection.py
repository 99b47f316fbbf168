"""What is wrong with a table that could be read."""

from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.devices import Measurement
from hwnas.latency import save_table, table_path
from hwnas.latency.inspection import Finding, calibrated_networks, inspect_table, space_of
from hwnas.spaces import MobileNetV3, Operator, ResNet


def wrong(table, space, **keywords):
    return [one.text for one in inspect_table(table, space=space, **keywords) if one.severity == "wrong"]


def notes(table, space, **keywords):
    return [one.text for one in inspect_table(table, space=space, **keywords) if one.severity == "note"]


def test_the_space_is_made_from_rows_and_file_name(bare_table, small_space):
    assert space_of(bare_table).identity() == small_space.identity()


@pytest.mark.parametrize(
    "space",
    [
        MobileNetV3((3, 32, 32), 10, width_mult=[0.25, 0.5], resolution=[16, 32]),
        ResNet((3, 32, 32), 10),
        ResNet((3, 32, 32), 10, width_mult=0.65, expand_ratio=[0.25, 0.35]),
    ],
    ids=lambda space: f"{space.name} {space.options}",
)
def test_options_of_several_values_are_in_the_file_name(bare_table, space):
    """And no others than those that are not the default."""
    identity = replace(bare_table.identity, space=space.name)
    entries = dict.fromkeys(space.all_operators(), next(iter(bare_table.entries.values())))
    table = replace(bare_table, identity=identity, entries=entries, path=table_path(Path("t"), identity, space))
    assert space_of(table).identity() == space.identity()


def test_a_table_without_a_file_is_of_the_default_options(bare_table):
    assert space_of(replace(bare_table, path=None)).options == {"width_mult": 1.0}


def test_an_unknown_space_cannot_be_made(bare_table):
    table = replace(bare_table, identity=replace(bare_table.identity, space="tiny"))
    assert space_of(table) is None
    assert "its space tiny cannot be made here, so its operators were not checked" in notes(table, None)


def test_a_sound_table_has_nothing_wrong(proven_table, small_space):
    assert wrong(proven_table, small_space, present=dict(proven_table.fingerprint)) == []
    assert notes(proven_table, small_space) == ["operators: the machine drifted"]
    assert calibrated_networks(proven_table) == 12


def test_missing_and_unknown_rows(bare_table, small_space):
    first, *others = small_space.all_operators()
    stranger = Operator("mbconv", (1, 2, 3), {})
    entries = {one: bare_table.entries[one] for one in others} | {stranger: bare_table.entries[first]}
    table = replace(bare_table, entries=entries)
    assert wrong(table, small_space) == [
        f"incomplete: no row for 1 of 84 (the first: {first})",
        f"mobilenetv3 with 10 classes, width_mult 0.25 has no such operators: 1 of 84 (the first: {stranger})",
    ]


def test_refused_operators_say_why(bare_table, small_space):
    *others, last = small_space.all_operators()
    entries = {one: bare_table.entries[one] for one in others}
    table = replace(bare_table, entries=entries, refused={last: "no such kernel"})
    text = f"incomplete: onnxruntime-cpu refuses 1 of 84 (the first: {last}), and says no such kernel"
    assert wrong(table, small_space) == [text]


@pytest.mark.parametrize(
    ("row", "severity", "said"),
    [
        (Measurement(0.0, (0.0, 0.1)), "wrong", "rows that cost nothing: 1 of 84"),
        (Measurement(-1.0, (-1.1, 0.0)), "wrong", "rows below 0 ms: 1 of 84"),
        (Measurement(1.0, (0.9, 1.2)), "note", "rows whose 95 % interval is wider than 10%: 1 of 84"),
    ],
)
def test_impossible_and_uncertain_rows(row, severity, said, bare_table, small_space):
    operator = small_space.all_operators()[5]
    table = replace(bare_table, entries={**bare_table.entries, operator: row})
    assert Finding(severity, f"{said} (the first: {operator})") in inspect_table(table, space=small_space)


def test_an_uncalibrated_table_gets_the_command(bare_table, small_space):
    (note,) = [one for one in notes(bare_table, small_space) if one.startswith("never calibrated")]
    assert "hwnas profile board --space mobilenetv3 --input-shape 3x32x32 --num-classes 10" in note
    assert "--space-option width_mult=0.25 --calibrate 10" in note


def test_a_table_that_ranks_badly_is_wrong(proven_table, small_space):
    poor = replace(proven_table.quality.calibrated, spearman=0.4)
    table = replace(proven_table, quality=replace(proven_table.quality, calibrated=poor))
    assert wrong(table, small_space) == [
        "not good enough to search by: it ranks 12 measured networks at Spearman 0.40, below 0.8"
    ]


def test_sums_that_are_not_of_the_rows_are_found(proven_table, small_space):
    first, *others = proven_table.networks
    table = replace(proven_table, networks=(replace(first, sum_ms=2 * first.sum_ms), *others))
    (text,) = wrong(table, small_space)
    assert text.startswith(f"network 0 says that its rows sum to {2 * first.sum_ms:.6g} ms, but they sum to ")
    assert wrong(replace(table, source="adapted to 12 networks"), small_space) == []


def test_networks_of_another_space_are_found(proven_table, small_space):
    first, *others = proven_table.networks
    table = replace(proven_table, networks=(replace(first, choices=(0, 1)), *others))
    assert wrong(table, small_space) == [
        "network 0 is not of mobilenetv3: An architecture of mobilenetv3 must have 45 choices, but 2 came."
    ]


def test_a_stale_table_says_what_changed(proven_table, small_space):
    present = {**proven_table.fingerprint, "governor": "powersave"}
    assert wrong(proven_table, small_space, present=present) == ["stale, since governor was None and is powersave"]


def test_the_options_are_lost_with_the_name(bare_table, small_space, tmp_path):
    renamed = save_table(bare_table, tmp_path / "renamed.json")
    assert any("has no such operators" in text for text in wrong(renamed, space_of(renamed)))
