import pytest

from hwnas.reports.documents import ObjectiveRecord
from hwnas.reports.quantities import (
    duration,
    objective_title,
    scale_for,
    signed_percent,
    significant,
    wilson_interval,
    with_half_width,
)

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("unit", "value", "written"),
    [
        ("fraction", 0.0213, "2.13%"),
        ("MACs", 12_345_678, f"12.3{NBSP}M"),
        ("MACs", 2_400_000_000, f"2.40{NBSP}G"),
        ("parameters", 812, "812"),
        ("bytes", 1536, f"1.50{NBSP}KiB"),
        ("bytes", 12, f"12{NBSP}bytes"),
        ("ms", 0.0432, f"0.0432{NBSP}ms"),
        ("ms", 431.2, f"431{NBSP}ms"),
        ("", 0.0, "0"),
    ],
)
def test_a_value_alone_is_written_to_three_digits(unit, value, written):
    assert scale_for(unit, [value]).write(value) == written


def test_values_that_share_a_scale_share_their_decimals():
    scale = scale_for("ms", [0.0959, 0.307])
    assert [scale.write_bare(value) for value in (0.0959, 0.307)] == ["0.096", "0.307"]
    assert scale_for("MACs", [2_220_000, 18_800_000]).write_bare(2_220_000) == "2.2"


@pytest.mark.parametrize(
    ("value", "written"), [(0.04123, "0.0412"), (98.14, "98.1"), (1234.4, "1234"), (0.0, "0"), (-0.5, "-0.500")]
)
def test_significant(value, written):
    assert significant(value) == written


@pytest.mark.parametrize(
    ("value", "low", "high", "written"),
    [
        (0.43, 0.428, 0.434, "0.430 ± 0.003"),
        (0.43, 0.4299, 0.4301, "0.4300 ± 0.0001"),
        (12.0, 11.0, 13.0, "12.0 ± 1.0"),
        (0.43, 0.43, 0.43, "0.430"),
    ],
)
def test_with_half_width(value, low, high, written):
    assert with_half_width(value, low, high) == written


def test_wilson_interval_is_the_published_one():
    # 81 of 263: Newcombe (1998), Statistics in Medicine 17, table I, method 3
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(1.0, 20)[1] == 1.0


def test_signed_percent():
    assert signed_percent(0.041) == "+4.1%"
    assert signed_percent(-0.041) == "\N{MINUS SIGN}4.1%"


def test_objective_titles():
    names = ["latency_ms@rpi4", "macs", "peak_memory", "my_score"]
    titles = [objective_title(ObjectiveRecord(name, "", "minimize")) for name in names]
    assert titles == ["Latency on rpi4", "MACs", "Peak memory", "My score"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.0, "0 s"), (0.42, "0.42 s"), (38.2, "38 s"), (59.6, "1 min 00 s"), (192.3, "3 min 12 s"), (7500, "2 h 05 min")],
)
def test_times_are_written_for_people(seconds, written):
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == written
