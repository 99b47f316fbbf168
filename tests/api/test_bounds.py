"""Bounds as a person writes them."""

import pytest

from hwnas.api.bounds import Bound, parse_bounds, shown_value
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.objectives import Objective

OBJECTIVES = [
    Objective(name, unit, lambda architectures: [])
    for name, unit in (
        ("error", "fraction"),
        ("macs", "MACs"),
        ("parameters", "parameters"),
        ("latency_ms@rpi4", "ms"),
        ("latency_ms@xeon", "ms"),
    )
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency@rpi4 <= 20 ms and latency@xeon <= 5 ms", [("latency_ms@rpi4", 20.0), ("latency_ms@xeon", 5.0)]),
        ("latency@rpi4<=20ms,latency@xeon<=0.005 s", [("latency_ms@rpi4", 20.0), ("latency_ms@xeon", 5.0)]),
        ("  latency@rpi4 <= 2.5e1  ", [("latency_ms@rpi4", 25.0)]),
        ("latency@rpi4 <= 1500us AND error <= 5 %", [("latency_ms@rpi4", 1.5), ("error", 0.05)]),
        ("error <= 0.05, macs <= 30 M, parameters <= 1.5G", [("error", 0.05), ("macs", 30e6), ("parameters", 1.5e9)]),
        ("macs <= 30e6", [("macs", 30e6)]),
    ],
)
def test_bounds_are_read(text, expected):
    found = parse_bounds(text, OBJECTIVES)
    assert [(one.name, one.limit) for one in found] == [(name, pytest.approx(limit)) for name, limit in expected]
    assert not any(one.strict for one in found)


def test_below_is_not_at_most():
    [below], [at_most] = parse_bounds("macs < 5", OBJECTIVES), parse_bounds("macs <= 5", OBJECTIVES)
    assert (below.holds(5.0), at_most.holds(5.0)) == (False, True)
    assert below.holds(4.9)
    assert (below.excess(5.0), below.excess(4.0), below.excess(6.0)) == (0.0, 0.0, pytest.approx(0.2))


def test_a_miss_says_by_how_much():
    bound = Bound("latency_ms@rpi4", "ms", 20.0)
    assert bound.miss(20.0) is None
    assert bound.miss(21.3) == "latency@rpi4 is 21.3 ms, 6.5% above 20 ms"
    assert Bound("error", "fraction", 0.04).miss(0.05) == "error is 5 %, 25.0% above 4 %"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(31.4e6, "MACs", "31.4 M"), (2e9, "MACs", "2 G"), (950, "parameters", "950"), (0.0421, "fraction", "4.21 %")],
)
def test_values_are_shown_with_their_units(value, unit, expected):
    assert shown_value(value, unit) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency@rpi5 <= 20 ms", r"device 'rpi5' does not exist. Did you mean 'rpi4'\?"),
        ("latncy@rpi4 <= 20 ms", r"objective 'latncy@rpi4' does not exist. Did you mean 'latency@rpi4'\?"),
        ("eror <= 5 %", r"objective 'eror' does not exist. Did you mean 'error'\?"),
        ("latency@rpi4 <= 20 msec", r"unit 'msec' does not exist. Did you mean 'ms'\?"),
        ("error <= 20 ms", r"unit 'ms' does not exist.*Known: %"),
        ("macs <= 3 m", r"unit 'm' does not exist. Did you mean 'M'\?"),
    ],
)
def test_unknown_names_name_the_nearest(text, said):
    with pytest.raises(UnknownNameError, match=said):
        parse_bounds(text, OBJECTIVES)


@pytest.mark.parametrize(
    "text", ["", "latency@rpi4", "latency@rpi4 >= 20 ms", "macs <= 5,", "macs <= five", "5 <= macs", "macs <= 5 M G"]
)
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(SettingsError, match=r"must be an objective, <= or <, and a number"):
        parse_bounds(text, OBJECTIVES)


@pytest.mark.parametrize("number", ["0", "-3", "1.2.3", "1e999"])
def test_limits_are_above_0_and_finite(number):
    with pytest.raises(SettingsError, match="must be above 0 and finite"):
        parse_bounds(f"macs <= {number}", OBJECTIVES)
