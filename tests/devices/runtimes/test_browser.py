import asyncio
import gc
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from hwnas.devices.runtimes import browser
from hwnas.devices.runtimes.browser import OnnxRuntimeWeb
from hwnas.errors import DeviceError, MissingRuntimeError
from hwnas.testing import RuntimeContract
from hwnas.testing.runtime_contract import network_model


def fetched():
    """The runtime with all of its parts; what asks for it is skipped where one is missing and cannot be fetched."""
    runtime = OnnxRuntimeWeb()
    try:
        runtime.require()
    except MissingRuntimeError as error:
        pytest.skip(str(error))
    return runtime


class TestOnnxRuntimeWeb(RuntimeContract):
    library = "playwright"

    @pytest.fixture
    def runtime(self):
        return OnnxRuntimeWeb()

    @pytest.fixture
    def installed(self):
        return fetched()


@pytest.fixture
def runtime():
    return fetched()


@pytest.fixture
def load(runtime, tmp_path):
    def load_model(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return runtime.load(path, num_threads=1)

    return load_model


def one_node_model(operator, element_type=onnx.TensorProto.FLOAT, shape=(2, 3), domain=""):
    ends = [onnx.helper.make_tensor_value_info(name, element_type, shape) for name in ("input", "output")]
    nodes = [onnx.helper.make_node(operator, ["input"], ["output"], domain=domain)]
    graph = onnx.helper.make_graph(nodes, "one", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("elsewhere", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def quantized_model():
    """A convolution between Q/DQ nodes, whose kernel is int8: (1, 3, 6, 6) -> (1, 4, 6, 6)."""
    rng = np.random.default_rng(0)
    stored = {
        "kernel": rng.integers(-127, 128, (4, 3, 3, 3), dtype=np.int8),
        "kernel_scale": np.full(4, 0.01, np.float32),
        "kernel_zero": np.zeros(4, np.int8),
        "scale": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
    }
    node = onnx.helper.make_node
    nodes = [
        node("QuantizeLinear", ["input", "scale", "zero"], ["input_q"]),
        node("DequantizeLinear", ["input_q", "scale", "zero"], ["input_dq"]),
        node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["kernel_dq"], axis=0),
        node("Conv", ["input_dq", "kernel_dq"], ["conv"], pads=[1, 1, 1, 1]),
        node("QuantizeLinear", ["conv", "scale", "zero"], ["conv_q"]),
        node("DequantizeLinear", ["conv_q", "scale", "zero"], ["output"]),
    ]
    given = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, (1, 3, 6, 6))
    returned = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, (1, 4, 6, 6))
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = onnx.helper.make_graph(nodes, "quantized", [given], [returned], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)


def test_an_int8_model_computes_what_the_reference_computes(load):
    model = quantized_model()
    image_BCHW = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    (found,) = load(model).run([image_BCHW])
    (wanted,) = ReferenceEvaluator(model).run(None, {"input": image_BCHW})
    assert np.unique(wanted).size > 20
    assert np.abs(found - wanted).max() <= 0.05 + 1e-6  # one step: the rounding of the convolution's sum may differ


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int8, np.int64])
def test_models_of_other_number_types_are_timed_and_run(load, kind):
    session = load(one_node_model("Identity", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))))
    assert len(session.time_ms(2)) == 2
    given = np.arange(6).reshape(2, 3).astype(kind)
    (found,) = session.run([given])
    assert found.dtype == kind
    assert (found == given).all()


def test_a_model_with_an_input_of_another_type_is_a_device_error(load):
    with pytest.raises(DeviceError, match=r"model\.onnx has an input of float64"):
        load(one_node_model("Identity", onnx.TensorProto.DOUBLE))


def test_an_operator_that_it_does_not_have_is_named_with_the_file(load):
    with pytest.raises(DeviceError, match=r"must load .*model\.onnx, but it says: .*Teleport") as caught:
        load(one_node_model("Teleport", domain="elsewhere"))
    assert "\n" not in str(caught.value)


def test_an_input_of_the_wrong_shape_is_a_device_error_and_the_session_goes_on(load):
    session = load(one_node_model("Relu"))
    with pytest.raises(DeviceError, match=r"must run .*model\.onnx, but it says: "):
        session.run([np.zeros((5, 5), np.float32)])
    assert session.run([np.full((2, 3), -1, np.float32)])[0].max() == 0


def test_an_open_dimension_is_timed_as_one(load):
    session = load(one_node_model("Identity", shape=("batch", 3)))
    assert len(session.time_ms(1)) == 1
    assert session.run([np.zeros((5, 3), np.float32)])[0].shape == (5, 3)


def test_too_few_inputs_are_refused(load):
    with pytest.raises(ValueError, match="shorter"):
        load(one_node_model("Relu")).run([])


def test_runs_shorter_than_the_clocks_step_are_timed_together(load):
    """A clock of 5 µs would give zeros and steps: 20 samples of a run of 30 µs would share a handful of values."""
    samples = load(one_node_model("Relu")).time_ms(20)
    assert all(sample > 0 for sample in samples)
    assert any(sample % 0.005 > 1e-6 for sample in samples)


def test_sessions_that_are_gone_leave_the_page(load):
    session = load(network_model())
    page, key = session._page, session._key
    del session
    gc.collect()
    load(network_model())
    with pytest.raises(DeviceError, match="must run it"):
        page.call("time", key, 1, must="run it", seconds=10)


def test_it_loads_inside_an_event_loop(load):
    async def timed():
        return load(network_model()).time_ms(1)

    assert len(asyncio.run(timed())) == 1


def test_a_page_that_hangs_is_a_device_error_and_the_next_load_has_a_new_one(load, monkeypatch):
    session = load(network_model())
    monkeypatch.setattr(browser, "RUN_SECONDS", 0.5)
    monkeypatch.setattr(browser, "EXTRA_RUN_SECONDS", 0.0)
    with pytest.raises(DeviceError, match=r"must run .*model\.onnx, but its page did not answer within 0\.5 s"):
        session.time_ms(10**9)
    monkeypatch.undo()
    with pytest.raises(DeviceError, match="did not answer"):
        session.time_ms(1)
    assert len(load(network_model()).time_ms(1)) == 1


def test_the_fingerprint_has_the_browser(runtime):
    assert runtime.properties["browser"].split()[-1][0].isdigit()


def test_without_its_parts_it_has_no_properties(monkeypatch):
    monkeypatch.setitem(sys.modules, "playwright", None)
    assert OnnxRuntimeWeb().properties == {}


def children_of(process):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            child = int(path.parent.name)
            found += [child, *children_of(child)]
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
def test_no_browser_outlives_a_process_that_is_killed(runtime, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(network_model().SerializeToString())
    code = (
        "import sys, time; from pathlib import Path; from hwnas.devices import find_runtime\n"
        "session = find_runtime('onnxruntime-web').load(Path(sys.argv[1]), num_threads=1)\n"
        "print('loaded', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "loaded\n"
        children = children_of(process.pid)
        process.kill()
    assert len(children) > 2
    deadline = time.monotonic() + 30
    while (left := [child for child in children if Path(f"/proc/{child}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
