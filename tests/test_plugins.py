"""Members by name, and their options."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from hwnas import plugins
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.plugins import check_options, find_member, load_object


class Entry:
    name = "theirs"

    @staticmethod
    def load() -> str:
        return "loaded"


def make(
    space: object,
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


def test_options_are_numbers_for_keyword_only_parameters() -> None:
    check_options("the thing", make, {"rate": 0.25})
    with pytest.raises(UnknownNameError, match=r"option of the thing 'rat' does not exist. Did you mean 'rate'"):
        check_options("the thing", make, {"rat": 1})
    for hidden in ("space", "rng"):
        with pytest.raises(UnknownNameError):
            check_options("the thing", make, {hidden: 1})
    for wrong in ("0.5", True, None):
        with pytest.raises(SettingsError, match="rate of the thing must be a number"):
            check_options("the thing", make, {"rate": wrong})


def test_lists_of_numbers_are_for_parameters_that_say_so() -> None:
    """An annotation in quotes says so too."""
    check_options("the thing", make, {"sizes": [1, 2.5], "more": (3,)})
    check_options("the thing", make, {"sizes": 2, "more": 1})
    with pytest.raises(SettingsError, match=r"rate of the thing must be a number, but \[0.5\] came"):
        check_options("the thing", make, {"rate": [0.5]})
    for wrong in ("12", [1, "2"], [True], [[1]], {1: 2}):
        with pytest.raises(SettingsError, match="sizes of the thing must be a number or a list of numbers"):
            check_options("the thing", make, {"sizes": wrong})


def test_code_that_cannot_be_imported_is_placed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("import sys\n\nnumber = 1 / 0\n")
    with pytest.raises(
        SettingsError, match=r"The thing broken\.py:number must be .* ZeroDivisionError: .* \(line 3 of "
    ):
        load_object("thing", "broken.py:number")
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
    del sys.modules["hwnas_user_json"]


def test_dataclasses_in_a_file_work(tmp_path) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass One:\n    x: int = 3\n"
    (tmp_path / "ones.py").write_text(text)
    assert load_object("thing", f"{tmp_path / 'ones.py'}:One")().x == 3
    del sys.modules["hwnas_user_ones"]
