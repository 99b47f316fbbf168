"""`make_space` and `find_space`."""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwnas.plugins
import hwnas.spaces
from hwnas.errors import SettingsError, SpaceError, UnknownNameError
from hwnas.spaces import SPACES, MobileNetV3, NASBenchMacro, find_space, make_space
from hwnas.testing import ToySpace


def test_spaces_have_the_names_they_are_listed_under() -> None:
    assert {name: kind.name for name, kind in SPACES.items()} == {name: name for name in SPACES}


def test_arguments_and_options_reach_the_space() -> None:
    space = make_space("mobilenetv3", input_shape=(1, 28, 28), num_classes=7, options={"width_mult": 0.5})
    assert isinstance(space, MobileNetV3)
    assert space.identity() == {
        "space": "mobilenetv3",
        "input_shape": [1, 28, 28],
        "num_classes": 7,
        "space_options": {"width_mult": 0.5},
    }


@pytest.mark.parametrize("name", ["mobilenetv3", "resnet"])
def test_several_values_of_an_option_are_a_list_in_its_identity(name: str) -> None:
    options = {"width_mult": [0.5, 1.0], "resolution": [6, 8]}
    space = make_space(name, input_shape=(1, 8, 8), num_classes=7, options=options)
    assert {key: space.identity()["space_options"][key] for key in options} == options


@pytest.mark.parametrize(("name", "near"), [("mobilenet", "mobilenetv3"), ("MobileNetV2", "mobilenetv3")])
def test_an_unknown_space_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"space '{name}' does not exist. Did you mean '{near}'") as caught:
        make_space(name)
    assert caught.value.nearest == near


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="option of the space mobilenetv3 'width' does not exist") as caught:
        make_space("mobilenetv3", options={"width": 0.5})
    assert caught.value.nearest == "width_mult"


@pytest.mark.parametrize("positional", ["input_shape", "num_classes"])
def test_arguments_are_no_options(positional: str) -> None:
    with pytest.raises(UnknownNameError):
        make_space("mobilenetv3", options={positional: 3})


@pytest.mark.parametrize("value", ["0.5", True, None, ["0.5"], [0.5, True], [[0.5]]])
def test_an_option_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(
        SettingsError, match="width_mult of the space mobilenetv3 must be a number or a list of numbers"
    ):
        make_space("mobilenetv3", options={"width_mult": value})


@pytest.mark.parametrize(
    "shape",
    [
        *[(0, 8, 8), (3, 3, 8), (3, 8, 3), (3, 8), (3, 8, 8, 8), (), (-3, 8, 8), (3, 5000, 8), (5000, 8, 8)],
        *[(3, 32.9, 32), (3, 32.0, 32), (True, 8, 8), (3, "8", 8)],
    ],
)
def test_an_input_shape_out_of_range_is_refused(shape: Any) -> None:
    with pytest.raises(SettingsError, match="input_shape must be channels x height x width") as caught:
        make_space("mobilenetv3", input_shape=shape)
    assert f"{'x'.join(map(str, shape))} came" in str(caught.value)


@pytest.mark.parametrize("shape", [5, "3x8x8", None])
def test_an_input_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(SettingsError, match=f"input_shape must be channels x height x width.*, but {shape!r} came"):
        make_space("mobilenetv3", input_shape=shape)


def test_numbers_of_numpy_become_plain_ones() -> None:
    space = make_space("nas_bench_macro", input_shape=np.array([3, 8, 8]).tolist(), num_classes=np.int64(10))
    assert space.identity() == NASBenchMacro((3, 8, 8), 10).identity()
    assert type(make_space("fbnet", input_shape=tuple(np.array([3, 8, 8]))).input_shape[1]) is int
    assert type(space.num_classes) is int


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4096)])
def test_the_smallest_and_largest_shapes_make_spaces(shape: tuple[int, int, int]) -> None:
    space = make_space("mobilenetv3", input_shape=shape, num_classes=2, options={"width_mult": 0.25})
    assert space.counts[space.operators(space.largest())[-1]].output_shape == (2,)


@pytest.mark.parametrize("classes", [1, 0, -5, 1_000_001, 10.5, 10.0, "10", True, None])
def test_a_number_of_classes_out_of_range_is_refused(classes: Any) -> None:
    with pytest.raises(
        SettingsError, match=f"num_classes must be a whole number from 2 to 1000000, but {classes!r} came"
    ):
        make_space("mobilenetv3", num_classes=classes)


def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("toy", "hwnas.testing.toy_space:ToySpace", "hwnas.spaces")
    found: Callable[..., list[EntryPoint]] = lambda group: [entry] if group == "hwnas.spaces" else []  # noqa: E731
    monkeypatch.setattr(hwnas.plugins, "entry_points", found)


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    assert find_space("toy") is ToySpace
    assert make_space("toy", input_shape=(1, 8, 8), num_classes=4).num_classes == 4


def test_plug_ins_are_among_the_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    with pytest.raises(UnknownNameError, match="Did you mean 'toy'"):
        make_space("toyy")


def test_a_plug_in_cannot_take_the_place_of_a_built_in_space(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mobilenetv3", "hwnas.testing.toy_space:ToySpace", "hwnas.spaces")
    monkeypatch.setattr(hwnas.plugins, "entry_points", lambda group: [entry])
    assert find_space("mobilenetv3") is MobileNetV3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("json:dumps", r"must be a class derived from hwnas\.SearchSpace, but it is the function"),
        ("collections:Counter", "must be a class derived from .* but it is the class <class 'collections.Counter'>"),
        (
            "nowhere_at_all:Space",
            r"^The plug-in theirs of nowhere_at_all must be importable, but .*ModuleNotFoundError",
        ),
        ("json:nothing", "must be importable, but it raises AttributeError"),
    ],
)
def test_a_plug_in_that_is_no_space_is_refused(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", value, "hwnas.spaces")
    monkeypatch.setattr(hwnas.plugins, "entry_points", lambda group: [entry])
    with pytest.raises(SettingsError, match=said):
        find_space("theirs")


MINE = """
from beside import CHANNELS
from hwnas.testing import ToySpace

def of_toys(): ...

class Mine(ToySpace):
    name = "mine"

    def __init__(self, input_shape, num_classes, *, channels=CHANNELS):
        super().__init__(input_shape, num_classes)
        self.channels = 1 / channels
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "beside.py").write_text("CHANNELS = 4")
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    forget_mine()
    yield tmp_path / "mine.py"
    forget_mine()


def forget_mine() -> None:
    """Other tests have a module of that name, too."""
    for name in [name for name in sys.modules if name in ("beside", "mine") or name.startswith("hwnas_user_")]:
        del sys.modules[name]


def test_a_space_may_be_in_a_file_or_a_module_of_the_user(mine: Path) -> None:
    path = list(sys.path)
    for name in ("mine.py:Mine", f"{mine}:Mine", "mine:Mine"):
        space = make_space(name, input_shape=(1, 8, 8), num_classes=4, options={"channels": 2})
        assert (space.name, space.num_classes, space.channels) == ("mine", 4, 0.5)
    assert sys.path == path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py:Mein", r"mine\.py: space 'Mein' does not exist\. Did you mean 'Mine'"),
        (
            "mine.py:of_toys",
            r"mine\.py:of_toys must be a class derived from hwnas\.SearchSpace, but it is the function",
        ),
        ("mine:CHANNELS", "must be a class derived from .* but it is the int 4"),
    ],
)
def test_what_is_no_class_of_a_space_is_refused(name: str, said: str, mine: Path) -> None:
    with pytest.raises((SettingsError, UnknownNameError), match=said):
        find_space(name)


def test_options_of_a_class_of_the_user_are_checked(mine: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'channels'"):
        make_space("mine.py:Mine", options={"chanels": 1})
    with pytest.raises(SpaceError, match=r"mine\.py:Mine must be made as .*, but it raises ZeroDivisionError: "):
        make_space("mine.py:Mine", options={"channels": 0})


def test_what_a_class_of_the_user_lacks_is_named(mine: Path) -> None:
    mine.write_text(MINE.replace("super().__init__(input_shape, num_classes)", "self.num_classes = num_classes"))
    with pytest.raises(SpaceError, match=r"^The space Mine must have `input_shape`, but it has none"):
        make_space("mine.py:Mine")


def test_an_ordinary_parameter_is_no_option(mine: Path) -> None:
    mine.write_text(MINE.replace("*, ", ""))
    with pytest.raises(SettingsError, match=r"channels of the space mine\.py:Mine must be keyword-only"):
        make_space("mine.py:Mine", options={"channels": 2})
