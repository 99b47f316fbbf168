"""Latencies of exported files on devices of known truth, and on devices that cannot be used."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from hwnas.api.measuring import measure_files, missed
from hwnas.api.proving import Proven
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.api.winners import Winner
from hwnas.devices import MeasurementPlan
from hwnas.errors import DeviceError
from hwnas.testing import SimulatedHost

DEVICE = "local-cpu"
TRUTH_MS = {"fp32": 2.0, "int8": 1.0, "fp32-image": 3.0}
PLAN = MeasurementPlan(rounds=5, max_rounds=5, warmup_seconds=0)


def save_identity(path: Path, *, of_bytes: bool) -> None:
    kind = TensorProto.UINT8 if of_bytes else TensorProto.FLOAT
    shape = ["batch", "height", "width", 1] if of_bytes else [1, 1, 8, 8]
    ends = [helper.make_tensor_value_info(name, kind, shape) for name in ("in", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["in"], ["out"])], "one", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    settings = RunSettings(space_options={"width_mult": 0.1}, tables=str(tmp_path / "tables"), measurement=PLAN)
    return RunFolder(tmp_path, settings)


@pytest.fixture
def proven(run: RunFolder) -> list[Proven]:
    """Two bundles of two precisions; the first is fp32 by itself and has a file for images and an engine, too."""
    found = []
    for number, precision in ((1, "fp32"), (2, "int8")):
        name = f"winner-{number}"
        folder = run.path / name
        folder.mkdir()
        architecture = run.space.smallest()
        values = {f"latency_ms@{DEVICE}": 2.0 * number}
        winner = Winner(name, name, architecture.to_json(), "", precision, values, 0, "inherited", 0.0, {})
        files = {}
        for stem in ("fp32", "int8", *(["fp32-image"] if number == 1 else [])):
            save_identity(folder / f"{stem}.onnx", of_bytes=stem.endswith("image"))
            listed = {"precision": stem[:4], "image_input": stem.endswith("image"), "batch_size": 1}
            files[f"{stem}.onnx"] = listed
        if number == 1:
            files["tensorrt-rtx-fp16.engine"] = {"precision": "fp16", "image_input": False, "batch_size": 1}
        found.append(Proven(winner, folder, {"files": files}, {name: {"test_accuracy": 0.9} for name in files}))
    return found


def reach(monkeypatch: pytest.MonkeyPatch, host: SimulatedHost) -> None:
    monkeypatch.setattr("hwnas.api.measuring.connect", lambda _: host)


def truth(path: Path) -> float:
    return next(ms for stem, ms in reversed(TRUTH_MS.items()) if path.stem.endswith(stem))


def foretell(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int]]) -> None:
    """Tables that foretell 1.05 ms for every network, give or take a tenth."""

    def table(_: RunFolder, __: str, precision: str, *, batch_size: int) -> SimpleNamespace:
        asked.append((precision, batch_size))
        calibration = SimpleNamespace(half_width=lambda _: 0.1)
        return SimpleNamespace(predict_ms=lambda _: 1.05, missing=lambda _: [], calibration=calibration)

    monkeypatch.setattr("hwnas.api.measuring.find_table", table)


def test_every_file_is_measured_beside_its_prediction(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    host = SimulatedHost(truth, fingerprint={"cpu": "known"})
    reach(monkeypatch, host)
    foretell(monkeypatch, asked)
    environment = measure_files(run, proven, DEVICE)
    assert environment is not None
    assert environment["cpu"] == "known"
    first, second = ({name: one[DEVICE] for name, one in bundle.latency.items()} for bundle in proven)
    assert first["fp32.onnx"]["measured_ms"] == pytest.approx(2.0)
    assert first["fp32.onnx"]["predicted_ms"] == 2.0  # what the search has seen
    assert first["fp32.onnx"]["predicted_interval_ms"] == pytest.approx([1.8, 2.2])
    assert first["int8.onnx"]["measured_ms"] == pytest.approx(1.0)
    assert first["int8.onnx"]["predicted_ms"] == 1.05  # by the table of int8
    assert first["fp32-image.onnx"]["measured_ms"] == pytest.approx(3.0)
    assert first["fp32-image.onnx"]["predicted_ms"] is None
    assert first["fp32.onnx"]["not_measured"] is None
    assert second["int8.onnx"]["predicted_ms"] == 4.0
    assert sorted(asked) == [("fp16", 1), ("fp32", 1), ("int8", 1)]
    assert len(host.loads[0]) == 5


def test_an_engine_is_said_not_to_be_measured(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, SimulatedHost(truth))
    measure_files(run, proven, DEVICE)
    engine = proven[0].latency["tensorrt-rtx-fp16.engine"][DEVICE]
    assert (engine["measured_ms"], engine["not_measured"]) == (None, "only ONNX files are measured on devices")


def test_what_missed_its_interval_is_told(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, SimulatedHost(truth))
    foretell(monkeypatch, [])
    measure_files(run, proven, DEVICE)
    assert missed(proven, DEVICE) == ["winner-2 (1.000 ms, predicted 3.600 to 4.400)"]


def test_a_device_that_is_offline_is_said_to_be_so(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(_: object) -> None:
        raise DeviceError("Device rpi4", "must be reachable", came="ssh says: no route to host")

    monkeypatch.setattr("hwnas.api.measuring.connect", connect)
    assert measure_files(run, proven, DEVICE) is None
    for bundle in proven:
        for name, one in bundle.latency.items():
            assert one[DEVICE]["measured_ms"] is one[DEVICE]["measured_ci95_ms"] is None
            assert ("no route to host" in one[DEVICE]["not_measured"]) == name.endswith(".onnx")
    assert missed(proven, DEVICE) == []


def test_a_device_that_vanishes_while_it_measures_gives_no_numbers(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, SimulatedHost(truth, gone_after=12))
    assert measure_files(run, proven, DEVICE) is None
    assert proven[0].latency["fp32.onnx"][DEVICE]["measured_ms"] is None


def test_a_file_that_the_runtime_there_refuses_does_not_keep_the_others(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, SimulatedHost(truth, refuses=lambda path: "no kernel" if path.stem == "int8" else None))
    measure_files(run, proven, DEVICE)
    assert proven[0].latency["int8.onnx"][DEVICE]["not_measured"] == "its runtime there refuses it: no kernel"
    assert proven[0].latency["fp32.onnx"][DEVICE]["measured_ms"] == pytest.approx(2.0)


def test_a_file_that_takes_any_image_is_timed_on_one_of_the_network_s_size(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[list[int]] = []

    def look(path: Path) -> float:
        graph = onnx.load(path).graph
        sizes.append([size.dim_value for size in graph.input[0].type.tensor_type.shape.dim])
        return 1.0

    reach(monkeypatch, SimulatedHost(look))
    measure_files(run, proven, DEVICE)
    assert [1, 8, 8, 1] in sizes
    assert not any(0 in size for size in sizes)
