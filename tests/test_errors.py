import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas import errors
from hwnas.errors import HwnasError, UnknownNameError, nearest_name

CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}


@pytest.mark.parametrize(
    ("optional", "message"),
    [
        ({}, "run.toml must hold a seed."),
        ({"came": "it holds none"}, "run.toml must hold a seed, but it holds none."),
        ({"do": "Add one"}, "run.toml must hold a seed. Add one."),
        ({"came": "it holds none", "do": "Add one"}, "run.toml must hold a seed, but it holds none. Add one."),
    ],
)
def test_a_message_is_a_sentence_and_a_hint(optional, message):
    error = HwnasError("run.toml", "must hold a seed", **optional)
    assert str(error) == message
    assert (error.where, error.must, error.came, error.do) == (
        "run.toml",
        "must hold a seed",
        optional.get("came"),
        optional.get("do"),
    )


def test_the_tree_in_the_docstring_is_the_real_one():
    drawn = {}
    above = {}
    for line in errors.__doc__.splitlines():
        found = re.match(r" {4}([│├└─ ]*)(\w+)", line)
        if found is None:
            continue
        level = len(found[1]) // 4
        drawn[found[2]] = above.get(level - 1)
        above[level] = found[2]
    real = {name: kind.__base__.__name__ if kind is not HwnasError else None for name, kind in CLASSES.items()}
    assert drawn == real


def test_every_error_has_one_root():
    assert HwnasError.__bases__ == (Exception,)
    assert all(issubclass(kind, HwnasError) for kind in CLASSES.values())


def test_all_lists_what_is_there():
    assert sorted(errors.__all__) == sorted([*CLASSES, "nearest_name"])


def test_an_unknown_name_is_told_the_nearest_and_all_known():
    error = UnknownNameError("device", "local-cup", ["rpi4", "local-cpu"])
    assert str(error) == "device 'local-cup' does not exist. Did you mean 'local-cpu'? Known: local-cpu, rpi4."
    assert (error.name, error.nearest) == ("local-cup", "local-cpu")


@pytest.mark.parametrize(
    ("known", "extra", "message"),
    [
        (["rpi4"], {}, "space 'zzz' does not exist. Known: rpi4."),
        ([], {}, "space 'zzz' does not exist. Known: none."),
        (["rpi4"], {"where": "run.toml"}, "run.toml: space 'zzz' does not exist. Known: rpi4."),
        (["rpi4"], {"do": "Install one"}, "space 'zzz' does not exist. Install one."),
        (["zzzz"], {"do": "Install one"}, "space 'zzz' does not exist. Did you mean 'zzzz'? Install one."),
    ],
)
def test_an_unknown_name_says_where_and_what_to_do(known, extra, message):
    assert str(UnknownNameError("space", "zzz", known, **extra)) == message


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("objctives", "objectives"),
        ("LOCAL-CPU", "local-cpu"),
        ("nsga", "NSGA2"),
        ("seeds", "seed"),
        ("transformer", None),
        ("", None),
    ],
)
def test_the_nearest_name(name, nearest):
    assert nearest_name(name, ["objectives", "local-cpu", "NSGA2", "seed"]) == nearest


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), max_size=6), st.text(max_size=12))
def test_the_nearest_name_is_a_known_one(known, name):
    assert nearest_name(name, known) in {*known, None}


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True), min_size=1, max_size=6))
def test_a_known_name_is_nearest_to_itself(known):
    assert all(nearest_name(name, known) == name for name in known)
