"""Latencies of exported files on devices of known truth, and on devices that cannot be used."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from hwnas.api.measuring import measure_files, missed, timed_images
from hwnas.api.proving import Proven
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.api.winner_list import Winner
from hwnas.devices import MeasurementPlan
from hwnas.devices.runtimes.tensorrt import TensorRt
from hwnas.errors import DeviceError, TableMismatchError
from hwnas.exporters import save_openvino
from hwnas.testing import SimulatedHost

DEVICE = "local-cpu"
TRUTH_MS = {"fp32": 2.0, "int8": 1.0, "fp32-image": 3.0}
PLAN = MeasurementPlan(rounds=5, max_rounds=5, warmup_seconds=0)


def save_identity(path: Path, *, of_bytes: bool, batch: int | str = 1) -> None:
    kind = TensorProto.UINT8 if of_bytes else TensorProto.FLOAT
    shape = ["batch", "height", "width", 1] if of_bytes else [batch, 1, 8, 8]
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


def test_an_engine_is_said_not_to_be_measured_where_its_library_cannot_run(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: TensorRt) -> str:
        return "CUDA finds no GPU"

    monkeypatch.setattr(TensorRt, "_obstacle", missing)
    reach(monkeypatch, SimulatedHost(truth))
    measure_files(run, proven, DEVICE)
    engine = proven[0].latency["tensorrt-rtx-fp16.engine"][DEVICE]
    assert engine["measured_ms"] is None
    assert "tensorrt-rtx must be installed, but CUDA finds no GPU" in engine["not_measured"]
    assert proven[0].latency["fp32.onnx"][DEVICE]["measured_ms"] == pytest.approx(2.0)


def test_an_engine_is_measured_by_its_own_library(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimulatedHost(lambda _: 0.25, fingerprint={"runtime": "tensorrt-rtx", "runtime_version": "1.2"})
    reach(monkeypatch, SimulatedHost(truth, fingerprint={"runtime": "onnxruntime-cpu"}))
    monkeypatch.setattr("hwnas.api.measuring.LocalHost", lambda runtime, *, num_threads: gpu)
    environment = measure_files(run, proven, DEVICE)
    assert environment is not None
    assert environment["runtime"] == "onnxruntime-cpu"
    engine = proven[0].latency["tensorrt-rtx-fp16.engine"][DEVICE]
    assert (engine["measured_ms"], engine["measured_by"]) == (pytest.approx(0.25), "tensorrt-rtx 1.2")
    assert {name for load in gpu.loads for name in load} == {"winner-1/tensorrt-rtx-fp16.engine"}


def test_openvino_ir_is_measured_by_openvino(run: RunFolder, proven: Sequence[Proven]) -> None:
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    one = proven[0]
    save_openvino(one.path / "fp32.onnx", one.path / "openvino-fp32.xml")
    one.manifest["files"]["openvino-fp32.xml"] = {"precision": "fp32", "image_input": False, "batch_size": 1}
    ir = Proven(one.winner, one.path, one.manifest, {name: {} for name in ("fp32.onnx", "openvino-fp32.xml")})
    measure_files(run, [ir], DEVICE)
    found = ir.latency["openvino-fp32.xml"][DEVICE]
    assert 0 < found["measured_ms"] < 100
    assert found["measured_by"].startswith("openvino-cpu 20")
    assert "measured_by" not in ir.latency["fp32.onnx"][DEVICE]


def test_a_refused_file_of_the_first_winner_does_not_lose_the_device(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run.path / "winner-1" / "fp32.onnx"
    reach(monkeypatch, SimulatedHost(truth, refuses=lambda path: "no kernel" if path == refused else None))
    assert measure_files(run, proven, DEVICE) is not None
    assert proven[0].latency["fp32.onnx"][DEVICE]["not_measured"] == "its runtime there refuses it: no kernel"
    assert proven[1].latency["fp32.onnx"][DEVICE]["measured_ms"] == pytest.approx(2.0)


class Symmetric(SimulatedHost):
    """A host that takes symmetric int8 alone."""

    symmetric_int8 = True


def test_a_host_that_wants_symmetric_int8_gets_it_where_the_bundle_has_it(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = proven
    save_identity(second.path / "int8-symmetric.onnx", of_bytes=False)
    second.manifest["files"]["int8-symmetric.onnx"] = dict(second.manifest["files"]["int8.onnx"])
    second.findings = {**second.findings, "int8-symmetric.onnx": {}}
    reach(monkeypatch, Symmetric(lambda path: 0.5 if "symmetric" in path.name else truth(path)))
    measure_files(run, proven, DEVICE)
    assert first.latency["int8.onnx"][DEVICE]["measured_ms"] is None
    assert "wants symmetric int8" in first.latency["int8.onnx"][DEVICE]["not_measured"]
    own = second.latency["int8.onnx"][DEVICE]
    assert (own["measured_ms"], own["measured_by"]) == (pytest.approx(0.5), "int8-symmetric.onnx")
    assert own["predicted_ms"] == 4.0
    assert second.latency["int8-symmetric.onnx"][DEVICE]["measured_ms"] == pytest.approx(0.5)


def test_a_host_that_wants_symmetric_int8_and_gets_nothing_measures_nothing(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = proven[1]
    second.findings = {"int8.onnx": {}}
    reach(monkeypatch, Symmetric(truth))
    assert measure_files(run, [second], DEVICE) is not None
    assert "wants symmetric int8" in second.latency["int8.onnx"][DEVICE]["not_measured"]


def test_a_device_that_is_not_known_here_is_said_to_be_so(run: RunFolder, proven: Sequence[Proven]) -> None:
    assert measure_files(run, proven, "my-phone") is None
    for bundle in proven:
        for one in bundle.latency.values():
            assert one["my-phone"]["measured_ms"] is None
            assert "'my-phone' does not exist" in one["my-phone"]["not_measured"]


def test_a_table_of_something_else_foretells_nothing(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mismatch(*_: object, **__: object) -> None:
        raise TableMismatchError("A table", "must be of the run", came="it is not")

    monkeypatch.setattr("hwnas.api.measuring.find_table", mismatch)
    reach(monkeypatch, SimulatedHost(truth))
    measure_files(run, proven, DEVICE)
    assert proven[0].latency["int8.onnx"][DEVICE]["predicted_ms"] is None
    assert proven[0].latency["int8.onnx"][DEVICE]["measured_ms"] == pytest.approx(1.0)


def test_a_file_that_takes_any_number_of_images_is_timed_on_that_of_the_run(
    run: RunFolder, proven: Sequence[Proven], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.settings = run.settings.model_copy(update={"batch_size": 8})
    asked: list[tuple[str, int]] = []
    foretell(monkeypatch, asked)
    entry = proven[0].manifest["files"]["fp32.onnx"]
    entry["batch_size"] = None
    save_identity(proven[0].path / "fp32.onnx", of_bytes=False, batch="batch")
    sizes: dict[str, int] = {}

    def look(path: Path) -> float:
        sizes[path.name] = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value
        return 1.0

    reach(monkeypatch, SimulatedHost(look))
    measure_files(run, proven[:1], DEVICE)
    assert sizes["winner-1-fp32.onnx"] == 8  # a copy
    assert sizes["int8.onnx"] == 1
    assert timed_images(run, entry, "fp32.onnx") == 8
    assert ("fp32", 8) in asked
    assert ("int8", 1) in asked


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
