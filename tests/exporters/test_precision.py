import collections
import logging
import tempfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hwnas.errors import ExportError, SettingsError, UnknownNameError
from hwnas.exporters import (
    CALIBRATION_METHODS,
    PRECISIONS,
    chain_models,
    export_many,
    export_onnx,
    run_onnx,
    to_precision,
)
from hwnas.layers import Classifier, ConvBNAct, MBConv

SHAPES = [(3, 32, 32), (16, 16, 16), (16, 16, 16), (16, 16, 16)]
INT8 = {"uint8 activations": {}, "symmetric": {"symmetric": True}}
SETTINGS = {"fp16": {"precision": "fp16"}, **{name: {"precision": "int8", **more} for name, more in INT8.items()}}


@pytest.fixture(scope="module")
def parts():
    """The parts of a MobileNetV3, normalised as after training: both activations, squeeze-excite, shortcuts."""
    torch.manual_seed(0)
    modules = [
        ConvBNAct(3, 16, kernel_size=3, stride=2, activation="hard_swish"),
        MBConv(16, 16, mid_channels=48, kernel_size=5, se_channels=16, activation="hard_swish"),
        MBConv(16, 16, mid_channels=32, kernel_size=3, activation="relu"),
        Classifier(16, num_classes=10, last_channels=32, hidden_features=24),
    ]
    nn.init.normal_(modules[-1].logits.weight)
    whole = nn.Sequential(*modules).train()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    with torch.no_grad():
        whole(torch.from_numpy(np.concatenate(images(16))))
    return [module.eval() for module in modules]


@pytest.fixture(scope="module")
def operators(parts):
    return export_many(parts, SHAPES)


@pytest.fixture(scope="module")
def network(operators):
    return chain_models(operators)


def images(count, shape=SHAPES[0], seed=3):
    """Noise, each image of its own colour and contrast."""
    rng = np.random.default_rng(seed)
    colours, contrasts = rng.standard_normal((count, 1, shape[0], 1, 1)), rng.uniform(0.5, 1.5, (count, 1, 1, 1, 1))
    return list((colours + contrasts * rng.standard_normal((count, 1, *shape))).astype(np.float32))


def session_of(model):
    """The model node by node: fused int8 kernels saturate on processors without VNNI, so their numbers depend on it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs(model, batches):
    session = session_of(model)
    return np.concatenate([session.run(None, {model.graph.input[0].name: x_BCHW})[0] for x_BCHW in batches])


def kinds(model):
    return collections.Counter(node.op_type for node in model.graph.node)


def tensors(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def producer(model, name):
    return next((node for node in model.graph.node if name in node.output), None)


def correlation(model, reference, batches):
    """Of how the outputs differ from image to image: what they have in common proves nothing."""
    found, expected = (
        values - values.mean(axis=0) for values in (outputs(model, batches), outputs(reference, batches))
    )
    assert np.abs(expected).max() > 0.01, "the comparison must not be of zeros"
    return float((found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected))


class Reader:
    """Images as ONNX Runtime's quantiser takes them."""

    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        return next(({"input": x_BCHW} for x_BCHW in self.batches), None)


def quantize_static(model, folder, batches, **more):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as reference

    CalibrationDataReader.register(Reader)
    path = folder / "reference.onnx"
    settings = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, **more}
    copied = onnx.ModelProto()  # it changes the model that it is given
    copied.CopyFrom(model)
    reference(copied, path, Reader(batches), quant_format=QuantFormat.QDQ, per_channel=True, **settings)
    return onnx.load(path)


def assert_same_model(found, expected):
    """The same graph and weights; ranges as near as sums on one thread and on all of the machine's can be."""
    assert list(found.graph.node) == list(expected.graph.node)
    ours, theirs = tensors(found), tensors(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (value.dtype, value.shape), name
        slack = {"rtol": 1e-5, "atol": value.dtype.kind in "iu"} if value.dtype != np.int8 else {"rtol": 0}
        np.testing.assert_allclose(ours[name].astype(float), value.astype(float), err_msg=name, **slack)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
class TestEveryPrecision:
    def test_the_file_passes_the_full_check_and_gives_nearly_the_same(self, network, settings):
        batches = images(8)
        converted = to_precision(network, **settings, calibration=batches)
        onnx.checker.check_model(converted, full_check=True)
        assert correlation(converted, network, batches) > (0.9999 if settings["precision"] == "fp16" else 0.95)

    def test_each_operator_too(self, operators, settings):
        for operator, shape in zip(operators, SHAPES, strict=True):
            batches = images(8, shape)
            converted = to_precision(operator, **settings, calibration=batches)
            onnx.checker.check_model(converted, full_check=True)
            assert correlation(converted, operator, batches) > (0.9999 if settings["precision"] == "fp16" else 0.99)

    def test_its_ends_and_its_version_are_as_they_were(self, network, settings):
        converted = to_precision(network, **settings)
        assert list(converted.graph.input) == list(network.graph.input)
        assert list(converted.graph.output) == list(network.graph.output)
        assert list(converted.opset_import) == list(network.opset_import)
        assert converted.ir_version == network.ir_version

    def test_the_model_is_left_alone_and_the_same_again_is_the_same_file(self, network, settings):
        before = network.SerializeToString(deterministic=True)
        first = to_precision(network, **settings).SerializeToString()
        assert to_precision(network, **settings).SerializeToString() == first
        assert network.SerializeToString(deterministic=True) == before

    def test_metadata_stay_and_none_are_added(self, parts, settings):
        model = export_onnx(parts[0], SHAPES[0], batch_size=2, metadata={"labels": "cat\ndog"})
        converted = to_precision(model, **settings)
        assert [(entry.key, entry.value) for entry in converted.metadata_props] == [("labels", "cat\ndog")]
        assert outputs(converted, [np.ones((2, *SHAPES[0]), np.float32)]).shape == (2, 16, 16, 16)

    def test_nothing_is_said_and_no_file_is_left(self, network, settings, capfd, caplog, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        handlers = logging.root.handlers[:]
        with caplog.at_level(logging.DEBUG):
            to_precision(network, **settings)
        assert capfd.readouterr() == ("", "")
        assert caplog.records == []
        assert logging.root.handlers == handlers
        assert list(tmp_path.iterdir()) == []

    def test_a_model_that_cannot_be_converted_is_one_sentence(self, operators, settings):
        broken = onnx.ModelProto()
        broken.CopyFrom(operators[0])
        broken.graph.node[-1].input[0] = "nowhere"
        with pytest.raises(ExportError, match=rf"^Model .* must convert to {settings['precision']}, but ") as caught:
            to_precision(broken, **settings)
        assert "\n" not in str(caught.value)


class TestFp16:
    def test_all_is_computed_in_fp16_between_one_cast_at_either_end(self, network):
        converted = to_precision(network, "fp16")
        assert kinds(converted) == kinds(network) + collections.Counter(Cast=2)
        assert [node.op_type for node in (converted.graph.node[0], converted.graph.node[-1])] == ["Cast", "Cast"]
        inferred = onnx.shape_inference.infer_shapes(converted, check_type=True, strict_mode=True)
        types = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
        assert types == {TensorProto.FLOAT16}
        assert {value.dtype for value in tensors(converted).values() if value.dtype.kind == "f"} == {
            np.dtype(np.float16)
        }

    def test_weights_beneath_its_range_are_not_warned_of(self, operators):
        model = onnx.ModelProto()
        model.CopyFrom(operators[0])
        weight = numpy_helper.to_array(model.graph.initializer[0])
        model.graph.initializer[0].CopyFrom(
            numpy_helper.from_array(np.full_like(weight, 1e-9), model.graph.initializer[0].name)
        )
        onnx.checker.check_model(to_precision(model, "fp16"), full_check=True)


class TestInt8:
    @pytest.mark.parametrize("method", CALIBRATION_METHODS)
    def test_it_is_what_onnx_runtimes_quantiser_makes(self, network, method, tmp_path):
        from onnxruntime.quantization import CalibrationMethod

        named = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}[method]
        batches = images(1)
        expected = quantize_static(network, tmp_path, batches, calibrate_method=CalibrationMethod[named])
        assert_same_model(to_precision(network, "int8", calibration=batches, method=method), expected)

    def test_so_it_is_with_several_batches(self, network, tmp_path):
        batches = images(3)
        assert_same_model(
            to_precision(network, "int8", calibration=iter(batches)), quantize_static(network, tmp_path, batches)
        )

    def test_and_symmetric(self, network, tmp_path):
        from onnxruntime.quantization import QuantType

        batches = images(2)
        expected = quantize_static(
            network,
            tmp_path,
            batches,
            activation_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv", "ConvTranspose", "Gemm", "MatMul"],
            },
        )
        assert_same_model(to_precision(network, "int8", calibration=batches, symmetric=True), expected)

    def test_and_with_channels_that_are_dead_or_all_bias(self, operators, tmp_path):
        """Folded batch norm makes them: scales must be neither nought nor too small for an int32 bias."""
        model = onnx.ModelProto()
        model.CopyFrom(operators[2])
        values = tensors(model)
        weight, bias = next(node for node in model.graph.node if node.op_type == "Conv").input[1:3]
        values[weight] = values[weight].copy()
        values[weight][0], values[weight][1] = 0, 1e-12
        for tensor in model.graph.initializer:
            if tensor.name == weight:
                tensor.CopyFrom(numpy_helper.from_array(values[weight], weight))
        batches = images(2, SHAPES[2])
        found = to_precision(model, "int8", calibration=batches)
        assert_same_model(found, quantize_static(model, tmp_path, batches))
        assert np.abs(values[bias][1]) > 0
        assert correlation(found, model, batches) > 0.97

    @pytest.mark.parametrize("more", INT8.values(), ids=INT8.keys())
    def test_weights_are_int8_with_a_scale_a_channel_and_no_zero_point(self, network, more):
        converted = to_precision(network, "int8", **more)
        found = tensors(converted)
        multiplied = [node for node in converted.graph.node if node.op_type in ("Conv", "Gemm")]
        assert len(multiplied) == sum(kinds(network)[kind] for kind in ("Conv", "Gemm"))
        for node in multiplied:
            dequantize = producer(converted, node.input[1])
            weight, scale, zero_point = (found[name] for name in dequantize.input)
            assert (dequantize.op_type, weight.dtype, scale.shape) == ("DequantizeLinear", np.int8, (len(weight),))
            assert not zero_point.any()
            assert np.abs(weight).max() == 127
            assert producer(converted, node.input[0]).op_type == "DequantizeLinear"

    def test_the_joints_of_a_chain_have_one_pair(self, operators):
        def doubled(model):
            quantized = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
            makers = (producer(model, name) for name in quantized)
            again = sum(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)
            return again + len(quantized) - len(set(quantized))

        assert doubled(to_precision(chain_models(operators), "int8")) == 0
        assert doubled(chain_models([to_precision(part, "int8") for part in operators])) > 0

    def test_symmetric_is_what_tensorrt_takes(self, network):
        """No zero points, no int32, an activation right behind its convolution."""
        converted = to_precision(network, "int8", symmetric=True)
        found = tensors(converted)
        pairs = [node for node in converted.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert {found[node.input[2]].dtype for node in pairs} == {np.dtype(np.int8)}
        assert not any(found[node.input[2]].any() for node in pairs)
        assert kinds(converted)["Relu"] == kinds(network)["Relu"] > 0
        activations = [node for node in converted.graph.node if node.op_type in ("Relu", "HardSwish")]
        assert {producer(converted, node.input[0]).op_type for node in activations} <= {"Conv", "Gemm"}

    def test_a_relu_vanishes_into_the_range_of_uint8(self, network):
        converted = to_precision(network, "int8")
        assert kinds(converted)["Relu"] == 0 < kinds(network)["Relu"]
        assert {
            tensors(converted)[node.input[2]].dtype.name
            for node in converted.graph.node
            if node.op_type == "QuantizeLinear"
        } == {"uint8"}

    def test_onnx_runtime_runs_it_by_its_int8_kernels(self, network, tmp_path):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4  # or else it warns that such a file is for this machine alone
        model = to_precision(network, "int8").SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        assert session.run(None, {"input": images(1)[0]})[0].shape == (1, 10)
        fused, floats = kinds(onnx.load(tmp_path / "optimized.onnx")), kinds(network)
        assert [fused[kind] for kind in ("QLinearConv", "QGemm", "QLinearAdd")] == [
            floats[kind] for kind in ("Conv", "Gemm", "Add")
        ]
        assert fused["Conv"] == fused["Gemm"] == 0

    def test_excluded_nodes_stay_float(self, network):
        gemms = [node.name for node in network.graph.node if node.op_type == "Gemm"]
        converted = to_precision(network, "int8", exclude=gemms)
        found = tensors(converted)
        assert len(gemms) == 2
        for node in converted.graph.node:
            if node.op_type == "Gemm":
                assert found[node.input[1]].dtype == np.float32
        assert producer(converted, next(n for n in converted.graph.node if n.op_type == "Conv").input[1]) is not None
        onnx.checker.check_model(converted, full_check=True)

    @pytest.mark.parametrize("more", INT8.values(), ids=INT8.keys())
    def test_what_comes_into_excluded_nodes_is_not_rounded(self, classifier, coloured, more):
        """Or else a layer whose input int8 cannot tell apart would be no better for being float."""
        spoilt, given = classifier(batch="batch", spoilt=1000.0), coloured(64)
        found = to_precision(spoilt, "int8", calibration=[given], exclude=["depthwise/Conv"], **more)
        onnx.checker.check_model(found, full_check=True)
        [node] = [node for node in found.graph.node if node.name == "depthwise/Conv"]
        assert producer(found, node.input[0]).op_type == "Relu"
        read = {name for node in found.graph.node for name in node.input}
        assert all((read | {"logits"}) & {*node.output} for node in found.graph.node), "nothing is left unread"
        expected = run_onnx(spoilt, given)
        everywhere = run_onnx(to_precision(spoilt, "int8", calibration=[given], **more), given)
        apart, apart_everywhere = (np.abs(one - expected).mean() for one in (run_onnx(found, given), everywhere))
        assert apart < 0.1 * apart_everywhere

    def test_ranges_are_those_of_the_images(self, network):
        small, large = (
            tensors(to_precision(network, "int8", calibration=[factor * image for image in images(2)]))
            for factor in (1, 4)
        )
        assert large["input_scale"] == pytest.approx(4 * small["input_scale"])
        with_calibration = to_precision(network, "int8", calibration=images(4))
        assert correlation(with_calibration, network, images(4)) > 0.98

    @pytest.mark.parametrize("method", ["percentile", "entropy"])
    def test_histograms_cut_off_an_outlier(self, operators, method):
        batches = images(40)
        batches[-1][0, 0, 0, 0] = 100
        scales = {
            way: tensors(to_precision(operators[0], "int8", calibration=batches, method=way))["input_scale"]
            for way in ("minmax", method)
        }
        assert scales["minmax"] > 100 / 255
        assert scales[method] < scales["minmax"] / 4

    def test_what_has_nothing_to_quantise_stays_as_it_is(self):
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("input", "output")]
        graph = helper.make_graph(
            [helper.make_node("HardSwish", ["input"], ["output"], "act")], "g", ends[:1], ends[1:]
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        assert list(to_precision(model, "int8").graph.node) == list(graph.node)


class TestBadInput:
    def test_fp32_is_the_model(self, network):
        assert to_precision(network, "fp32") is network
        assert PRECISIONS == ("fp32", "fp16", "int8")

    def test_a_precision_that_does_not_exist(self, network):
        with pytest.raises(UnknownNameError, match=r"^precision 'fp8' does not exist\. Did you mean"):
            to_precision(network, "fp8")

    def test_a_method_that_does_not_exist(self, network):
        with pytest.raises(UnknownNameError, match="Did you mean 'minmax'"):
            to_precision(network, "int8", method="min-max")

    def test_a_node_that_does_not_exist(self, network):
        with pytest.raises(UnknownNameError, match=r"^node 'gemm' does not exist\."):
            to_precision(network, "int8", exclude=["gemm"])

    @pytest.mark.parametrize(
        ("calibration", "sentence"),
        [
            ([], "calibration must have at least one batch of images, but none came."),
            ([np.zeros((3, 32, 32))], "calibration must be arrays of 1x3x32x32, but 3x32x32 came."),
            ([*images(1), np.zeros((2, 3, 32, 32))], "calibration must be arrays of 1x3x32x32, but 2x3x32x32 came."),
        ],
    )
    def test_images_that_cannot_be_used(self, network, calibration, sentence):
        with pytest.raises(SettingsError) as caught:
            to_precision(network, "int8", calibration=calibration)
        assert str(caught.value) == sentence

    @pytest.mark.parametrize("method", CALIBRATION_METHODS)
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_activations_that_are_not_finite(self, network, method, value):
        with pytest.raises(
            ExportError, match=r"^Tensor 'input' must be finite on all calibration images, but it is not"
        ):
            to_precision(network, "int8", calibration=[np.full((1, *SHAPES[0]), value)], method=method)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_openvino_gives_the_same(network, settings):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    converted = to_precision(network, **settings)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(converted.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    batches = images(8)
    found = np.concatenate([next(iter(compiled(x_BCHW).values())) for x_BCHW in batches])
    expected = outputs(converted, batches)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("settings", [SETTINGS["fp16"], SETTINGS["symmetric"]], ids=["fp16", "symmetric"])
def test_tensorrt_rtx_parses_it_strongly_typed(network, settings):
    tensorrt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    parsed = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(parsed, log)
    assert parser.parse(to_precision(network, **settings).SerializeToString()), str(parser.get_error(0))
