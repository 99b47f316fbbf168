import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from hwnas.devices.runtimes import RUNTIMES, find_runtime
from hwnas.devices.runtimes import onnxruntime as onnxruntime_file
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime
from hwnas.errors import DeviceError, UnknownNameError
from hwnas.testing import RuntimeContract

LISTED = {
    name: make for name, make in RUNTIMES.items() if name.startswith("onnxruntime-") and name != "onnxruntime-web"
}
PROVIDERS = {
    "onnxruntime-cpu": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-openvino": "OpenVINOExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-qnn": "QNNExecutionProvider",
    "onnxruntime-migraphx": "MIGraphXExecutionProvider",
    "onnxruntime-xnnpack": "XnnpackExecutionProvider",
    "onnxruntime-acl": "ACLExecutionProvider",
    "onnxruntime-dnnl": "DnnlExecutionProvider",
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
    versions = {name: make().version for name, make in LISTED.items()}
    assert versions == {**dict.fromkeys(LISTED), name: onnxruntime.__version__}


def test_every_listed_provider_is_tried_here():
    """Their names in ONNX Runtime are written out above: its own list loses some from version to version."""
    assert PROVIDERS.keys() == LISTED.keys()


def test_a_provider_that_the_build_has_is_found_though_it_is_not_listed(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["VitisAIExecutionProvider"])
    found = find_runtime("onnxruntime-vitisai")
    assert (found.name, found.version) == ("onnxruntime-vitisai", onnxruntime.__version__)
    assert "VitisAI" in found.install_hint


@pytest.mark.parametrize("name", ["onnxruntime-vitisai", "onnxruntime-azure"])
def test_a_provider_that_the_build_lacks_or_that_runs_elsewhere_is_an_unknown_name(name):
    with pytest.raises(UnknownNameError, match=r"Known: .*onnxruntime-cpu"):
        find_runtime(name)


def test_without_onnx_runtime_a_provider_that_is_not_listed_is_an_unknown_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnknownNameError, match="Did you mean 'onnxruntime-cpu'"):
        find_runtime("onnxruntime-cup")


def test_each_install_hint_brings_another_provider():
    hints = [make().install_hint for make in LISTED.values()]
    assert len(set(hints)) == len(hints)
    assert all("onnxruntime" in hint for hint in hints)


def test_without_onnx_runtime_all_are_listed_without_a_version(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert {make().version for make in LISTED.values()} == {None}


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
    assert made == [(str(tmp_path / "model.onnx"), 3, 1, [("CPUExecutionProvider", {})])]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("onnxruntime-cuda", {"use_tf32": "0"}),
        ("onnxruntime-tensorrt", {"trt_timing_cache_enable": "1", "trt_timing_cache_path": "{cache}"}),
        ("onnxruntime-openvino", {"num_of_threads": "3", "num_streams": "1", "precision": "ACCURACY"}),
        ("onnxruntime-xnnpack", {"intra_op_num_threads": "3"}),
    ],
)
def test_a_provider_gets_its_threads_and_its_precision(tmp_path, monkeypatch, name, options):
    given = []

    class Session:
        def __init__(self, path, options, providers):
            given.extend(providers)

        def get_inputs(self):
            return []

        def get_providers(self):
            return [PROVIDERS[name]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDERS[name]])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    find_runtime(name).load(tmp_path / "model.onnx", num_threads=3)
    ((provider, found),) = given
    cache = tmp_path / "hwnas" / name
    assert provider == PROVIDERS[name]
    assert found.items() >= {key: value.format(cache=cache) for key, value in options.items()}.items()
    assert cache.is_dir() == (name == "onnxruntime-tensorrt")


def test_the_gpu_is_among_the_properties_of_a_provider_that_runs_on_it(monkeypatch):
    gpu = {"gpu": "Tesla T4"}
    monkeypatch.setattr(onnxruntime_file, "gpu_properties", lambda: gpu)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    found = {name: make().properties for name, make in LISTED.items()}
    nvidia = ("onnxruntime-cuda", "onnxruntime-tensorrt")
    assert found == {name: gpu if name in nvidia else {} for name in LISTED}
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert find_runtime("onnxruntime-cuda").properties == {}


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
