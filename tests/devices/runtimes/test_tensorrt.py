import ctypes
import gc
import hashlib
import sys
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import onnxruntime.quantization as quantization
import pytest

from hwnas.devices.runtimes.cuda import Cuda
from hwnas.devices.runtimes.tensorrt import Engine, TensorRt, TensorRtSession, _with_float_biases
from hwnas.errors import DeviceError, MissingRuntimeError
from hwnas.testing import RuntimeContract
from hwnas.testing.runtime_contract import foreign_model, network_model, swapped_model


class TestTensorRt(RuntimeContract):
    library = "tensorrt"

    @pytest.fixture
    def runtime(self):
        return TensorRt("tensorrt")


class TestTensorRtRtx(RuntimeContract):
    library = "tensorrt_rtx"

    @pytest.fixture
    def runtime(self):
        return TensorRt("tensorrt_rtx")


def write(model, path):
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def rtx():
    pytest.importorskip("tensorrt_rtx", reason="pip install 'hwnas[tensorrt-rtx]'")
    return TensorRt("tensorrt_rtx")


class TestBuildingWithoutGpu:
    """TensorRT-RTX parses and builds on any machine."""

    @pytest.mark.parametrize("capabilities", [["SM80"], ["SM120"], ["SM86", "SM89", "SM120"]])
    def test_an_engine_is_built_for_the_gpus_that_are_named(self, rtx, tmp_path, capabilities):
        engine = rtx.build(write(network_model(2), tmp_path / "model.onnx"), compute_capabilities=capabilities)
        assert len(engine.plan) > 1000
        assert (engine.inputs, engine.outputs) == (("input",), ("logits",))
        assert engine.timing_cache is None

    def test_inputs_and_outputs_are_in_the_order_of_the_file(self, rtx, tmp_path):
        engine = rtx.build(write(swapped_model(), tmp_path / "model.onnx"), compute_capabilities=["SM86"])
        assert engine.inputs == ("second", "first")
        assert engine.outputs == ("z_difference", "a_double")

    def test_the_operator_that_is_refused_is_named(self, rtx, tmp_path):
        path = write(foreign_model(), tmp_path / "model.onnx")
        with pytest.raises(
            DeviceError, match=r"must load .*model\.onnx, but it says: operator Unheard .*Plugin not found"
        ):
            rtx.build(path, compute_capabilities=["SM86"])

    def test_a_gpu_that_cannot_compute_an_operator_is_a_device_error(self, rtx, tmp_path):
        """Turing has no fp32 matrix product in TensorRT-RTX."""
        with pytest.raises(DeviceError, match=r"node_of_logits.*SM75"):
            rtx.build(write(network_model(), tmp_path / "model.onnx"), compute_capabilities=["SM75"])

    @pytest.mark.parametrize("content", [b"", b"not a model", network_model().SerializeToString()[:-40], None])
    def test_a_broken_or_missing_file_is_a_device_error(self, rtx, tmp_path, content):
        path = tmp_path / "broken.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DeviceError) as caught:
            rtx.build(path, compute_capabilities=["SM86"])
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_fp16_model_makes_a_smaller_engine(self, rtx, tmp_path):
        halves, floats = (half_and_float_model(kind) for kind in (np.float16, np.float32))
        plans = [
            rtx.build(write(model, tmp_path / "model.onnx"), compute_capabilities=["SM86"]).plan
            for model in (halves, floats)
        ]
        assert len(plans[0]) < 0.75 * len(plans[1])

    def test_an_int8_model_with_quantised_biases_is_built(self, rtx, tmp_path):
        path = write(quantised_model(tmp_path), tmp_path / "int8.onnx")
        assert rtx.build(path, compute_capabilities=["SM86"]).inputs == ("input",)


def half_and_float_model(kind):
    weights = np.random.default_rng(0).standard_normal((512, 512)).astype(kind)
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ends = [onnx.helper.make_tensor_value_info(name, element, [1, 512]) for name in ("input", "output")]
    nodes = [onnx.helper.make_node("MatMul", ["input", "weights"], ["output"])]
    stored = [onnx.numpy_helper.from_array(weights, "weights")]
    graph = onnx.helper.make_graph(nodes, "product", ends[:1], ends[1:], stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def quantised_model(folder):
    """The contract's network with symmetric int8 Q/DQ nodes, its convolution's bias quantised to int32."""

    class Reader(quantization.CalibrationDataReader):
        images = iter(np.random.default_rng(0).standard_normal((3, 1, 3, 6, 6)).astype(np.float32))

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"input": image}

    quantization.quantize_static(
        network_model(),
        folder / "quantised.onnx",
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True},
    )
    return onnx.load(folder / "quantised.onnx")


def test_float_biases_compute_the_same(tmp_path):
    quantised = quantised_model(tmp_path).SerializeToString()
    changed = _with_float_biases(quantised)
    assert num_dequantised(quantised, onnx.TensorProto.INT32) == 1
    assert num_dequantised(changed, onnx.TensorProto.INT32) == 0
    weights = num_dequantised(quantised, onnx.TensorProto.INT8)
    assert num_dequantised(changed, onnx.TensorProto.INT8) == weights > 0
    image = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    before, after = (
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, {"input": image})[0]
        for model in (quantised, changed)
    )
    np.testing.assert_allclose(before, after, atol=1e-6)


def num_dequantised(serialized, kind):
    graph = onnx.load_from_string(serialized).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return sum(node.op_type == "DequantizeLinear" and kinds.get(node.input[0]) == kind for node in graph.node)


def test_a_model_without_quantised_parts_is_left_as_it_is():
    serialized = network_model().SerializeToString()
    assert _with_float_biases(serialized) is serialized


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorInsufficientDriver = 35
    cudaErrorMemoryAllocation = 2


class Gpu:
    """`cuda.bindings.runtime` for a GPU that is host memory and takes 2 ms, and the diary of what was asked of it."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")

    def __init__(self, *, devices=1, memory=10**6):
        self.devices, self.free_bytes = devices, memory
        self.memory, self.diary, self.clock_ms, self.events = {}, [], 0.0, {}

    def cudaGetDeviceCount(self):
        return (Status.cudaSuccess, self.devices) if self.devices is not None else (Status(35), None)

    def cudaGetDevice(self):
        return Status.cudaSuccess, 0

    def cudaGetDeviceProperties(self, number):
        return Status.cudaSuccess, SimpleNamespace(name=b"Tesla T4 (fake)", major=7, minor=5)

    def cudaMalloc(self, size):
        if size > self.free_bytes:
            return Status.cudaErrorMemoryAllocation, None
        self.free_bytes -= size
        array = np.zeros(size, np.uint8)
        self.memory[array.ctypes.data] = array
        return Status.cudaSuccess, array.ctypes.data

    def cudaFree(self, address):
        self.free_bytes += self.memory.pop(address).size
        return (Status.cudaSuccess,)

    def cudaMemcpy(self, destination, source, size, kind):
        assert (destination if kind == "in" else source) in self.memory
        self.diary.append(kind)
        ctypes.memmove(destination, source, size)
        return (Status.cudaSuccess,)

    def cudaStreamCreate(self):
        return Status.cudaSuccess, 77

    def cudaStreamSynchronize(self, stream):
        self.diary.append("synchronize")
        return (Status.cudaSuccess,)

    def cudaStreamDestroy(self, stream):
        self.diary.append("destroy stream")
        return (Status.cudaSuccess,)

    def cudaEventCreate(self):
        self.events[len(self.events)] = None
        return Status.cudaSuccess, len(self.events) - 1

    def cudaEventRecord(self, event, stream):
        assert stream == 77
        self.diary.append(f"record {event}")
        self.events[event] = self.clock_ms
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event):
        self.diary.append(f"await {event}")
        return (Status.cudaSuccess,)

    def cudaEventElapsedTime(self, start, end):
        return Status.cudaSuccess, self.events[end] - self.events[start]

    def cudaEventDestroy(self, event):
        self.diary.append(f"destroy {event}")
        return (Status.cudaSuccess,)


class Loaded:
    """An ICudaEngine, and its execution context, that doubles (2, 3) floats on a Gpu."""

    def __init__(self, gpu, *, shape=(2, 3), works=True):
        self.gpu, self.shape, self.works, self.addresses = gpu, shape, works, {}

    num_io_tensors = 2

    def get_tensor_name(self, index):
        return ("given", "returned")[index]

    def get_tensor_mode(self, name):
        return {"given": "input", "returned": "output"}[name]

    def get_tensor_shape(self, name):
        return self.shape

    def get_tensor_dtype(self, name):
        return np.float32

    def create_execution_context(self):
        return self

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        self.gpu.diary.append("execute")
        self.gpu.clock_ms += 2.0
        given, returned = (self.gpu.memory[self.addresses[name]].view(np.float32) for name in ("given", "returned"))
        returned[:] = given * 2
        return self.works


TRT = SimpleNamespace(nptype=lambda kind: kind)
ENGINE = Engine(b"plan", ("given",), ("returned",))


def session_on(gpu, **options):
    return TensorRtSession(TRT, Loaded(gpu, **options), ENGINE, Cuda(gpu))


def test_a_run_copies_in_executes_waits_and_copies_out():
    gpu = Gpu()
    session = session_on(gpu)
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    (found,) = session.run([given])
    assert (found == given * 2).all()
    assert gpu.diary == ["in", "execute", "synchronize", "out"]
    session.run([given + 1])
    assert (found == given * 2).all()


def test_timing_is_between_two_events_around_each_run_alone():
    gpu = Gpu()
    session = session_on(gpu)
    assert session.time_ms(2) == [2.0, 2.0]
    assert gpu.diary == ["in", *(["record 0", "execute", "record 1", "await 1"] * 2)]


def test_timing_uses_inputs_of_its_own():
    gpu = Gpu()
    session = session_on(gpu)
    session.run([np.zeros((2, 3), np.float32)])
    session.time_ms(1)
    assert any(memory.view(np.float32).any() for memory in gpu.memory.values())


def test_a_session_that_goes_gives_back_what_it_took():
    gpu = Gpu()
    session = session_on(gpu)
    assert len(gpu.memory) == 2
    del session
    gc.collect()
    assert (gpu.memory, gpu.free_bytes) == ({}, 10**6)
    assert gpu.diary == ["destroy 1", "destroy 0", "destroy stream"]


def test_a_session_that_does_not_fit_gives_back_what_it_took():
    gpu = Gpu(memory=30)
    with pytest.raises(DeviceError, match="cudaErrorMemoryAllocation"):
        session_on(gpu)
    gc.collect()
    assert gpu.memory == {}


def test_a_run_that_fails_is_a_device_error():
    with pytest.raises(DeviceError, match="must run the model"):
        session_on(Gpu(), works=False).time_ms(1)


def test_an_open_shape_is_refused():
    with pytest.raises(DeviceError, match=r"given has the shape \(-1, 3\)"):
        session_on(Gpu(), shape=(-1, 3))


def test_too_few_inputs_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        session_on(Gpu()).run([])


class TimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content + b"+tuned"


class Library:
    """A TensorRT whose engines double, and which writes down how they were asked for."""

    __version__ = "10.3.0"
    builder_optimization_level = 3
    ILogger = type("ILogger", (), {"Severity": SimpleNamespace(ERROR=1)})
    BuilderFlag = SimpleNamespace(TF32="tf32")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    TensorIOMode = SimpleNamespace(INPUT="input")
    nptype = staticmethod(lambda kind: kind)

    def __init__(self, gpu, *, caches=(b"", b"+tuned", b"+tuned+tuned")):
        self.gpu, self.caches, self.asked = gpu, caches, {}

    def Builder(self, log):
        return self

    def create_network(self, flags):
        self.asked["flags"] = flags
        tensors = {"get_input": "given", "get_output": "returned"}
        named = {key: lambda index, name=name: SimpleNamespace(name=name) for key, name in tensors.items()}
        return SimpleNamespace(num_inputs=1, num_outputs=1, **named)

    def OnnxParser(self, network, log):
        return SimpleNamespace(parse=lambda content, path: True)

    def create_builder_config(self):
        return self

    def clear_flag(self, flag):
        self.asked["cleared"] = flag

    def create_timing_cache(self, content):
        return TimingCache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        self.cache = cache
        return cache.content in self.caches

    def get_timing_cache(self):
        return self.cache

    def build_serialized_network(self, network, config):
        return bytearray(b"plan")

    def Runtime(self, log):
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: Loaded(self.gpu) if plan == b"plan" else None)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A GPU with TensorRT on it, caches below tmp_path; and a model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    gpu = Gpu()
    library = Library(gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    tensorrt_file = sys.modules[TensorRt.__module__]
    tensorrt_file._log.cache_clear()
    yield SimpleNamespace(gpu=gpu, library=library, runtime=TensorRt("tensorrt", cuda=lambda: Cuda(gpu)))
    tensorrt_file._log.cache_clear()


@pytest.fixture
def model_path(tmp_path):
    return write(network_model(), tmp_path / "model.onnx")


def test_networks_are_strongly_typed_in_the_version_that_asks_for_it_and_the_one_that_is(installed, model_path):
    installed.runtime.build(model_path)
    assert installed.library.asked == {"flags": 1, "cleared": "tf32"}
    installed.library.NetworkDefinitionCreationFlag = SimpleNamespace()
    installed.runtime.build(model_path)
    assert installed.library.asked["flags"] == 0


def test_the_timing_cache_is_kept_grows_and_is_hashed(installed, model_path, tmp_path):
    first, second = (installed.runtime.load(model_path, num_threads=1) for _ in range(2))
    (path,) = (tmp_path / "hwnas" / "tensorrt").iterdir()
    assert path.name == "10.3.0-Tesla-T4-fake-7.5.timing"
    assert path.read_bytes() == b"+tuned+tuned"
    hashes = [hashlib.sha256(content).hexdigest() for content in (b"+tuned", b"+tuned+tuned")]
    assert [session.properties["timing_cache_sha256"] for session in (first, second)] == hashes


def test_what_the_builder_was_told_is_recorded(installed, model_path):
    engine = installed.runtime.build(model_path)
    assert engine.settings == {
        "library": "tensorrt",
        "version": "10.3.0",
        "strongly_typed": True,
        "tf32": False,
        "compute_capabilities": [],
        "optimization_level": 3,
        "timing_cache_sha256": hashlib.sha256(engine.timing_cache.read_bytes()).hexdigest(),
    }


def test_a_timing_cache_of_another_gpu_is_replaced(installed, model_path):
    path = installed.runtime.build(model_path).timing_cache
    path.write_bytes(b"of another GPU")
    assert installed.runtime.build(model_path).timing_cache.read_bytes() == b"+tuned"


def test_a_loaded_model_runs(installed, model_path):
    session = installed.runtime.load(model_path, num_threads=1)
    assert session.time_ms(3) == [2.0] * 3
    assert installed.runtime.version == "10.3.0"
    assert installed.runtime.properties == {"gpu": "Tesla T4 (fake)", "compute_capability": "7.5"}


def test_an_engine_that_was_built_before_runs_as_it_is(installed, tmp_path):
    (tmp_path / "one.engine").write_bytes(b"plan")
    session = installed.runtime.load(tmp_path / "one.engine", num_threads=1)
    assert session.time_ms(3) == [2.0] * 3
    assert "flags" not in installed.library.asked
    (tmp_path / "one.engine").write_bytes(b"of another GPU")
    with pytest.raises(DeviceError, match=r"must load .*one\.engine"):
        installed.runtime.load(tmp_path / "one.engine", num_threads=1)


@pytest.mark.parametrize("part", ["build_serialized_network", "Runtime"])
def test_an_engine_that_fails_says_what_tensorrt_logged(installed, model_path, monkeypatch, part):
    def fail(self, log, *_):
        (log if part == "Runtime" else installed.log).log(1, "Out of memory\nin line 7")
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: None) if part == "Runtime" else None

    def builder(self, log):
        installed.log = log
        return self

    monkeypatch.setattr(Library, "Builder", builder)
    monkeypatch.setattr(Library, part, fail)
    with pytest.raises(DeviceError, match=r"must load .*model\.onnx, but it says: Out of memory\.$"):
        installed.runtime.load(model_path, num_threads=1)


@pytest.mark.parametrize(
    ("devices", "reason"), [(None, "no usable NVIDIA driver.*cudaErrorInsufficientDriver"), (0, "CUDA finds no GPU")]
)
def test_without_a_driver_or_gpu_loading_says_so(installed, model_path, devices, reason):
    installed.gpu.devices = devices
    assert installed.runtime.version is None
    assert installed.runtime.properties == {}
    with pytest.raises(MissingRuntimeError, match=rf"{reason}.*hwnas\[tensorrt\]"):
        installed.runtime.load(model_path, num_threads=1)


def test_without_the_cuda_bindings_loading_names_them(installed, model_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingRuntimeError, match=r"Python finds no cuda\.bindings.*hwnas\[tensorrt\]"):
        TensorRt("tensorrt").load(model_path, num_threads=1)
