"""The command line: help, exit codes, one-sentence errors, and what it leaves behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hwnas.api import open_run
from hwnas.cli import commands, screen
from hwnas.cli.commands import app
from hwnas.errors import HwnasError, SettingsError, UnknownNameError
from hwnas.rank_audit import AuditEntry, RankAudit
from hwnas.spaces import Architecture

COMMANDS = [
    *("devices", "spaces", "strategies", "check-space", "profile", "adapt"),
    *("train", "search", "audit", "export", "pick", "verify", "compare", "report", "quickstart"),
]
EXAMPLE = str(Path(commands.__file__).parents[1] / "api" / "quickstart.toml")
TINY = """
space_options = { width_mult = 0.1 }
objectives = ["error", "macs"]
strategy_options = { first_evaluations = 4, generations = 3 }
evaluations = 10
calibration_images = 32
[training]
epochs = 1
batch_size = 256
method_options = { random_subnets = 0 }
"""


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hwnas", *arguments], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 200


def test_the_commands_are_those_of_the_readme() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names == set(COMMANDS)


def test_version() -> None:
    from hwnas import __version__

    result = CliRunner().invoke(app, ["--version"])
    assert result.output.strip() == f"hwnas {__version__}"


def test_strategies_are_listed_with_their_hyperparameters() -> None:
    output = CliRunner().invoke(app, ["strategies"], env={"COLUMNS": "160"}).output
    assert "surrogate_nsga2" in output
    assert "population_size = 20" in output
    assert "mutation_rate = None" not in output


def test_devices_lists_devices_and_runtimes() -> None:
    output = CliRunner().invoke(app, ["devices"]).output
    assert "local-cpu" in output
    assert "onnxruntime-cuda" in output


def test_the_example_is_a_run_toml(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["search", "--example"])
    (tmp_path / "my.toml").write_text(result.output)
    folder = open_run(tmp_path / "my.toml")
    assert folder.path == Path("runs") / "my"
    assert folder.settings.data == "digits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile", "locl-cpu"], "Did you mean 'local-cpu'"),
        (["profile", "local-cpu", "--space", "mobilnetv3"], "Did you mean 'mobilenetv3'"),
        (["profile", "local-cpu", "--input-shape", "224"], "such as 3x224x224"),
        (["profile", "local-cpu", "--space-option", "width_mult"], "such as width_mult=0.5"),
        (["profile", "local-cpu", "--seconds", "-1"], "measurement.seconds must be from 0"),
        (["search", "none.toml"], "does not exist"),
        (["search"], "must be given a run.toml"),
        (["search", EXAMPLE, "--workers", "0"], "workers must be a number of processes from 1 to 9999"),
        (["search", EXAMPLE, "--workers", "foo"], "workers must be a number of processes from 1 to 9999"),
        (["export", "."], "must hold a run.toml"),
        (["verify", "nowhere"], "it does not exist"),
        (["report", "nowhere"], "it does not exist"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hwnas", *arguments])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in shown
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_a_real_process_has_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('objectives = ["accuracy"]\n')
    result = run("search", "my.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert "objective 'accuracy' does not exist" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_killed_while_it_searches_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TINY)
    journal = tmp_path / "runs" / "my" / "evaluations.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "hwnas", "search", "my.toml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()
    held = journal.read_bytes()
    result = run("search", "my.toml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    after = journal.read_bytes()
    assert after.count(b"\n") == 11
    assert after.startswith(held[: held.rfind(b"\n") + 1])
    lines = after.splitlines()
    assert len(set(lines)) == len(lines)
    assert re.search(r"Going on after \d+ of 10 evaluations", result.stdout) or held.count(b"\n") == 11


def test_a_run_folder_opens_from_its_run_toml_or_itself(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TINY)
    first = open_run(tmp_path / "my.toml", output=tmp_path / "out")
    assert first.path == tmp_path / "out"
    first.begin()
    assert open_run(tmp_path / "out").path == tmp_path / "out"
    assert open_run(tmp_path / "out" / "run.toml").path == tmp_path / "out"
    shutil.rmtree(tmp_path / "out")


def test_output_may_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('output = "elsewhere"\n' + TINY)
    assert open_run(tmp_path / "my.toml").path == Path("elsewhere")
    (tmp_path / "my.toml").write_text("output = 3\n" + TINY)
    with pytest.raises(SettingsError, match="output"):
        open_run(tmp_path / "my.toml")


def test_an_audit_names_the_files_of_its_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.toml").write_text(TINY)
    entries = [AuditEntry(Architecture("toy", (n,)), "", n, 0.2 - n / 100, 0.1) for n in range(3)]
    found = RankAudit.of(entries, source="trained", data="digits", epochs=1)
    monkeypatch.setattr("hwnas.api.audit", lambda *_, **__: found)
    for run in (tmp_path, tmp_path / "run.toml"):
        output = CliRunner().invoke(app, ["audit", str(run)]).output
        assert f"Audit: {tmp_path / 'audit.json'}, {tmp_path / 'audit.svg'}\n" in output
        assert f"Next: hwnas report {tmp_path}\n" in output


def test_what_belongs_to_an_architecture_is_refused_for_the_supernet(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TINY)
    result = CliRunner().invoke(app, ["train", str(tmp_path / "my.toml"), "--start", "scratch"])
    assert str(result.exception).startswith("start must be left out unless an architecture is trained")
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_stopping_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, screen.progress():
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_unknown_name_is_an_hwnas_error() -> None:
    assert issubclass(UnknownNameError, HwnasError)
