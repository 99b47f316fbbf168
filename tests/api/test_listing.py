"""What there is to choose from."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import hwnas.plugins
from hwnas.api import list_devices, list_runtimes, list_spaces, list_strategies
from hwnas.devices import Device
from hwnas.errors import HwnasError
from hwnas.spaces import SPACES
from hwnas.strategies import STRATEGIES


def test_the_local_device_is_listed() -> None:
    device = list_devices()["local-cpu"]
    assert isinstance(device, Device)
    assert device.runtimes == ("onnxruntime-cpu",)


def test_a_device_file_that_cannot_be_used_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "broken.toml").write_text("threads = 3\n")
    monkeypatch.chdir(tmp_path)
    found = list_devices()
    assert isinstance(found["broken"], HwnasError)
    assert isinstance(found["local-cpu"], Device)


def test_runtimes_have_a_version_or_what_brings_them() -> None:
    runtimes = {one.name: one for one in list_runtimes()}
    assert runtimes["onnxruntime-cpu"].version
    assert all(one.install_hint for one in runtimes.values())


def test_spaces_say_what_they_are() -> None:
    assert list_spaces().keys() == SPACES.keys()
    assert all(list_spaces().values())


def test_plug_ins_are_listed_with_their_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"toy": "hwnas.testing.toy_space:ToySpace", "broken": "nowhere_at_all:Space", "fbnet": "nowhere:FBNet"}
    points = [EntryPoint(name, value, "hwnas.spaces") for name, value in entries.items()]
    monkeypatch.setattr(hwnas.plugins, "entry_points", lambda group: points if group == "hwnas.spaces" else [])
    found = list_spaces()
    assert list(found) == [*SPACES, "toy", "broken"]
    assert found["toy"].startswith("A stem, one to three inverted residual blocks")
    assert found["toy"].endswith("(Plug-in of hwnas.testing.toy_space.)")
    assert "No module named 'nowhere_at_all'" in found["broken"]


def test_strategies_say_how_they_search_and_what_can_be_set() -> None:
    found = list_strategies()
    assert found.keys() == STRATEGIES.keys()
    assert all(one.text and one.hyperparameters for one in found.values())
    assert found["nsga2"].hyperparameters == {"population_size": 20, "crossover_rate": 0.9, "mutation_rate": None}


def test_a_strategy_that_cannot_be_imported_is_listed_with_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("broken", "nowhere_at_all:Strategy", "hwnas.strategies")]
    monkeypatch.setattr(hwnas.plugins, "entry_points", lambda group: points if group == "hwnas.strategies" else [])
    found = list_strategies()["broken"]
    assert "No module named 'nowhere_at_all'" in found.text
    assert found.hyperparameters == {}
