"""Members by name, and their options."""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from hwnas import plugins
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.plugins import check_options, find_member, load_object, plugin_origins


class Package:
    name = "a-package"


class Entry:
    name, dist = "theirs", Package

    @staticmethod
    def load() -> str:
        return "loaded"


def make(
    space: object,
    size: int = 3,
    *,
    rng: object,
    rate: float = 0.5,
    sizes: "float | Sequence[float]" = 1,
    more: list[float] | None = None,
) -> None:
    """Takes a number, and twice several."""


def test_a_built_in_member_is_found_without_looking_at_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise AssertionError("plug-ins were looked at")

    monkeypatch.setattr(plugins, "entry_points", refuse)
    assert find_member("space", "ours", {"ours": 1}, group="hwnas.spaces") == 1


def test_a_plugin_is_found_in_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry] if group == "hwnas.spaces" else [])
    assert find_member("space", "theirs", {"ours": "built in"}, group="hwnas.spaces") == "loaded"
    with pytest.raises(UnknownNameError):
        find_member("runtime", "theirs", {"ours": "built in"}, group="hwnas.runtimes")


def test_an_unknown_name_names_the_nearest_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry])
    with pytest.raises(
        UnknownNameError, match=r"rpi4: space 'their' does not exist. Did you mean 'theirs'\? Known: ours, theirs"
    ):
        find_member("space", "their", {"ours": 1}, group="hwnas.spaces", where="rpi4")


@pytest.mark.parametrize("error", [ImportError("no such library"), SystemExit(0), TypeError("no")])
def test_a_plugin_that_cannot_be_imported_names_its_package(error, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Entry):
        @staticmethod
        def load() -> str:
            raise error

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Broken])
    said = f"^The plug-in theirs of a-package must be importable, but it raises {type(error).__name__}: {error} .line"
    with pytest.raises(SettingsError, match=said):
        find_member("space", "theirs", {}, group="hwnas.spaces")


def test_plugins_have_an_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    loose = EntryPoint("loose", "their_module:Space", "hwnas.spaces")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Entry, loose] if group == "hwnas.spaces" else [])
    assert plugin_origins("hwnas.spaces") == {"theirs": "a-package", "loose": "their_module"}
    assert plugin_origins("hwnas.runtimes") == {}


def test_options_are_numbers_for_keyword_only_parameters() -> None:
    check_options("the thing", make, {"rate": 0.25}, positional=1)
    with pytest.raises(UnknownNameError, match=r"option of the thing 'rat' does not exist. Did you mean 'rate'"):
        check_options("the thing", make, {"rat": 1}, positional=1)
    for hidden in ("space", "rng"):
        with pytest.raises(UnknownNameError):
            check_options("the thing", make, {hidden: 1}, positional=1)
    for wrong in ("0.5", True, None):
        with pytest.raises(SettingsError, match="rate of the thing must be a number"):
            check_options("the thing", make, {"rate": wrong}, positional=1)


def test_an_option_of_an_ordinary_parameter_is_told_how_to_become_one() -> None:
    with pytest.raises(SettingsError, match=r"parameter size of the thing must be keyword-only.* Put `\*,` before it"):
        check_options("the thing", make, {"size": 1}, positional=1)
    with pytest.raises(UnknownNameError):
        check_options("the thing", make, {"size": 1}, positional=2)


def test_lists_of_numbers_are_for_parameters_that_say_so() -> None:
    """An annotation in quotes says so too."""
    check_options("the thing", make, {"sizes": [1, 2.5], "more": (3,)}, positional=1)
    check_options("the thing", make, {"sizes": 2, "more": 1}, positional=1)
    with pytest.raises(SettingsError, match=r"rate of the thing must be a number, but \[0.5\] came"):
        check_options("the thing", make, {"rate": [0.5]}, positional=1)
    for wrong in ("12", [1, "2"], [True], [[1]], {1: 2}):
        with pytest.raises(SettingsError, match="sizes of the thing must be a number or a list of numbers"):
            check_options("the thing", make, {"sizes": wrong}, positional=1)


def test_code_that_cannot_be_imported_is_placed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import sys\n\nnumber = 1 / 0\n")
    with pytest.raises(
        SettingsError, match=r"The thing broken\.py:number must be .* ZeroDivisionError: .* \(line 3 of "
    ):
        load_object("thing", "broken.py:number")
    (tmp_path / "script.py").write_text("number = 1\nimport sys\nsys.exit(0)\n")
    with pytest.raises(SettingsError, match=r"can be imported, but it raises SystemExit: 0 \(line 3 of .*script\.py"):
        load_object("thing", "script.py:number")
    (tmp_path / "torn.py").write_text("def (")
    with pytest.raises(SettingsError, match=r"SyntaxError: .*torn\.py, line 1"):
        load_object("thing", "torn.py:number")
    with pytest.raises(SettingsError, match=r"but none\.py does not"):
        load_object("thing", "none.py:number")
    with pytest.raises(SettingsError, match="No module named 'nowhere_at_all'"):
        load_object("thing", "nowhere_at_all:number")


def test_a_file_does_not_take_the_place_of_a_module(tmp_path) -> None:
    import json

    (tmp_path / "json.py").write_text("number = 5")
    assert load_object("thing", f"{tmp_path / 'json.py'}:number") == 5
    assert json.loads("5") == 5
    assert sys.modules["json"] is json


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path) -> None:
    kinds = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / "mine.py"
        path.write_text(f"class Mine:\n    number = {number}\n")
        kinds.append(load_object("thing", f"{path}:Mine"))
    assert [kind.number for kind in kinds] == [1, 2]
    assert [sys.modules[kind.__module__].Mine for kind in kinds] == kinds


@pytest.fixture(autouse=True)
def no_modules_left() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in {name for name in sys.modules if name.startswith("hwnas_user_")} - before:
        del sys.modules[name]


def test_dataclasses_in_a_file_work(tmp_path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass One:\n    x: int = 3\n"
    (tmp_path / "ones.py").write_text(text)
    assert load_object("thing", f"{tmp_path / 'ones.py'}:One")().x == 3
