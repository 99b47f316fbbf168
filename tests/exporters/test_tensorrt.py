import importlib.util
import json

import pytest

from hwnas.devices.runtimes.tensorrt import TensorRt
from hwnas.errors import ExportError, MissingRuntimeError, UnknownNameError
from hwnas.exporters import find_engine_library, save_engine, save_onnx, to_precision


@pytest.fixture
def rtx():
    pytest.importorskip("tensorrt_rtx", reason="pip install 'hwnas[tensorrt-rtx]'")


def store(model, path):
    save_onnx(model, path)
    return path


@pytest.mark.usefixtures("rtx")
class TestRtx:
    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
    def test_an_engine_is_built_without_a_gpu(self, classifier, tmp_path, precision):
        model = to_precision(classifier(), precision, **({"symmetric": True} if precision == "int8" else {}))
        path = tmp_path / "engines" / "model.engine"
        settings = save_engine(
            store(model, tmp_path / "model.onnx"), path, library="tensorrt-rtx", compute_capabilities=["SM86"]
        )
        assert path.stat().st_size > 1000
        assert [one.name for one in path.parent.iterdir()] == ["model.engine"]
        assert json.loads(json.dumps(settings)) == settings
        assert settings["library"] == "tensorrt-rtx"
        assert settings["version"]
        assert settings["compute_capabilities"] == ["SM86"]
        assert (settings["strongly_typed"], settings["tf32"], settings["timing_cache_sha256"]) == (True, False, None)

    def test_int8_with_zero_points_is_refused_with_advice(self, classifier, tmp_path):
        path = store(to_precision(classifier(), "int8"), tmp_path / "model.onnx")
        with pytest.raises(ExportError, match=r"must become an engine of tensorrt-rtx, but .*symmetric=True"):
            save_engine(path, tmp_path / "a.engine", library="tensorrt-rtx", compute_capabilities=["SM86"])
        assert not (tmp_path / "a.engine").exists()

    def test_a_batch_of_any_size_is_refused(self, classifier, tmp_path):
        path = store(classifier(batch="batch"), tmp_path / "model.onnx")
        with pytest.raises(ExportError, match=r"'input' has the open dimension 'batch'\. Export it with a"):
            save_engine(path, tmp_path / "a.engine", library="tensorrt-rtx")


def test_tensorrt_is_taken_where_it_finds_a_gpu(monkeypatch):
    monkeypatch.setattr(TensorRt, "version", "10.1")
    assert find_engine_library() == "tensorrt"


def test_else_rtx_which_needs_none(monkeypatch):
    monkeypatch.setattr(TensorRt, "version", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert find_engine_library() == "tensorrt-rtx"


def test_where_neither_is_installed_the_extras_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(TensorRt, "version", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingRuntimeError, match=r"hwnas\[tensorrt-rtx\].*hwnas\[tensorrt\]"):
        save_engine(tmp_path / "a.onnx", tmp_path / "a.engine")
    with pytest.raises(MissingRuntimeError, match=r"Library tensorrt-rtx must be installed.*hwnas\[tensorrt-rtx\]"):
        save_engine(tmp_path / "a.onnx", tmp_path / "a.engine", library="tensorrt-rtx")


def test_tensorrt_without_a_gpu_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(TensorRt, "_obstacle", lambda self: "CUDA finds no GPU")
    with pytest.raises(MissingRuntimeError, match="CUDA finds no GPU"):
        save_engine(tmp_path / "a.onnx", tmp_path / "a.engine", library="tensorrt")


def test_a_library_that_does_not_exist(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorrt-rtx'"):
        save_engine(tmp_path / "a.onnx", tmp_path / "a.engine", library="tensorrt_rtx")
