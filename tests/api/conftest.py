"""One small, whole run that the tests of the verbs share."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hwnas.api import export, report, search, verify

SETTINGS = {
    "space_options": {"width_mult": 0.1},
    "objectives": ["error", "macs", "latency@local-cpu"],
    "strategy_options": {"first_evaluations": 8, "generations": 3},
    "evaluations": 20,
    "calibration_images": 64,
    "winners": 3,
    "finetune_epochs": 1,
    "training": {"epochs": 1, "batch_size": 128},
    "calibration_networks": 3,
    "measurement": {"rounds": 5, "max_rounds": 5},
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Results that do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one test run share."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return tmp_path_factory.mktemp("shared")
    folder = tmp_path_factory.getbasetemp().parent / f"shared-{run}"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def verified(shared: Path) -> Path:
    """A run that was searched, exported and verified, by the process that comes first. Not to be changed: copy it."""
    folder = shared / "finished"
    with locked(shared):
        if not (folder / "verification.json").exists():
            search(output=folder, tables=shared / "tables", **SETTINGS)
            export(folder, precisions=["fp32", "int8"])
            verify(folder)
    return folder


@pytest.fixture(scope="session")
def finished(verified: Path) -> Path:
    """The same run with its report. Not to be changed: copy it."""
    with locked(verified.parent):
        if not (verified / "report.html").exists():
            report(verified)
    return verified


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes of the test run out."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def tables(verified: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of latency tables, with that of the finished run; of this process alone, which may measure more."""
    folder = tmp_path_factory.mktemp("tables")
    shutil.copytree(verified.parent / "tables", folder, dirs_exist_ok=True)
    return folder
