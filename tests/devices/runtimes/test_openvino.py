import os
import time

import numpy as np
import onnx
import pytest

from hwnas.devices.runtimes import openvino as openvino_file
from hwnas.devices.runtimes.openvino import OpenVino
from hwnas.testing import RuntimeContract
from hwnas.testing.runtime_contract import network_model


class TestOpenVinoCpu(RuntimeContract):
    library = "openvino"

    @pytest.fixture
    def runtime(self):
        return OpenVino("CPU")


class Core:
    """An OpenVINO with other devices, each of which can compute in the formats given."""

    def __init__(self, **capabilities):
        self.capabilities = capabilities
        self.available_devices = [*capabilities]
        self.compiled = []

    def get_property(self, device, name):
        return {"OPTIMIZATION_CAPABILITIES": self.capabilities[device], "FULL_DEVICE_NAME": f"the {device}"}[name]

    def compile_model(self, model, device, settings):
        self.compiled.append((device, settings))
        raise RuntimeError("that is enough")


@pytest.fixture
def devices(monkeypatch):
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")

    def make(**capabilities):
        core = Core(**capabilities)
        monkeypatch.setattr(openvino_file, "_core", lambda: core)
        return core

    return make


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(network_model().SerializeToString())
    return path


@pytest.fixture
def half_path(tmp_path):
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, [1, 3]) for name in ("input", "output")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["input"], ["output"])], "half", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "half.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_runtime_has_a_version_where_openvino_sees_its_device(devices):
    devices(CPU=["FP32"], **{"GPU.1": ["FP32"]})
    assert OpenVino("CPU").version == OpenVino("GPU").version
    assert OpenVino("CPU").version[:1].isdigit()
    assert OpenVino("NPU").version is None


def test_the_precisions_are_those_that_the_device_computes_in(devices):
    devices(CPU=["BF16", "FP32", "INT8", "BIN"], GPU=["FP32", "FP16", "INT8"], NPU=["FP16", "INT8"])
    found = {name: set(OpenVino(name).precisions) for name in ("CPU", "GPU", "NPU")}
    assert found == {"CPU": {"fp32", "int8"}, "GPU": {"fp32", "fp16", "int8"}, "NPU": {"fp16", "int8"}}


def test_the_name_of_an_accelerator_is_a_property(devices):
    devices(CPU=["FP32"], GPU=["FP32"])
    assert [OpenVino(name).properties for name in ("CPU", "GPU", "NPU")] == [{}, {"gpu": "the GPU"}, {}]


@pytest.mark.parametrize(
    ("device", "capabilities", "of_floats", "of_halves"),
    [
        ("CPU", ["FP32", "BF16"], "f32", "f32"),
        ("CPU", ["FP32", "BF16", "FP16"], "f32", "f16"),
        ("GPU", ["FP32", "FP16"], "f32", "f16"),
        ("NPU", ["FP16", "INT8"], "f16", "f16"),
    ],
)
def test_the_precision_of_inference_is_that_of_the_model(
    devices, model_path, half_path, device, capabilities, of_floats, of_halves
):
    core = devices(**{device: capabilities})
    for path in (model_path, half_path):
        with pytest.raises(Exception, match="that is enough"):
            OpenVino(device).load(path, num_threads=1)
    hints = [settings["INFERENCE_PRECISION_HINT"] for _, settings in core.compiled]
    assert hints == [of_floats, of_halves]


def test_a_model_in_openvino_s_own_format_is_the_one_that_it_was_made_of(model_path, tmp_path):
    openvino = pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    own = tmp_path / "model.xml"
    openvino.save_model(openvino_file.read_model(model_path), own, compress_to_fp16=False)
    sessions = [OpenVino("CPU").load(path, num_threads=1) for path in (model_path, own)]
    shapes = [(size.shape, size.data.dtype) for size in sessions[0]._held]
    given = [np.random.default_rng(0).standard_normal(shape).astype(kind) for shape, kind in shapes]
    first, second = (session.run(given) for session in sessions)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_compiled_model_is_as_asked_for(model_path, num_threads):
    openvino = pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    runtime = OpenVino("CPU")
    settings = runtime._settings(openvino_file.read_model(model_path), num_threads)
    compiled = openvino_file._core().compile_model(openvino_file.read_model(model_path), "CPU", settings)
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == min(num_threads, os.cpu_count())
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8, np.int64])
def test_models_of_other_number_types_are_timed_and_run(tmp_path, kind):
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ends = [onnx.helper.make_tensor_value_info(name, element, ["batch", 3]) for name in ("input", "output")]
    nodes = [onnx.helper.make_node("Add", ["input", "input"], ["output"])]
    graph = onnx.helper.make_graph(nodes, "twice", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "twice.onnx"
    path.write_bytes(model.SerializeToString())
    session = OpenVino("CPU").load(path, num_threads=1)
    assert len(session.time_ms(2)) == 2
    given = np.arange(6).reshape(2, 3).astype(kind)
    (found,) = session.run([given])
    assert found.dtype == kind
    assert (found == given * 2).all()


def test_outputs_outlive_the_next_run(model_path):
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    session = OpenVino("CPU").load(model_path, num_threads=1)
    image = np.ones((1, 3, 6, 6), np.float32)
    (first,) = session.run([image])
    kept = first.copy()
    session.run([image * 2])
    assert (first == kept).all()


def test_the_threads_of_many_models_sleep(model_path):
    pytest.importorskip("openvino", reason="pip install 'hwnas[openvino]'")
    runtime = OpenVino("CPU")
    sessions = [runtime.load(model_path, num_threads=1) for _ in range(20)]
    for session in sessions:
        session.time_ms(1)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1
