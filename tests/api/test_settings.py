"""run.toml: the keywords of search, with errors that name the key."""

import inspect
from pathlib import Path

import pytest

from hwnas.api import search
from hwnas.api.settings import RunSettings, make_settings, read_settings, settings_to_toml
from hwnas.errors import SettingsError, StoredFileError, UnknownNameError


def test_run_toml_holds_exactly_the_keywords_of_search() -> None:
    of_this_call = {"output", "on_progress", "force", "accept_stale"}
    keywords = set(inspect.signature(search).parameters) - of_this_call
    assert set(RunSettings.model_fields) == keywords


def test_the_defaults_are_those_of_search() -> None:
    defaults = RunSettings()
    for name, parameter in inspect.signature(search).parameters.items():
        if name in RunSettings.model_fields and parameter.default is not None:
            given = parameter.default
            assert getattr(defaults, name) == (list(given) if isinstance(given, tuple) else given), name


def test_settings_survive_the_way_through_toml(tmp_path: Path) -> None:
    given = {
        "space_options": {"width_mult": [0.25, 1], "resolution": [6, 8], "depth": 3},
        "objectives": ["error", "latency@local-cpu"],
        "bounds": {"latency@local-cpu": 3.5},
        "data": 'a "quoted" \\ path',
        "training": {"epochs": 3, "learning_rate": 1},
        "measurement": {"rounds": 7},
        "image_size": 64,
        "workers": "ray://head:10001?workers=3",
    }
    settings = make_settings(given, where="test")
    path = tmp_path / "run.toml"
    path.write_text(settings_to_toml(settings))
    assert make_settings(read_settings(path), where="test") == settings
    assert settings.training.learning_rate == 1.0


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"run.toml: key 'evalutions' does not exist. Did you mean 'evaluations'"
    ):
        make_settings({"evalutions": 3}, where="run.toml")
    with pytest.raises(UnknownNameError, match=r"run.toml: training: key 'batchsize'.*Did you mean 'batch_size'"):
        make_settings({"training": {"batchsize": 3}}, where="run.toml")


def test_the_key_of_one_precision_names_that_of_several() -> None:
    with pytest.raises(UnknownNameError, match=r"key 'precision' does not exist. Did you mean 'precisions'"):
        make_settings({"precision": "int8"}, where="run.toml")


@pytest.mark.parametrize(
    "given",
    [
        {"evaluations": "many"},
        {"evaluations": 1.5},
        {"winners": 0},
        {"workers": 0},
        {"workers": -1},
        {"workers": 2.0},
        {"workers": True},
        {"workers": "foo"},
        {"workers": "ray://head"},
        {"space": 3},
        {"bounds": {"macs": "x"}},
        {"seed": -1},
        {"space_options": {"width_mult": "wide"}},
        {"space_options": {"width_mult": [0.5, "wide"]}},
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key(given: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"run.toml: {next(iter(given))}"):
        make_settings({"objectives": ["macs"], **given}, where="run.toml")


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("space = [")
    with pytest.raises(StoredFileError, match="in TOML"):
        read_settings(tmp_path / "run.toml")
    with pytest.raises(StoredFileError, match="does not exist"):
        read_settings(tmp_path / "none.toml")
