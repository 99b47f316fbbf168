import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from hwnas.devices.runtimes import RUNTIMES
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime
from hwnas.errors import DeviceError
from hwnas.testing import RuntimeContract

PROVIDERS = {
    "onnxruntime-cpu": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-openvino": "OpenVINOExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
}


class TestOnnxRuntimeCpu(RuntimeContract):
    library = "onnxruntime"

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime("CPU")


class TestOnnxRuntimeWithoutItsProvider(RuntimeContract):
    """A runtime that is not in this build of ONNX Runtime, whatever build it is."""

    library = "onnxruntime"

    @pytest.fixture
    def runtime(self, monkeypatch):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        return OnnxRuntime("OpenVINO")


@pytest.mark.parametrize(("name", "provider"), PROVIDERS.items())
def test_a_runtime_has_a_version_where_the_build_has_its_provider(monkeypatch, name, provider):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [provider])
    versions = {name: RUNTIMES[name]().version for name in PROVIDERS}
    assert versions == {**dict.fromkeys(PROVIDERS), name: onnxruntime.__version__}


def test_each_install_hint_brings_another_provider():
    hints = [RUNTIMES[name]().install_hint for name in PROVIDERS]
    assert len(set(hints)) == len(hints)
    assert all("onnxruntime" in hint for hint in hints)


def test_without_onnx_runtime_all_are_listed_without_a_version(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert {RUNTIMES[name]().version for name in PROVIDERS} == {None}


def identity_model(element_type, shape):
    ends = [onnx.helper.make_tensor_value_info(name, element_type, shape) for name in ("input", "output")]
    nodes = [onnx.helper.make_node("Identity", ["input"], ["output"])]
    graph = onnx.helper.make_graph(nodes, "identity", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def load(tmp_path):
    def load_model(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return OnnxRuntime("CPU").load(path, num_threads=1)

    return load_model


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8, np.int8, np.int64])
def test_models_of_other_number_types_are_timed_and_run(load, kind):
    session = load(identity_model(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [2, 3]))
    assert len(session.time_ms(2)) == 2
    given = np.arange(6).reshape(2, 3).astype(kind)
    (found,) = session.run([given])
    assert found.dtype == kind
    assert (found == given).all()


def test_a_model_with_an_input_of_an_unknown_type_is_a_device_error(load):
    with pytest.raises(DeviceError, match=r"model\.onnx has an input of tensor\(double\)"):
        load(identity_model(onnx.TensorProto.DOUBLE, [2]))


def test_an_open_dimension_is_timed_as_one(load):
    session = load(identity_model(onnx.TensorProto.FLOAT, ["batch", 3]))
    assert len(session.time_ms(1)) == 1
    assert session.run([np.zeros((5, 3), np.float32)])[0].shape == (5, 3)


def test_too_few_inputs_are_refused(load):
    with pytest.raises(ValueError, match="shorter"):
        load(identity_model(onnx.TensorProto.FLOAT, [2])).run([])


def test_the_session_has_the_threads_asked_for(tmp_path, monkeypatch):
    made = []

    class Session:
        def __init__(self, path, options, providers):
            made.append((path, options.intra_op_num_threads, options.inter_op_num_threads, providers))

        def get_inputs(self):
            return []

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    OnnxRuntime("CPU").load(tmp_path / "model.onnx", num_threads=3)
    assert made == [(str(tmp_path / "model.onnx"), 3, 1, ["CPUExecutionProvider"])]


def test_a_provider_that_falls_back_is_refused(tmp_path, monkeypatch):
    class Session:
        def __init__(self, path, options, providers):
            self.made_for = path

        def get_inputs(self):
            return []

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(DeviceError, match="fell back to CPU"):
        OnnxRuntime("CUDA").load(tmp_path / "model.onnx", num_threads=1)


@pytest.mark.parametrize(("message", "shown"), [("first\nthe reason\n", "the reason"), ("", "RuntimeError")])
def test_a_refusal_is_one_line(tmp_path, monkeypatch, message, shown):
    def refuse(*_, **__):
        raise RuntimeError(message)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(DeviceError, match=rf"must load {tmp_path}/model\.onnx, but it says: {shown}\."):
        OnnxRuntime("CPU").load(tmp_path / "model.onnx", num_threads=1)
