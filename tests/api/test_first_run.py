"""The verb `quickstart`."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from hwnas.api import first_run, quickstart
from hwnas.api.settings import make_settings, read_settings


def test_the_settings_that_ship_are_valid() -> None:
    settings = make_settings(read_settings(Path(str(files("hwnas.api") / "quickstart.toml"))), where="quickstart")
    assert settings.data == "digits"
    assert settings.devices == ["local-cpu"]


def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "space_options": {"width_mult": 0.1},
        "strategy_options": {"first_evaluations": 4, "generations": 3},
        "evaluations": 8,
        "calibration_images": 32,
        "winners": 2,
        "finetune_epochs": 0,
        "training": {"epochs": 1, "batch_size": 256, "method_options": {"random_subnets": 0}},
        "calibration_networks": 3,
        "measurement": {"rounds": 5, "seconds": 1},
    }
    monkeypatch.setattr(first_run, "read_settings", lambda _: dict(small))
    page = quickstart(tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"run.toml", "evaluations.jsonl", "front.json", "models", "verification.json", "report.html"}
    assert list((tmp_path / "run" / "latency_tables").rglob("*.json"))
    assert len(json.loads((tmp_path / "run" / "verification.json").read_text())["models"]) in {1, 2}
