from collections import OrderedDict

import onnx
import pytest
import torch
from torch import nn

from hwnas.exporters import export_many, export_onnx
from hwnas.layers import Classifier, ConvBNAct, MBConv, TransformerBlock
from hwnas.layers.transformer import PatchEmbed, TransformerHead


def seasoned(module, *, seed=0):
    """With no two parameters alike, as after training: the exporter shares tensors that are equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module.eval()


@pytest.fixture(scope="module")
def network():
    return seasoned(
        nn.Sequential(
            OrderedDict(
                stem=ConvBNAct(3, 8, kernel_size=3, activation="hard_swish"),
                block=MBConv(8, 8, mid_channels=16, kernel_size=3, se_channels=8),
                head=Classifier(8, num_classes=3, last_channels=8, hidden_features=8),
            )
        )
    )


@pytest.fixture(scope="module")
def transformer():
    return seasoned(
        nn.Sequential(
            PatchEmbed(3, embed_dim=8, patch_size=2, num_patches=9),
            TransformerBlock(8, num_heads=2, head_dim=4, mlp_dim=12),
            TransformerHead(8, num_classes=3),
        )
    )


@pytest.fixture(scope="module")
def exported(network):
    return export_onnx(network, (3, 6, 6)).graph


def names_of(graph):
    return {node.name for node in graph.node}, {tensor.name for tensor in graph.initializer}


def test_nodes_are_called_after_their_modules(exported):
    nodes, _ = names_of(exported)
    assert {
        "stem.conv/Conv",
        "stem.act/HardSwish",
        "block.depthwise.conv/Conv",
        "block.squeeze_excite/ReduceMean",
        "block.squeeze_excite.reduce/Conv",
        "block/Add",
        "head.logits/Gemm",
    } <= nodes
    assert all("node_" not in name and "val_" not in name for name in nodes)


def test_weights_are_called_as_in_torch_and_folded_norms_are_their_biases(exported, network):
    _, weights = names_of(exported)
    convolutions = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert convolutions <= weights
    assert {name.replace("weight", "bias") for name in convolutions} <= weights
    assert not any(".bn." in name or "weight_bias" in name for name in weights)


def test_a_tensor_is_called_after_the_node_that_makes_it(exported):
    for node in exported.node[:-1]:
        assert list(node.output) == [node.name]
    assert [value.name for value in (*exported.input, *exported.output)] == ["input", "logits"]
    tensors = {name for node in exported.node for name in node.output} | names_of(exported)[1]
    assert {value.name for value in exported.value_info} <= tensors


def test_constants_are_called_after_what_they_are(exported):
    _, weights = names_of(exported)
    assert "axes" in weights, "both means read it"
    [add] = [node for node in exported.node if node.name == "block/Add"]
    assert list(add.input) == ["stem.act/HardSwish", "block.project.conv/Conv"]


def test_a_transformer(transformer):
    model = export_onnx(transformer, (3, 6, 6))
    onnx.checker.check_model(model, full_check=True)
    nodes, weights = names_of(model.graph)
    assert {"0.project/Conv", "1.norm1/LayerNormalization", "1.qkv/MatMul", "1/Softmax", "2.logits/Gemm"} <= nodes
    assert {"0.position", "1.qkv.weight_transposed", "1.qkv.bias", "1.norm2.weight", "2.logits.weight"} <= weights
    [split] = [node for node in model.graph.node if node.op_type == "Split"]
    assert list(split.output) == [split.name, f"{split.name}:1", f"{split.name}:2"]


def test_modules_of_one_export_have_names_of_their_own(network):
    other = seasoned(MBConv(8, 8, mid_channels=16, kernel_size=3, se_channels=8), seed=1)
    first, second = export_many([network.block, other], [(8, 6, 6), (8, 6, 6)])
    assert names_of(first.graph) == names_of(second.graph)
    nodes, weights = names_of(first.graph)
    assert {"depthwise.conv/Conv", "squeeze_excite/Mul", "Add"} <= nodes
    assert {"expand.conv.weight", "expand.conv.bias", "squeeze_excite.reduce.bias"} <= weights


def test_the_same_network_has_the_same_names(network, exported):
    assert export_onnx(network, (3, 6, 6)).graph == exported
