"""The verb `verify`."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from hwnas.api import verify, verify_bundle
from hwnas.api.proving import Proven, prove
from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.verification import _ranked
from hwnas.api.winner_list import Winner, load_winners
from hwnas.api.winners import load_network
from hwnas.bundles import load_manifest
from hwnas.errors import DeviceError, ExportError, RunError, StoredFileError, TableMismatchError
from hwnas.files import exclusive
from hwnas.testing import SimulatedHost

FILE_KEYS = {
    *("file", "precision", "image_input", "batch_size", "size_bytes", "peak_memory_bytes", "test_accuracy"),
    *("max_abs_difference", "same_class", "bounds", "latency"),
}
LATENCY_KEYS = {"predicted_ms", "predicted_interval_ms", "measured_ms", "measured_ci95_ms", "not_measured"}


@pytest.fixture
def run(verified: Path, tmp_path: Path) -> Path:
    shutil.copytree(verified, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def document(verified: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((verified / "verification.json").read_text())
    return found


def own_file(model: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in model["files"] if one["precision"] == model["precision"])
    return found


def test_verification_json_has_the_keys_that_other_programs_read(verified: Path, document: dict[str, Any]) -> None:
    assert document["schema_version"] == 2
    assert document["device"] == "local-cpu"
    assert {"cpu", "runtime_version", "torch_version", "onnx_version"} <= document["environment"].keys()
    for model in document["models"]:
        assert (verified / model["bundle"] / "manifest.json").exists()
        assert [one["precision"] for one in model["files"]] == ["fp32", "int8"]
        for one in model["files"]:
            assert one.keys() >= FILE_KEYS
            assert one["batch_size"] == 1
            assert (
                one["bounds"].keys()
                == {
                    "fp32": {"max_abs_difference", "max_abs_difference_random", "same_class"},
                    "int8": {"test_accuracy"},
                }[one["precision"]]
            )
            assert one["size_bytes"] == (verified / one["file"]).stat().st_size
            latency = one["latency"]["local-cpu"]
            assert latency.keys() == LATENCY_KEYS
            low, high = latency["measured_ci95_ms"]
            assert 0 < low <= latency["measured_ms"] <= high
        low, high = own_file(model)["latency"]["local-cpu"]["predicted_interval_ms"]
        assert 0 < low <= own_file(model)["latency"]["local-cpu"]["predicted_ms"] <= high


def test_models_are_ranked_by_what_was_measured_for_their_own_precision(document: dict[str, Any]) -> None:
    pairs = [
        (own_file(model)["latency"]["local-cpu"]["measured_ms"], -own_file(model)["test_accuracy"])
        for model in document["models"]
    ]
    assert pairs == sorted(pairs)
    for place, (model, pair) in enumerate(zip(document["models"], pairs, strict=True)):
        others = pairs[:place] + pairs[place + 1 :]
        assert model["on_front"] == (not any(a <= pair[0] and b <= pair[1] for a, b in others))


def test_counts_and_predictions_are_those_of_the_search(verified: Path, document: dict[str, Any]) -> None:
    folder = open_run(verified)
    models = {model["name"]: model for model in document["models"]}
    for winner in load_winners(folder):
        model, network = models[winner.name], load_network(folder, winner)
        assert model["architecture"] == winner.architecture
        assert model["validation_error"] == winner.values["error"]
        assert model["parameters"] == sum(p.numel() for p in network.parameters())
        assert own_file(model)["latency"]["local-cpu"]["predicted_ms"] == winner.values["latency_ms@local-cpu"]


def test_manifests_hold_what_was_found(verified: Path, document: dict[str, Any]) -> None:
    for model in document["models"]:
        manifest = load_manifest(verified / model["bundle"])
        assert manifest["devices"]["local-cpu"]["runtime"] == "onnxruntime-cpu"
        for one in model["files"]:
            found = manifest["files"][one["file"].rpartition("/")[2]]["found"]
            assert found["structure"] == "passes"
            assert all(found[key] == one[key] for key in ("test_accuracy", "max_abs_difference", "latency"))


def test_a_bundle_is_checked_anew_from_its_files_and_the_test_data(verified: Path, tmp_path: Path) -> None:
    shutil.copytree(verified / "models" / "winner-1", tmp_path / "elsewhere")
    alone = verify_bundle(tmp_path / "elsewhere")
    assert (alone["problems"], alone["images"]) == ([], 0)
    data = verified / "models" / "test-data.npz"
    report = verify_bundle(tmp_path / "elsewhere", data=data)
    assert (report["problems"], report["images"]) == ([], len(open_run(verified).data.test))
    (tmp_path / "elsewhere" / "int8.onnx").unlink()
    (missing,) = verify_bundle(tmp_path / "elsewhere", data=data)["problems"]
    assert missing.endswith("int8.onnx must be there, but it is missing.")
    (tmp_path / "other.npz").write_bytes(b"rubbish")
    with pytest.raises(StoredFileError, match=r"manifest\.json must be the manifest"):
        verify_bundle(tmp_path)


def test_one_broken_bundle_does_not_hide_the_others(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwnas.api.measuring.connect", lambda _: SimulatedHost(lambda _: 1.0))
    winners = load_winners(open_run(run))
    assert len(winners) > 1
    (run / winners[0].bundle / "int8.onnx").write_bytes(b"rubbish")
    with pytest.raises(ExportError, match=r"winner-1/int8\.onnx"):
        verify(run)
    checked = {model["name"] for model in json.loads((run / "verification.json").read_text())["models"]}
    assert checked == {winner.name for winner in winners[1:]}


def test_a_bundle_that_fails_in_any_way_does_not_hide_the_others(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwnas.api.measuring.connect", lambda _: SimulatedHost(lambda _: 1.0))

    def fail_first(folder: RunFolder, winner: Winner) -> Proven:
        if winner.name == "winner-1":
            raise TableMismatchError("A table", "must be of the run", came="it is not")
        return prove(folder, winner)

    monkeypatch.setattr("hwnas.api.verification.prove", fail_first)
    with pytest.raises(TableMismatchError):
        verify(run)
    checked = {model["name"] for model in json.loads((run / "verification.json").read_text())["models"]}
    assert checked == {winner.name for winner in load_winners(open_run(run))[1:]}


def test_a_device_whose_file_is_not_here_is_told_and_the_findings_are_stored(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.api.verification.run_devices", lambda _: ["local-cpu", "my-phone"])
    monkeypatch.setattr("hwnas.api.measuring.connect", lambda _: SimulatedHost(lambda _: 1.0))
    for model in verify(run)["models"]:
        assert model["on_front"] is not None
        for one in model["files"]:
            assert one["latency"]["local-cpu"]["measured_ms"] == pytest.approx(1.0)
            assert one["latency"]["my-phone"]["measured_ms"] is None
            assert "'my-phone' does not exist" in one["latency"]["my-phone"]["not_measured"]


def test_two_processes_do_not_verify_at_once(run: Path) -> None:
    with exclusive(run), pytest.raises(StoredFileError, match="must be used by one process at a time"):
        verify(run)


def test_the_front_is_that_of_all_devices(run: Path) -> None:
    folder = open_run(run)
    proven = []
    for winner, latencies, accuracy in zip(
        load_winners(folder), [(1.0, 9.0), (2.0, 1.0), (3.0, None)], (0.9, 0.8, 0.99), strict=True
    ):
        bundle = run / winner.bundle
        name = f"{winner.precision}.onnx"
        one = Proven(winner, bundle, load_manifest(bundle), {name: {"test_accuracy": accuracy}})
        one.latency[name] = {
            device: {"measured_ms": ms} for device, ms in zip(("cpu", "gpu", "gone"), (*latencies, None), strict=True)
        }
        proven.append(one)
    ranked = _ranked(folder, proven, ["cpu", "gpu", "gone"])
    assert [(model["name"], model["on_front"]) for model in ranked] == [
        ("winner-1", True),
        ("winner-2", True),  # on the cpu alone, the first is faster and better
        ("winner-3", None),
    ]
    ranked = _ranked(folder, proven[:2], ["cpu"])
    assert [model["on_front"] for model in ranked] == [True, False]


def test_a_device_that_is_offline_is_told_and_gets_no_number(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def connect(_: object) -> None:
        raise DeviceError("Device local-cpu", "must be reachable", came="it is not")

    monkeypatch.setattr("hwnas.api.measuring.connect", connect)
    with caplog.at_level(logging.WARNING, logger="hwnas"):
        document = verify(run)
    assert "Not measured on local-cpu: Device local-cpu must be reachable" in caplog.text
    for model in document["models"]:
        assert model["on_front"] is None
        for one in model["files"]:
            assert one["latency"]["local-cpu"]["measured_ms"] is None
            assert one["latency"]["local-cpu"]["not_measured"] == "Device local-cpu must be reachable, but it is not."
            assert one["test_accuracy"] is not None


def test_a_prediction_that_missed_by_more_than_its_interval_offers_the_measurement(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hwnas.api.measuring.connect", lambda _: SimulatedHost(lambda _: 1000.0))
    with caplog.at_level(logging.WARNING, logger="hwnas"):
        verify(run)
    assert "took another latency on local-cpu than their prediction interval: winner-1 (1000.000 ms" in caplog.text
    assert f"hwnas search {run} --refine" in caplog.text


def test_without_models_it_says_what_to_do(run: Path) -> None:
    shutil.rmtree(run / "models")
    with pytest.raises(RunError, match="hwnas export"):
        verify(run)
