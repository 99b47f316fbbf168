"""`hwnas check-space`: exit codes, and sentences without a traceback."""

import sys

import pytest

from hwnas.checks import CheckResult
from hwnas.cli import commands, screen, space_commands

SOUND = """
from hwnas.testing import ToySpace

class Mine(ToySpace):
    name = "mine"
"""
MISFIT = """
from dataclasses import replace
from hwnas.testing import ToySpace

class Mine(ToySpace):
    name = "mine"

    def _block(self, block, kernel_size, expand_ratio):
        operator = super()._block(block, kernel_size, expand_ratio)
        wide = block == 0 and expand_ratio == 2
        return replace(operator, attributes={**operator.attributes, "out_channels": 8}) if wide else operator
"""
FORGETS = (
    SOUND
    + """
    def __init__(self, input_shape, num_classes):
        {}
"""
)
SILENT = """
    options = {"kind": "b"}

    def describe(self, architecture):
        return "a network"
"""
SHAPE = ("--input-shape", "1x6x6", "--num-classes", "3")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(screen.console, "_width", 200)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hwnas", "check-space", *arguments])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return ended.value.code, captured.out, captured.err

    return run


def test_a_space_in_a_file_passes_with_0(run, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(SOUND)
    code, out, err = run("mine.py:Mine", *SHAPE, "--operators", "1", "--architectures", "1")
    assert (code or 0, err) == (0, "")
    assert "failed" not in out.replace("0 failed", "")
    assert "17 passed, 0 failed, 1 skipped" in out


def test_a_misfit_ends_with_2_and_names_variable_and_option(run, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MISFIT)
    code, out, _ = run("mine:Mine", *SHAPE)
    assert code == 2
    [sentence] = [line for line in out.splitlines() if line.startswith("shapes: ")]
    assert sentence.startswith("shapes: The space mine with block1.expand_ratio=2 ")
    assert "1 failed" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOUND.replace('"mine"', "None"), "must have letters, digits, _ and - alone as `name`, but it is None"),
        (FORGETS.format("self.num_classes = num_classes"), "The space Mine must have `input_shape`, but it has none"),
        (FORGETS.format("self.input_shape = input_shape"), "The space Mine must have `num_classes`, but it has none"),
        (
            SOUND + "import sys\nsys.exit(0)\n",
            "must be in Python code that can be imported, but it raises SystemExit: 0",
        ),
    ],
)
def test_a_space_that_cannot_be_looked_at_is_one_sentence(text, said, run, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(text)
    code, out, err = run("mine.py:Mine", *SHAPE)
    assert code == 2
    assert "passed" not in out
    assert said in " ".join(err.split())


def test_what_breaks_later_fails_now(run, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(SOUND + SILENT)
    code, out, _ = run("mine.py:Mine", *SHAPE, "--operators", "1", "--architectures", "0")
    assert code == 2
    assert "descriptions: `describe` of the space mine must tell architectures apart" in out
    assert "storage: `options` of the space mine must be numbers, or lists of numbers, but kind is 'b'" in out
    assert "2 failed" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilnetv3"], "Did you mean 'mobilenetv3'"),
        (["none.py:Mine"], "must be in a file that exists, but none.py does not"),
        (["nowhere.at.all:Mine"], "must be in Python code that can be imported, but it raises ModuleNotFoundError"),
        (["mobilenetv3", "--input-shape", "32"], "such as 3x224x224"),
        (["mobilenetv3", "--space-option", "width=1"], "Did you mean 'width_mult'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(arguments, said, run) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert said in " ".join(err.split())


def test_what_failed_is_said_below_the_table(monkeypatch, capsys) -> None:
    monkeypatch.setattr(screen.console, "_width", 100)
    results = [
        CheckResult("one", "One holds", "passed", "5 [of] these", 1.25),
        CheckResult("two", "Two holds", "failed", "The space mine must hold two, but it does not.", 0.5),
        CheckResult("three", "Three holds", "skipped", "needs 'two', which did not pass", 0.0),
    ]
    space_commands.show_checks("mine", results)
    out = capsys.readouterr().out
    assert "5 [of] these" in out
    assert "Two holds" in out
    assert "\ntwo: The space mine must hold two, but it does not.\n" in out
    assert "1 passed, 1 failed, 1 skipped, in 2 s" in out
