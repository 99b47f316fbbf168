"""Errors of candidates, and a search among architectures and precisions."""

import json
from pathlib import Path
from typing import Any

import pytest

from hwnas.api import search
from hwnas.api.candidate_errors import AloneErrors, SharedErrors
from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.settings import RunSettings
from hwnas.api.training import evaluator_of, supernet_of
from hwnas.devices import Measurement, load_device
from hwnas.errors import DeviceError
from hwnas.latency import Calibration, LatencyTable, TableIdentity, save_table, table_path
from hwnas.spaces import ConvNet
from hwnas.testing import ToySpace
from hwnas.training import ImageData, Part, TrainingSettings, load_data

SPACE = ToySpace((1, 8, 8), 10)
TRAINING = {"epochs": 8, "batch_size": 20, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def data() -> ImageData:
    whole = load_data("digits")
    parts = [Part(part.images_NCHW[:80], part.labels_N[:80]) for part in (whole.train, whole.validation, whole.test)]
    return ImageData("digits", *parts, whole.class_names, whole.mean, whole.std, whole.flips)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables by which work is cheap in int8, and a call is cheap in float."""
    folder = tmp_path / "latency_tables"
    for precision, work, call_ms in (("fp32", 1e-3, 0.1), ("int8", 0.5e-3, 4.0)):
        identity = TableIdentity.of(load_device("local-cpu"), SPACE, precision=precision)
        rows = {one: Measurement(work * SPACE.counts[one].macs, (0.0, 1e3)) for one in SPACE.all_operators()}
        table = LatencyTable(identity, {}, rows, calibration=Calibration(overhead_ms=call_ms))
        save_table(table, table_path(folder, identity, SPACE))
    return folder


def searched(output: Path, data: ImageData, tables: Path, **changes: Any) -> RunFolder:
    settings: dict[str, Any] = {
        "objectives": ["error", "latency@local-cpu"],
        "precisions": ["fp32", "int8"],
        "strategy_options": {"first_evaluations": 8, "batch_size": 6, "generations": 3},
        "evaluations": 14,
        "calibration_images": 32,
        "training": TRAINING,
        "accept_stale": True,
        **changes,
    }
    search(output=output, space=SPACE, data=data, tables=tables, **settings)
    return open_run(output, space=SPACE, data=data)


def found(run: RunFolder) -> dict[tuple[int, ...], dict[str, float]]:
    lines = [json.loads(line) for line in run.evaluations.read_text().splitlines()[1:]]
    return {tuple(one["architecture"]["choices"]): one["values"] for one in lines}


@pytest.mark.slow
def test_a_front_mixes_precisions_where_both_are_worth_it(data: ImageData, tables: Path, tmp_path: Path) -> None:
    run = searched(tmp_path / "run", data, tables)
    front = run.load_front()
    assert {run.split(one.architecture)[1] for one in front} == {"fp32", "int8"}
    identity = TableIdentity.of(load_device("local-cpu"), SPACE)
    assert run.network_space is SPACE
    for choices, values in found(run).items():
        network, precision = run.split(run.space.architecture(choices))
        macs = sum(SPACE.counts[one].macs for one in SPACE.operators(network))
        expected = 4.0 + 0.5e-3 * macs if precision == "int8" else 0.1 + 1e-3 * macs
        assert values[f"latency_ms@{identity.device}"] == pytest.approx(expected)
    header = json.loads(run.evaluations.read_text().splitlines()[0])
    assert (header["space"], header["networks"]) == ("toy-int8-fp32", "toy")
    in_processes = found(searched(tmp_path / "processes", data, tables, evaluations=8, workers=2))
    assert in_processes == {choices: found(run)[choices] for choices in in_processes}


def test_an_error_is_that_of_the_network_in_its_precision(data: ImageData, tmp_path: Path) -> None:
    settings = RunSettings(precisions=["fp32", "int8"], calibration_images=32, training=TrainingSettings(**TRAINING))
    run = RunFolder(tmp_path, settings, SPACE, data)
    supernet = supernet_of(run, [])
    errors = SharedErrors.of(run, supernet)
    network = SPACE.largest()
    in_float, in_int8 = (run.space.join(network, one) for one in ("fp32", "int8"))
    [as_float] = errors.errors([in_float])
    assert as_float == evaluator_of(run, supernet).errors([network])[0]
    [as_int8] = errors.errors([in_int8])
    assert abs(as_int8 - as_float) <= 0.2
    assert [path.name for path in run.converted.glob("*.json")] == [f"{network.slug}-int8.json"]
    only_int8 = RunFolder(tmp_path, settings.model_copy(update={"precisions": ["int8"]}), SPACE, data)
    assert SharedErrors.of(only_int8, supernet).errors([network]) == [as_int8]


def test_networks_trained_alone_are_scored_in_their_precision_too(data: ImageData, tmp_path: Path) -> None:
    space = ConvNet((1, 8, 8), 10)
    settings = RunSettings(
        precisions=["fp32", "int8"], weights="inherited", network_epochs=1, training=TrainingSettings(**TRAINING)
    )
    run = RunFolder(tmp_path, settings, space, data)
    errors = AloneErrors.of(run)
    parent = run.space.join(space.smallest(), "int8")
    child = run.space.join(space.smallest(), "fp32")
    first = errors.error(parent)
    assert 0 <= first <= 1
    assert errors.errors([parent]) == [first]
    errors.error(child, parent)
    assert len(list(run.networks.glob("*.pt"))) == 2
    assert len(list(run.converted.glob("*.json"))) == 1


def test_a_precision_that_the_runtime_has_no_kernels_for_is_refused_at_once(data: ImageData, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="must run fp16 models at their own speed"):
        searched(tmp_path / "run", data, tmp_path / "tables", precisions=["fp32", "fp16"])
    assert not (tmp_path / "run").exists()
