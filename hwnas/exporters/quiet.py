"""Keeping the libraries that export and convert quiet: what matters of what they say is in their errors."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["quiet", "root_reason"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings, log lines and printed text inside; leaves logging as it was."""
    disabled = logging.root.manager.disable
    handlers = logging.root.handlers[:]
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.callback(logging.disable, disabled)
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers  # logging.info() and its kin give the root logger one


def root_reason(error: BaseException) -> str:
    """The first line of what lies at the root of an error that its library wraps in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__
