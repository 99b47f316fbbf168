"""The model files of a bundle."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hwnas.api.converting import BundleOptions, write_models
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings
from hwnas.bundles import sha256_of
from hwnas.errors import HwnasError
from hwnas.exporters import Quantized
from hwnas.training import ImageData, Part


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    settings = RunSettings(space_options={"width_mult": 0.1}, calibration_images=40)
    return RunFolder(tmp_path_factory.mktemp("run"), settings)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).eval()


def dimension(model: onnx.ModelProto) -> int | str:
    size = model.graph.input[0].type.tensor_type.shape.dim[0]
    return size.dim_param or size.dim_value


def test_every_file_that_is_asked_for_is_written_and_told_of(
    run: RunFolder, network: nn.Module, tmp_path: Path
) -> None:
    options = BundleOptions.of(run, precisions=["int8", "fp32"], batch_size="dynamic", image_input=True, opset=20)
    written = write_models(run, tmp_path, network, options, {"labels": "a"})
    assert list(written) == ["fp32.onnx", "fp32-image.onnx", "int8.onnx", "int8-image.onnx"]
    assert {path.name for path in tmp_path.iterdir()} == set(written)
    for name, entry in written.items():
        model = onnx.load(tmp_path / name)
        assert dimension(model) == "batch"
        assert entry["sha256"] == sha256_of(tmp_path / name)
        assert (entry["batch_size"], entry["opset"], entry["found"]) == (None, 20, None)
        assert entry["precision"] == name[:4]
        assert entry["image_input"] == ("image" in name)
        kind = "tensor(uint8)" if entry["image_input"] else "tensor(float)"
        ends = ["image", kind, "probabilities"] if entry["image_input"] else ["input", kind, "logits"]
        assert entry["ends"] == ends
    assert written["int8.onnx"]["made"].keys() >= {"method", "kept_float", "drop", "drop_before"}


def test_int8_is_calibrated_on_train_images_and_judged_on_validation_images(
    run: RunFolder, network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}

    def quantize(model: onnx.ModelProto, **given: object) -> Quantized:
        seen.update(given, score=given["evaluate"](model))  # type: ignore[operator]
        return Quantized(model, "minmax", ("Conv",), 0.9, 0.8, 0.9)

    monkeypatch.setattr("hwnas.api.converting.quantize_within", quantize)
    options = BundleOptions.of(run, precisions=["int8"], max_drop=0.25)
    written = write_models(run, tmp_path, network, options, {})
    assert written["int8.onnx"]["made"]["kept_float"] == ["Conv"]
    assert written["int8.onnx"]["made"]["drop_before"] == pytest.approx(0.1)
    assert (seen["max_drop"], seen["symmetric"]) == (0.0025, False)
    data = run.data
    shown, known = (array.reshape(len(array), -1) for array in (seen["calibration"], prepared(data, data.train)))  # type: ignore[attr-defined]
    assert len(shown) == 40
    assert {image.tobytes() for image in shown} <= {image.tobytes() for image in known}
    count = len(data.validation) // data.validation_copies
    images, labels = prepared(data, data.validation)[:count], data.validation.labels_N[:count].numpy()
    with torch.no_grad():
        wanted = (network(torch.from_numpy(images)).argmax(1).numpy() == labels).mean()
    assert seen["score"] == pytest.approx(wanted, abs=1.5 / count)


def prepared(data: ImageData, part: Part) -> np.ndarray:
    found: np.ndarray = np.ascontiguousarray(data.normalized(part.images_NCHW).numpy())
    return found


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_s_two_files_are_both_told_of(run: RunFolder, network: nn.Module, tmp_path: Path) -> None:
    written = write_models(run, tmp_path, network, BundleOptions.of(run, openvino=True), {})
    assert list(written) == ["fp32.onnx", "openvino-fp32.xml", "openvino-fp32.bin"]
    assert written["openvino-fp32.xml"]["made"]["library"] == "openvino"
    assert written["openvino-fp32.bin"].keys() == {"sha256", "size_bytes"}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")
def test_engines_are_built_of_each_precision(run: RunFolder, network: nn.Module, tmp_path: Path) -> None:
    options = BundleOptions.of(run, precisions=["fp32", "int8"], engine="tensorrt-rtx")
    written = write_models(run, tmp_path, network, options, {})
    engines = {name: entry for name, entry in written.items() if name.endswith(".engine")}
    assert list(engines) == ["tensorrt-rtx-fp32.engine", "tensorrt-rtx-int8.engine"]
    assert all(entry["made"]["library"] for entry in engines.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precisions": ["int4"]}, "precision 'int4' does not exist"),
        ({"engine": "tensorflow"}, "engine 'tensorflow' does not exist"),
        ({"engine": "tensorrt-rtx", "batch_size": "dynamic"}, "must be a number where an engine is wanted"),
        ({"max_drop": -1}, "max_drop must be from 0 to 100"),
        ({"max_drop": float("nan")}, "max_drop must be from 0 to 100"),
        ({"batch_size": 0}, 'batch_size must be at least 1, or "dynamic"'),
        ({"opset": 7}, "opset must be from"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(run: RunFolder, options: dict, said: str) -> None:
    with pytest.raises(HwnasError, match=said):
        BundleOptions.of(run, **options)


def test_images_that_are_not_of_bytes_have_no_image_input(tmp_path: Path) -> None:
    part = Part(torch.rand(12, 1, 8, 8), torch.arange(12) % 2)
    data = ImageData("mine", part, part, part, ("a", "b"), (0.5,), (0.3,), False)
    with pytest.raises(HwnasError, match="image_input must be left out where images are not of bytes"):
        BundleOptions.of(RunFolder(tmp_path, RunSettings(), given_data=data), image_input=True)


def test_the_arguments_ask_for_the_same(run: RunFolder) -> None:
    options = BundleOptions.of(run, precisions=["int8"], batch_size="dynamic", openvino=True, licence='CC "BY" 4.0')
    command = "--precision int8 --batch-size dynamic --max-drop 0.5 --openvino --licence"
    assert options.arguments() == [*command.split(), 'CC "BY" 4.0']
    assert options.with_precision("fp32").precisions == ("fp32", "int8")


@pytest.mark.parametrize("engine", [None, "tensorrt-rtx"])
def test_an_int8_model_of_symmetric_activations_is_there_where_something_needs_it(
    run: RunFolder, network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str | None
) -> None:
    """An engine, or a device of the run."""
    asked: list[tuple[Path, bool]] = []

    def build(source: Path, path: Path, *, library: str) -> dict[str, str]:
        asked.append((source, source.exists()))
        path.write_bytes(b"engine")
        return {"library": library}

    monkeypatch.setattr("hwnas.api.converting.save_engine", build)
    devices = "[]"
    if engine is None:
        (tmp_path / "devices").mkdir()
        (tmp_path / "devices" / "board.toml").write_text('runtimes = ["tensorrt"]')
        monkeypatch.chdir(tmp_path)
        devices = "board"
    objectives = ["error", "latency@board", "latency@elsewhere"] if devices == "board" else ["error"]
    here = RunFolder(run.path, run.settings.model_copy(update={"objectives": objectives}))
    options = BundleOptions.of(here, precisions=["fp32", "int8"], engine=engine)
    written = write_models(here, tmp_path, network, options, {}, trained_on_validation=False)
    engines = [f"{engine}-fp32.engine", f"{engine}-int8.engine"] if engine else []
    assert set(written) == {"fp32.onnx", "int8.onnx", "int8-symmetric.onnx", *engines}
    made = written["int8-symmetric.onnx"]["made"]
    assert made.keys() >= {"method", "kept_float", "drop", "drop_before"}
    assert (made["trained_on_validation_images"], made["max_drop"]) == (False, 0.5)
    zeros = {
        onnx.numpy_helper.to_array(tensor).dtype.name
        for tensor in onnx.load(tmp_path / "int8-symmetric.onnx").graph.initializer
        if "zero_point" in tensor.name
    }
    assert zeros == {"int8"}
    if engine:
        assert [(path.name, there) for path, there in asked] == [("fp32.onnx", True), ("int8-symmetric.onnx", True)]
        assert written[engines[1]]["made"] == {**made, "library": engine}


def test_without_need_there_is_none(run: RunFolder, network: nn.Module, tmp_path: Path) -> None:
    options = BundleOptions.of(run, precisions=["int8"])
    assert list(write_models(run, tmp_path, network, options, {})) == ["int8.onnx"]
