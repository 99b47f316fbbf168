import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.errors import ArchitectureError, StoredFileError
from hwnas.spaces import Architecture, Operator, Variable
from hwnas.spaces.architecture import invalid_choices

OPERATOR = Operator("mbconv", (16, 8, 8), {"kernel_size": 3, "activation": "relu"})


def test_architectures_are_values() -> None:
    first, again, other = Architecture("s", (0, 1)), Architecture("s", (0, 1)), Architecture("s", (1, 1))
    assert first == again
    assert len({first, again, other, Architecture("t", (0, 1))}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.choices = (1, 1)  # type: ignore[misc]


def test_an_architecture_as_json() -> None:
    assert json.dumps(Architecture("s", (0, 1)).to_json()) == '{"space": "s", "choices": [0, 1]}'


def test_an_architecture_has_a_name_for_its_files() -> None:
    """Short enough for every system, and its own."""
    assert Architecture("s", (0, 12)).slug == "0-12"
    long = [Architecture("s", (0,) * 200), Architecture("s", (0,) * 199 + (1,))]
    assert len({one.slug for one in long}) == 2
    assert all(len(one.slug) < 100 for one in long)


def test_operators_are_equal_by_what_they_are() -> None:
    """Not by the order in which their attributes were written."""
    same = Operator("mbconv", (16, 8, 8), {"activation": "relu", "kernel_size": 3})
    assert same == OPERATOR
    assert hash(same) == hash(OPERATOR)
    assert same.key == OPERATOR.key == str(OPERATOR) == "mbconv(16x8x8; activation=relu, kernel_size=3)"


@pytest.mark.parametrize(
    "other",
    [
        Operator("conv", (16, 8, 8), OPERATOR.attributes),
        Operator("mbconv", (16, 8, 4), OPERATOR.attributes),
        Operator("mbconv", (16, 8), OPERATOR.attributes),
        Operator("mbconv", (16, 8, 8), {**OPERATOR.attributes, "kernel_size": 5}),
        Operator("mbconv", (16, 8, 8), {**OPERATOR.attributes, "stride": 1}),
        Operator("mbconv", (16, 8, 8), {"kernel_size": 3}),
    ],
)
def test_operators_differ_by_any_part(other: Operator) -> None:
    assert other != OPERATOR
    assert len({other, OPERATOR}) == 2


def test_an_operator_is_no_text() -> None:
    assert OPERATOR.key != OPERATOR


names = st.text("abcdefgh_", min_size=1, max_size=8)


@given(
    kind=names,
    shape=st.lists(st.integers(1, 512), min_size=1, max_size=4),
    attributes=st.dictionaries(names, st.integers(0, 999) | names, max_size=5),
)
def test_decoding_undoes_encoding(kind: str, shape: list[int], attributes: dict[str, int | str]) -> None:
    operator = Operator(kind, tuple(shape), attributes)
    again = Operator.from_json(json.loads(json.dumps(operator.to_json())), "here")
    assert again == operator
    assert again.input_shape == operator.input_shape
    assert again.attributes == operator.attributes


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 3},
        {"kind": None},
        {"input_shape": 8},
        {"input_shape": [16, 0, 8]},
        {"input_shape": [16, -1, 8]},
        {"input_shape": [16, 8.0, 8]},
        {"input_shape": None},
        {"attributes": None},
        {"attributes": [1]},
        {"attributes": {"kernel_size": None}},
        {"attributes": {"kernel_size": 3.5}},
    ],
)
def test_what_is_no_operator_is_an_error_that_says_where(change: dict[str, object]) -> None:
    with pytest.raises(StoredFileError, match=r"table\.json: entry 3 must hold an operator"):
        Operator.from_json({**OPERATOR.to_json(), **change}, "table.json: entry 3")


@pytest.mark.parametrize("key", ["kind", "input_shape", "attributes"])
def test_a_part_of_an_operator_that_is_missing_is_an_error(key: str) -> None:
    document = OPERATOR.to_json()
    del document[key]
    with pytest.raises(StoredFileError, match="must hold an operator"):
        Operator.from_json(document, "here")


def test_wrong_choices_are_explained() -> None:
    variables = (Variable("depth", (2, 3)), Variable("kernel", (3, 5, 7)))
    assert invalid_choices("s", variables, (1, 2)) is None
    error = invalid_choices("s", variables, (1, 3))
    assert isinstance(error, ArchitectureError)
    assert str(error) == (
        "An architecture of s must choose an index from 0 to 2 for kernel, but 3 came. The options of kernel are 3, 5, 7."
    )
    assert str(invalid_choices("s", variables, (1,))) == "An architecture of s must have 2 choices, but 1 came."
