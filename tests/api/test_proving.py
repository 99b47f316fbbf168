"""The proof of one bundle."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hwnas.api.proving import Proven, check_structure, prove
from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.winner_list import load_winners
from hwnas.api.winners import load_network
from hwnas.bundles import altered_files, listed_file, load_manifest, write_manifest
from hwnas.errors import ExportError, StoredFileError
from hwnas.exporters import save_openvino
from hwnas.training import accuracy


@pytest.fixture
def run(verified: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(verified, tmp_path / "run")
    return open_run(tmp_path / "run")


def proof(run: RunFolder) -> Proven:
    return prove(run, load_winners(run)[0])


def rewrite(run: RunFolder, alter: Callable[[Path], object]) -> None:
    """Alters files of the first bundle as one who makes bundles would: the manifest has their hashes."""
    bundle = run.path / load_winners(run)[0].bundle
    manifest = load_manifest(bundle)
    alter(bundle)
    files = {name: {**entry, **listed_file(bundle / name)} for name, entry in manifest["files"].items()}
    write_manifest(bundle, {**manifest, "files": files})


def test_what_is_found_is_of_the_file_itself_and_is_written_down(run: RunFolder) -> None:
    found = proof(run)
    assert sorted(found.findings) == ["fp32.onnx", "int8.onnx"]
    network = load_network(run, found.winner)
    fp32, int8 = found.findings["fp32.onnx"], found.findings["int8.onnx"]
    assert fp32["test_accuracy"] == pytest.approx(accuracy(network, run.data, run.data.test))
    assert (fp32["same_class"], found.own) == (1.0, "fp32.onnx")
    assert fp32["max_abs_difference"] <= 1e-4 < int8["max_abs_difference"]
    found.latency = {name: {"board": {"measured_ms": None}} for name in found.findings}
    found.record({"board": None})
    manifest = load_manifest(found.path)
    assert altered_files(found.path, manifest) == []
    assert manifest["files"]["int8.onnx"]["found"].items() >= int8.items()
    assert manifest["files"]["int8.onnx"]["found"]["structure"] == "passes"
    assert manifest["devices"] == {"board": None}


def test_openvino_ir_is_scored_by_openvino(run: RunFolder) -> None:
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    bundle = run.path / load_winners(run)[0].bundle
    manifest = load_manifest(bundle)
    save_openvino(bundle / "fp32.onnx", bundle / "openvino-fp32.xml")
    about = {"precision": "fp32", "image_input": False, "batch_size": 1, "found": None}
    added = {"openvino-fp32.xml": about, "openvino-fp32.bin": {}}
    files = {**manifest["files"], **{name: {**listed_file(bundle / name), **one} for name, one in added.items()}}
    write_manifest(bundle, {**manifest, "files": files})
    found = proof(run).findings
    assert found["openvino-fp32.xml"]["test_accuracy"] == found["fp32.onnx"]["test_accuracy"]
    assert 0 < found["openvino-fp32.xml"]["max_abs_difference"] <= 1e-4


def test_a_file_that_its_library_refuses_is_named(run: RunFolder) -> None:
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    bundle = run.path / load_winners(run)[0].bundle
    manifest = load_manifest(bundle)
    (bundle / "openvino-fp32.xml").write_text("rubbish")
    about = {"precision": "fp32", "image_input": False, "batch_size": 1, "found": None}
    entry = {**listed_file(bundle / "openvino-fp32.xml"), **about}
    write_manifest(bundle, {**manifest, "files": {**manifest["files"], "openvino-fp32.xml": entry}})
    with pytest.raises(ExportError, match=r"openvino-cpu must load .*openvino-fp32\.xml"):
        proof(run)


def test_an_int8_file_that_has_lost_its_accuracy_is_refused(run: RunFolder) -> None:
    def alter(bundle: Path) -> None:
        model = onnx.load(bundle / "int8.onnx")
        graph = model.graph
        zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
        graph.initializer.append(zero)
        (last,) = (node for node in graph.node if graph.output[0].name in node.output)
        last.output[0] = "real_logits"
        graph.node.append(onnx.helper.make_node("Mul", ["real_logits", "nothing"], [graph.output[0].name]))
        onnx.save(model, bundle / "int8.onnx")

    rewrite(run, alter)
    with pytest.raises(ExportError, match=r"int8\.onnx must have an accuracy of .* or more"):
        proof(run)


def test_a_file_that_is_not_its_model_is_refused(run: RunFolder) -> None:
    def alter(bundle: Path) -> None:
        model = onnx.load(bundle / "fp32.onnx")
        bias = next(tensor for tensor in model.graph.initializer if tensor.dims == [10])
        bias.CopyFrom(onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32), bias.name))
        onnx.save(model, bundle / "fp32.onnx")

    rewrite(run, alter)
    with pytest.raises(ExportError, match=r"fp32\.onnx must give torch's outputs within 0\.0"):
        proof(run)


def test_answers_that_torch_does_not_give_are_refused(run: RunFolder) -> None:
    def alter(bundle: Path) -> None:
        with np.load(bundle / "reference.npz") as stored:
            arrays = dict(stored)
        arrays["test_logits"] = arrays["test_logits"] + 1
        np.savez_compressed(bundle / "reference.npz", **arrays)

    rewrite(run, alter)
    with pytest.raises(ExportError, match=r"reference\.npz must hold what torch gives by its weights"):
        proof(run)


def test_weights_of_another_network_are_named(run: RunFolder) -> None:
    rewrite(run, lambda bundle: torch.save({"other": torch.zeros(1)}, bundle / "weights.pt"))
    with pytest.raises(StoredFileError, match="must hold the weights of winner-1"):
        proof(run)


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_broken_or_missing_file_is_named(run: RunFolder, content: bytes | None) -> None:
    path = run.path / load_winners(run)[0].bundle / "int8.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"int8\.onnx must .* Export again: hwnas export"):
        proof(run)


@pytest.mark.parametrize("content", [b"", b"rubbish"])
def test_what_is_no_model_fails_the_structural_check(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"model\.onnx must pass the ONNX checker"):
        check_structure(tmp_path / "model.onnx")
