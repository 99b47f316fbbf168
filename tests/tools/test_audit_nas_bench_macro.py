import importlib.util
from pathlib import Path

import pytest

from hwnas.api.settings import make_settings


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "audit_nas_bench_macro.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_the_presets_are_settings_of_a_run(tool, preset):
    training = tool.PRESETS[preset]
    settings = make_settings({"space": "nas_bench_macro", "training": training}, where="a test")
    assert settings.training.method == training["method"]


def test_the_preset_can_be_changed(tool):
    assert tool.parse(["images", "--training", '{"epochs": 3}']).training == {"epochs": 3}
