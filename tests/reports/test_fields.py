import math

import pytest

from hwnas.errors import StoredFileError
from hwnas.reports.fields import Fields


def test_numbers_leaves_out_what_is_missing():
    fields = Fields({"values": {"a": 1, "b": None, "c": math.inf, "d": 0.5}}, "front.json")
    assert fields.numbers("values") == {"a": 1.0, "d": 0.5}


@pytest.mark.parametrize("value", [True, "1", [1]])
def test_a_number_must_be_a_number(value):
    with pytest.raises(StoredFileError, match=r"front\.json: 'a' must be a number"):
        Fields({"a": value}, "front.json").number("a")


def test_an_interval_with_an_open_end_is_missing():
    assert Fields({"ci": [0.1, math.inf]}, "f").interval("ci") is None
    assert Fields({"ci": [0.1, 0.2]}, "f").interval("ci") == (0.1, 0.2)


def test_text_falls_back_only_when_absent():
    assert Fields({}, "f").text("unit", "ms") == "ms"
    with pytest.raises(StoredFileError, match="must be a string"):
        Fields({"unit": 3}, "f").text("unit", "ms")


def test_errors_say_where_in_the_file():
    items = Fields({"models": [{}, {"file": None}]}, "verification.json").objects("models")
    with pytest.raises(StoredFileError, match=r"verification\.json: models\[1\]: 'file'"):
        items[1].text("file")
