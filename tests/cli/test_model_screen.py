"""What the command line shows of exported models."""

from typing import Any

import pytest

from hwnas.cli import model_screen

LATENCY = {
    "predicted_ms": 0.2,
    "predicted_interval_ms": [0.19, 0.21],
    "measured_ms": 0.25,
    "measured_ci95_ms": [0.24, 0.26],
    "not_measured": None,
}
UNKNOWN = dict.fromkeys(LATENCY) | {"not_measured": "it was offline"}


def model(number: int, **latency: Any) -> dict[str, Any]:
    one = {
        "file": f"models/winner-{number}/fp32-image.onnx",
        "precision": "fp32",
        "image_input": False,
        "size_bytes": 12_300,
        "peak_memory_bytes": 5 * 2**20,
        "test_accuracy": 0.975,
        "max_abs_difference": 3e-6,
        "latency": {"local-cpu": {**LATENCY, **latency}},
    }
    return {"name": f"winner-{number}", "macs": 2_500_000, "on_front": number == 1, "files": [one]}


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(model_screen.console, "width", 80)

    def show(*models: dict[str, Any]) -> str:
        model_screen.show_models({"device": "local-cpu", "test_images": 360, "models": models})
        return capsys.readouterr().out

    return show


def test_a_file_is_shown_with_what_was_found_of_it(shown: Any) -> None:
    text = shown(model(1), model(2))
    parts = ("winner-1 fp32-image ", "97.50%", "0.250 ± 0.010", "0.200 (-20.0%)", " 12 ", "torch's is 3e-06", "5.0 MB")
    for part in parts:
        assert part in text
    assert text.count("winner-2 fp32-image *") == 1
    assert "…" not in text
    assert "another model is both faster" in text


def test_without_a_prediction_or_a_measurement_nothing_is_made_up(shown: Any) -> None:
    text = shown(model(1, **UNKNOWN), model(1, predicted_ms=None, predicted_interval_ms=None))
    assert "not measured" in text
    assert text.count("0.200") == 0


def test_a_bundle_is_shown_as_its_own_program_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    report = {
        "name": "winner-1",
        "description": "k3 [wide]",
        "here": "a processor",
        "files": {},
        "again": [],
        "notes": ["Nothing was run."],
        "problems": ["x must be there, but it is missing."],
        "images": 0,
    }
    model_screen.show_bundle(report)
    text = capsys.readouterr().out
    assert "winner-1: k3 [wide]" in text
    assert "1 of the checks failed:\nx must be there, but it is missing.\n" in text
