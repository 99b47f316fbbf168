import logging
import subprocess
import sys
import warnings

import pytest

from hwnas.exporters.quiet import quiet, root_reason


def make_noise():
    sys.stdout.write("a progress bar\n")
    sys.stderr.write("a hint\n")
    warnings.warn("a warning", stacklevel=1)
    logging.warning("a log line")


def test_what_is_inside_is_not_seen_and_what_follows_is(capsys, caplog):
    with quiet():
        make_noise()
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
    with pytest.warns(UserWarning, match="a warning"):
        make_noise()
    assert capsys.readouterr() == ("a progress bar\n", "a hint\n")
    assert [record.message for record in caplog.records] == ["a log line"]


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO])
def test_logging_is_as_it_was_after_an_error(level):
    logging.disable(level)
    try:
        with pytest.raises(ZeroDivisionError), quiet():
            _ = 1 / 0
        assert logging.root.manager.disable == level
    finally:
        logging.disable(logging.NOTSET)


def test_a_root_logger_without_handlers_stays_so():
    """logging.info() would give it one that writes to the text stream of that moment, which is closed by now."""
    code = """
import logging
from hwnas.exporters.quiet import quiet
with quiet():
    logging.info("from a library")
print(logging.root.handlers)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_the_reason_is_the_first_line_of_the_root():
    wrapped = RuntimeError("Failed. Please report a bug")
    wrapped.__cause__ = ValueError("2 is not 3\n\nSet THIS=1 to see more")
    assert root_reason(wrapped) == "2 is not 3"
    assert root_reason(KeyError()) == "KeyError"
