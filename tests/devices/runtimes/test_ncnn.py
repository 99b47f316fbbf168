import subprocess
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from hwnas.devices.runtimes import ncnn as ncnn_file
from hwnas.devices.runtimes.ncnn import Ncnn
from hwnas.errors import DeviceError
from hwnas.testing import RuntimeContract
from hwnas.testing.runtime_contract import network_model


class TestNcnn(RuntimeContract):
    library = "ncnn"

    @pytest.fixture
    def runtime(self):
        return Ncnn()


@pytest.fixture
def load(tmp_path):
    if Ncnn().version is None:
        pytest.skip(Ncnn().install_hint)

    def load_model(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return Ncnn().load(path, num_threads=1)

    return load_model


def one_operator(kind, *, element=onnx.TensorProto.FLOAT, shape=(1, 2, 3, 5), **attributes):
    ends = [onnx.helper.make_tensor_value_info(name, element, shape) for name in ("input", "output")]
    nodes = [onnx.helper.make_node(kind, ["input"], ["output"], **attributes)]
    graph = onnx.helper.make_graph(nodes, kind, ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_without_its_converter_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(ncnn_file, "_converter", lambda: None)
    assert Ncnn().version is None


def test_every_image_of_a_batch_is_run_and_timed(load):
    session = load(network_model(3))
    images = np.random.default_rng(0).standard_normal((3, 3, 6, 6)).astype(np.float32)
    (found,) = session.run([images])
    (turned,) = session.run([images[::-1]])
    np.testing.assert_allclose(found[::-1], turned, atol=1e-6)
    ran = []
    session._infer = lambda mats: ran.append(mats)
    session.time_ms(2)
    assert len(ran) == 6


def test_images_whose_rows_ncnn_pads_come_out_whole(load):
    given = np.random.default_rng(0).standard_normal((1, 2, 3, 5)).astype(np.float32)
    (found,) = load(one_operator("HardSwish")).run([given])
    np.testing.assert_allclose(found, given * np.clip(given / 6 + 0.5, 0, 1), atol=1e-6)


def test_the_net_keeps_to_float32_and_to_its_threads(tmp_path, monkeypatch):
    ncnn = pytest.importorskip("ncnn", reason="pip install 'hwnas[ncnn]'")
    made, make = [], ncnn.Net
    monkeypatch.setattr(ncnn, "Net", lambda: made.append(make()) or made[-1])
    if Ncnn().version is None:
        pytest.skip(Ncnn().install_hint)
    path = tmp_path / "model.onnx"
    path.write_bytes(network_model().SerializeToString())
    Ncnn().load(path, num_threads=2)
    options = made[0].opt
    assert options.num_threads == 2
    lower = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
    assert [getattr(options, name) for name in lower] == [False] * 4


@pytest.mark.parametrize("element", [onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64])
def test_inputs_other_than_float32_are_refused(load, element):
    with pytest.raises(DeviceError, match=r"model\.onnx, but it says: the model must have inputs .* float32"):
        load(one_operator("Identity", element=element))


def test_an_operator_that_ncnn_lacks_is_named(load):
    with pytest.raises(DeviceError, match="ncnn has no layer IsNaN"):
        load(one_operator("IsNaN"))


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (subprocess.TimeoutExpired("pnnx", 1), "did not convert it within"),
        (SimpleNamespace(stdout="one\ntwo\n", stderr=""), "cannot convert it: two"),
        (SimpleNamespace(stdout="", stderr=""), "cannot convert it: it says nothing"),
    ],
)
def test_a_conversion_that_fails_or_hangs_says_why(monkeypatch, outcome, reason):
    def run(command, **options):
        assert options["timeout"] <= 120
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ValueError, match=reason):
        ncnn_file._convert.__wrapped__(b"model")
