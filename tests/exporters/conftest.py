"""A small classifier as an ONNX graph made by hand, which needs no export."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CHANNELS, CLASSES = 8, 5
MEAN_LOGITS = [-5.2, 0.4, 1.6, -11.8, -10.5]
"""On `coloured` images; without them all would be of one class."""


def classifier(shape=(3, 8, 8), *, batch=1, spoilt=1.0, opset=20):
    """Convolution, depthwise convolution, mean, logits. One channel between the convolutions is `spoilt` times as large,
    which the second undoes: the function is the same, but the channel takes all of the int8 range.
    """
    rng = np.random.default_rng(0)
    weights = {
        "first.weight": rng.standard_normal((CHANNELS, shape[0], 3, 3)) / 3,
        "first.bias": rng.standard_normal(CHANNELS),
        "depthwise.weight": rng.standard_normal((CHANNELS, 1, 3, 3)),
        "depthwise.bias": rng.standard_normal(CHANNELS),
        "logits.weight": rng.standard_normal((CLASSES, CHANNELS)),
        "logits.bias": rng.standard_normal(CLASSES) - MEAN_LOGITS,
    }
    weights["first.weight"][0] *= spoilt
    weights["first.bias"][0] *= spoilt
    weights["depthwise.weight"][0] /= spoilt
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    nodes = [
        helper.make_node("Conv", ["input", "first.weight", "first.bias"], ["a"], "first/Conv", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "first/Relu"),
        helper.make_node(
            "Conv",
            ["b", "depthwise.weight", "depthwise.bias"],
            ["c"],
            "depthwise/Conv",
            pads=[1] * 4,
            group=CHANNELS,
        ),
        helper.make_node("Relu", ["c"], ["d"], "depthwise/Relu"),
        helper.make_node("ReduceMean", ["d", "axes"], ["e"], "ReduceMean", keepdims=0),
        helper.make_node("Gemm", ["e", "logits.weight", "logits.bias"], ["logits"], "logits/Gemm", transB=1),
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *shape]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES]),
    ]
    graph = helper.make_graph(nodes, "classifier", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    helper.set_model_props(model, {"task": "image classification"})
    return model


def coloured(count, *, seed=2):
    """Noise, each image of its own colour and contrast."""
    rng = np.random.default_rng(seed)
    colours, contrasts = rng.standard_normal((count, 3, 1, 1)), rng.uniform(0.5, 1.5, (count, 1, 1, 1))
    return (colours + contrasts * rng.standard_normal((count, 3, 8, 8))).astype(np.float32)


@pytest.fixture(name="classifier")
def classifier_fixture():
    return classifier


@pytest.fixture(name="coloured")
def coloured_fixture():
    return coloured
