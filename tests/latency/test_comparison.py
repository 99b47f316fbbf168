"""Two tables side by side."""

from dataclasses import replace

import pytest

from hwnas.devices import Measurement
from hwnas.latency.comparison import compare_tables


def scaled(table, factor):
    return {
        one: Measurement(factor * row.latency_ms, tuple(factor * end for end in row.ci95_ms))
        for one, row in table.entries.items()
    }


def test_a_table_equals_itself(proven_table):
    found = compare_tables(proven_table, proven_table)
    assert found.identity == found.fingerprint == {}
    assert found.only_first == found.only_second == found.incomparable == ()
    assert found.operator_ratio == found.network_ratio == (1, 1, 1)
    assert len(found.ratios) == 84
    assert len(found.networks) == 12


def test_what_differs_is_named(proven_table):
    identity = replace(proven_table.identity, precision="int8")
    other = replace(proven_table, identity=identity, fingerprint={"cpu": "another", "cores": 4, "clock": 2})
    found = compare_tables(proven_table, other)
    assert found.identity == {"precision": ("fp32", "int8")}
    assert found.fingerprint == {"cpu": ("a processor", "another"), "clock": (None, 2)}


def test_ratios_are_of_the_second_over_the_first_and_ascend(proven_table):
    entries = scaled(proven_table, 2.0)
    first, second, *_ = entries
    entries[first] = Measurement(5 * proven_table.entries[first].latency_ms, (0.0, 99.0))
    del entries[second]
    networks = proven_table.networks[:4]
    doubled = tuple(replace(one, found=Measurement(3 * one.found.latency_ms, (0.0, 999.0))) for one in networks)
    found = compare_tables(proven_table, replace(proven_table, entries=entries, networks=doubled))
    assert found.only_first == (second,)
    assert list(found.ratios.values()) == pytest.approx([2.0] * 82 + [5.0])
    assert next(reversed(found.ratios)) == first
    assert found.operator_ratio == pytest.approx((2, 2, 2))
    assert found.network_ratio == pytest.approx((3, 3, 3))
    assert set(found.networks) == {one.choices for one in networks}


def test_rows_that_cost_nothing_have_no_ratio(proven_table):
    first = next(iter(proven_table.entries))
    table = replace(proven_table, entries={**proven_table.entries, first: Measurement(0.0, (0.0, 0.1))})
    found = compare_tables(table, proven_table)
    assert found.incomparable == (first,)
    assert len(found.ratios) == 83


def test_networks_of_different_spaces_are_never_the_same(proven_table):
    other = replace(proven_table, identity=replace(proven_table.identity, space="another"))
    assert compare_tables(proven_table, other).networks == {}


def test_tables_that_share_nothing_have_no_distribution(proven_table):
    found = compare_tables(proven_table, replace(proven_table, entries={}, networks=()))
    assert found.operator_ratio is None
    assert found.network_ratio is None
