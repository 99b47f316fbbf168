"""One small, whole run that the tests of the verbs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hwnas.api import export, report, search, verify

SETTINGS = {
    "space_options": {"width_mult": 0.1},
    "objectives": ["error", "macs", "latency@local-cpu"],
    "strategy_options": {"population_size": 8},
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
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of latency tables that all runs share."""
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Path:
    """A run that was searched, exported, verified and reported. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    search(output=folder, tables=tables, **SETTINGS)
    export(folder)
    verify(folder)
    report(folder)
    return folder
