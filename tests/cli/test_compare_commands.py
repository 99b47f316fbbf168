"""`hwnas compare`."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwnas import api
from hwnas.cli import screen
from hwnas.cli.commands import app
from hwnas.cli.compare_commands import show_comparison


def entry(name: str, accuracy: float, latency_ms: float | None, dominated_by: str | None) -> dict[str, Any]:
    interval = None if latency_ms is None else [0.9 * latency_ms, 1.1 * latency_ms]
    return {
        "name": name,
        "test_accuracy": accuracy,
        "macs": 2_500_000,
        "parameters": 40_000,
        "latency": {"board": {"measured_ms": latency_ms, "measured_ci95_ms": interval}},
        "dominated_by": {"board": dominated_by},
    }


DOCUMENT = {
    "device": "board",
    "test_images": 360,
    "budget": {"epochs": 20},
    "environments": {"board": {"cores": 2}, "gone": None},
    "winners": [entry("winner-1", 0.98, 0.3, None), entry("winner-2", 0.9, 0.1, None)],
    "baselines": [
        entry("resnet18 (width 0.1)", 0.97, 0.4, "winner-1"),
        entry("mobilenet_v2 (width 0.1)", 0.96, 0.2, None),
        entry("mnasnet (width 0.1)", 0.99, None, None),
    ],
    "failed": {"shufflenet_v2 (width 0.1)": "its loss was nan"},
}


def test_all_stand_in_one_table_fastest_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.console, "width", 160)
    show_comparison(DOCUMENT)
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if "2.50 M" in line]
    order = ("winner-2", "mobilenet_v2", "winner-1", "resnet18", "mnasnet")
    assert all(name in row for name, row in zip(order, rows, strict=True))
    assert "0.300 ± 0.030" in rows[2]
    assert rows[3].count("winner-1") == 1
    assert "not measured" in rows[4]
    assert (
        "On board the front dominates 1 of 2 baselines; not dominated: mobilenet_v2 (width 0.1) (96.00% in 0.200 ms)"
        in shown
    )
    assert "On gone" not in shown
    assert "shufflenet_v2 (width 0.1) is left out: its loss was nan" in shown


def test_the_names_of_baselines_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("")
    given: dict[str, Any] = {}

    def compare(run: Path, *, baselines: list[str], on_progress: Any) -> dict[str, Any]:
        given.update(run=run, baselines=baselines)
        return DOCUMENT

    monkeypatch.setattr(api, "compare", compare)
    arguments = ["compare", str(tmp_path), "--baseline", "resnet18", "--baseline", "mnasnet:0.5"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 0
    assert given == {"run": tmp_path, "baselines": ["resnet18", "mnasnet:0.5"]}
    assert f"Comparison: {tmp_path / 'comparison.json'}" in result.output.replace("\n", "")
