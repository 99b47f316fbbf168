"""`hwnas table`: exit codes, JSON and pictures."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwnas.cli import commands
from hwnas.cli.commands import app

NAME = "onnxruntime-cpu-fp32-mobilenetv3-3x32x32-width_mult0.25"
PUBLISHED = Path(__file__).parents[1] / "data" / "ofa_mobilenetv3_i7_8700k_128.csv"


@pytest.fixture
def run(stored_tables, monkeypatch):
    monkeypatch.chdir(stored_tables.parent)
    return lambda *arguments: CliRunner().invoke(app, ["table", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("command", ["show", "diff", "validate", "import"])
def test_each_has_help(command) -> None:
    result = CliRunner().invoke(app, ["table", command, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 200


def test_show_prints_and_draws(run, tmp_path) -> None:
    result = run("show", f"board/{NAME}", "--png", str(tmp_path / "q.png"))
    assert result.exit_code == 0
    assert "calibrated prediction" in result.output
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")


def test_show_json_is_json_alone(run, tmp_path) -> None:
    result = run("show", f"board/{NAME}", "--json", "--png", str(tmp_path / "q.png"))
    assert json.loads(result.output)["calibration_networks"] == 12
    assert (tmp_path / "q.png").exists()


def test_diff_ends_with_0_however_much_differs(run) -> None:
    result = run("diff", f"board/{NAME}", f"other/{NAME}")
    assert result.exit_code == 0
    assert "Second / first" in result.output


def test_validate_ends_with_1_where_one_of_several_is_wrong(run, stored_tables) -> None:
    assert run("validate", f"board/{NAME}", f"other/{NAME}").exit_code == 0
    (stored_tables / "other" / f"{NAME}.json").write_text("{")
    result = run("validate", f"other/{NAME}", f"board/{NAME}")
    assert result.exit_code == 1
    assert f"other/{NAME}: wrong: " in result.output
    assert f"board/{NAME}: nothing is wrong" in result.output


def test_import_then_show(run, stored_tables) -> None:
    device = ("--device", "i7-8700k", "--runtime", "pytorch", "--input-shape", "3x128x128")
    result = run("import", str(PUBLISHED), *device)
    assert result.exit_code == 0
    assert "Latency table of 93 operators" in result.output
    shown = run("show", "i7-8700k/pytorch-fp32-mobilenetv3-3x128x128")
    assert "93, complete for its space" in shown.output
    assert "Never calibrated" in shown.output


def test_an_incomplete_import_says_so(run) -> None:
    device = ("--device", "i7-8700k", "--runtime", "pytorch", "--input-shape", "3x128x128")
    result = run("import", str(PUBLISHED), *device, "--num-classes", "10")
    assert result.exit_code == 0
    assert "incomplete: the file lacks 1 of 93 operators: classifier(" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "none"], "latency table 'none' does not exist"),
        (["diff", "none", "none"], "latency table 'none' does not exist"),
        (["validate", "none"], "latency table 'none' does not exist"),
        (["import", "none.csv", "--device", "d", "--runtime", "r"], "none.csv must be a table of blocks"),
        (["import", "none.csv", "--device", "d"], "Give --runtime, or add devices/d.toml"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(arguments, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hwnas", "table", *arguments])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
