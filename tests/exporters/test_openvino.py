import numpy as np
import onnx
import pytest

from hwnas.devices.runtimes.openvino import OpenVino
from hwnas.errors import ExportError, MissingRuntimeError, StoredFileError
from hwnas.exporters import run_onnx, save_onnx, save_openvino, to_precision


@pytest.fixture
def stored(classifier, coloured, tmp_path):
    """The path of the classifier in a precision."""
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")

    def store(precision="fp32"):
        model = to_precision(classifier(), precision, calibration=[image[None] for image in coloured(32)])
        save_onnx(model, tmp_path / f"{precision}.onnx")
        return tmp_path / f"{precision}.onnx"

    return store


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_is_written_computes_what_the_model_does(stored, coloured, tmp_path, precision):
    import openvino

    settings = save_openvino(stored(precision), tmp_path / "out" / "model.xml")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.bin", "model.xml"]
    assert settings == {"library": "openvino", "version": OpenVino("CPU").version, "compress_to_fp16": False}
    compiled = openvino.Core().compile_model(
        str(tmp_path / "out" / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    images = coloured(6)
    found = np.concatenate([next(iter(compiled(image[None]).values())) for image in images])
    expected = run_onnx(onnx.load(stored(precision)), images)
    tolerance = {"fp32": 1e-5, "fp16": 1e-2, "int8": 0.1}[precision]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_weights_keep_their_precision(stored, tmp_path):
    sizes = {}
    for precision in ("fp32", "fp16"):
        save_openvino(stored(precision), tmp_path / f"{precision}.xml")
        sizes[precision] = (tmp_path / f"{precision}.bin").stat().st_size
    assert sizes["fp32"] > 1.5 * sizes["fp16"]


def test_nothing_of_this_machine_is_in_it(stored, tmp_path):
    save_openvino(stored(), tmp_path / "model.xml")
    assert str(tmp_path) not in (tmp_path / "model.xml").read_text()


def test_a_model_that_it_refuses(tmp_path):
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError, match=r"broken\.onnx must become a model of OpenVINO, but it says: ") as caught:
        save_openvino(tmp_path / "broken.onnx", tmp_path / "model.xml")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


def test_a_path_that_openvino_would_not_read(tmp_path):
    with pytest.raises(ExportError, match=r"must end in \.xml"):
        save_openvino(tmp_path / "a.onnx", tmp_path / "model.bin")


def test_a_folder_that_cannot_be_written(stored, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoredFileError):
        save_openvino(stored(), tmp_path / "file" / "model.xml")


def test_without_openvino_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(OpenVino, "version", None)
    with pytest.raises(MissingRuntimeError, match=r"pip install 'hwnas\[openvino\]'"):
        save_openvino(tmp_path / "a.onnx", tmp_path / "model.xml")
