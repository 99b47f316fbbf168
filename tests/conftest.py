"""The order of the tests, a cache of their own, and a latency table that several parts show, check and draw.

The table's costs are made up; its networks nearly take their sum.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hwnas.devices import Measurement
from hwnas.latency import LatencyTable, TableIdentity, save_table, table_path
from hwnas.latency.costing import with_calibration
from hwnas.spaces import MobileNetV3

LONGEST = ("test_searching.py", "test_engine.py", "test_readme.py", "test_first_run.py", "test_winners.py")
"""Files that other processes would wait for, were they begun last; of two that export the same, one comes first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first; what is given to processes keeps the order of collection."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True, scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder of caches for all processes of a test run, those that tests start among them, new for each run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / f"caches-{run}" if run else folder / "caches"))
        yield


@pytest.fixture(scope="session")
def small_space() -> MobileNetV3:
    """A small MobileNetV3."""
    return MobileNetV3((3, 32, 32), 10, width_mult=0.25)


@pytest.fixture(scope="session")
def bare_table(small_space: MobileNetV3, tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """A whole table of `small_space` without networks, stored where hwnas stores it."""
    identity = TableIdentity("board", "onnxruntime-cpu", "fp32", 1, 1, small_space.name, small_space.input_shape)
    entries = {}
    for operator in small_space.all_operators():
        cost = 0.01 + small_space.counts[operator].macs / 1e8
        entries[operator] = Measurement(cost, (0.99 * cost, 1.01 * cost), ((cost,),))
    fingerprint = {"cpu": "a processor", "cores": 4, "governor": None}
    table = LatencyTable(identity, fingerprint, entries, flags=("operators: the machine drifted",))
    return save_table(table, table_path(tmp_path_factory.mktemp("tables"), identity, small_space))


@pytest.fixture(scope="session")
def proven_table(bare_table: LatencyTable, small_space: MobileNetV3) -> LatencyTable:
    """`bare_table`, calibrated by twelve networks that take 1.1 times the sum of their rows and 0.2 ms, within 1 %."""
    rng = np.random.default_rng(3)
    networks, again = {}, {}
    for architecture in small_space.architectures(small_space.sample_choices(12, rng=rng)):
        rows = sum(bare_table.entries[operator].latency_ms for operator in small_space.operators(architecture))
        for measured in (networks, again):
            latency = (1.1 * rows + 0.2) * (1 + 0.005 * rng.uniform(-1, 1))
            measured[architecture] = Measurement(latency, (0.995 * latency, 1.005 * latency), ((latency,),))
    return with_calibration(bare_table, small_space, networks, again=again)


@pytest.fixture
def stored_tables(
    bare_table: LatencyTable, proven_table: LatencyTable, small_space: MobileNetV3, tmp_path: Path
) -> Path:
    """A folder of tables: `proven_table` as board/…, `bare_table` as other/…."""
    folder = tmp_path / "latency_tables"
    for name, table in (("board", proven_table), ("other", bare_table)):
        save_table(table, table_path(folder, table.identity, small_space).parents[1] / name / bare_table.path.name)  # type: ignore[union-attr]
    return folder
