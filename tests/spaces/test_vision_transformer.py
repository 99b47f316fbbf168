"""What is particular to vision_transformer, against AutoFormer's published space (Chen et al., ICCV 2021)."""

import math
from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from hwnas.errors import SettingsError, SpaceError
from hwnas.exporters import export_onnx, to_precision
from hwnas.layers import set_drop_path
from hwnas.objectives import macs, parameters
from hwnas.spaces import VisionTransformer, make_space


@pytest.fixture(scope="module")
def imagenet():
    return VisionTransformer()


@pytest.fixture(scope="module")
def digits():
    return VisionTransformer((1, 8, 8), 10, embed_dim=24, depth=3, num_heads=2, head_dim=8)


def by_hand(width, depth, heads, ratio, *, tokens=196, classes=1000):
    """MACs and parameters at 3x224x224 with patches of 16 pixels, without class token and relative positions."""
    inner, hidden, pixels = heads * 64, int(width * ratio), 3 * 16 * 16
    weights = width * 3 * inner + inner * width + 2 * width * hidden
    biases = 3 * inner + width + hidden + width
    block = weights + biases + 4 * width
    total = width * pixels + width + tokens * width + depth * block + 2 * width + width * classes + classes
    multiplied = tokens * width * pixels + depth * (tokens * weights + 2 * tokens**2 * inner) + width * classes
    return multiplied, total


@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_costs_are_those_of_the_formulas(imagenet, size):
    architecture = imagenet.smallest() if size == "smallest" else imagenet.largest()
    expected = by_hand(192, 12, 3, 3.5) if size == "smallest" else by_hand(240, 14, 4, 4)
    found = (macs(imagenet).evaluate([architecture])[0], parameters(imagenet).evaluate([architecture])[0])
    assert found == expected


def test_autoformer_tiny_lies_within(imagenet):
    """5.7 million parameters and 1.3 billion multiply-accumulates."""
    both = [imagenet.smallest(), imagenet.largest()]
    low, high = parameters(imagenet).evaluate(both)
    assert low < 5.7e6 < high
    low, high = macs(imagenet).evaluate(both)
    assert low < 1.3e9 < high


def test_variables_are_those_of_autoformer_tiny(imagenet):
    options = {variable.name: variable.options for variable in imagenet.variables}
    assert options["embed_dim"] == (192, 216, 240)
    assert options["depth"] == (12, 13, 14)
    assert len(options) == 2 + 2 * 14
    assert {options[f"block{number}.num_heads"] for number in range(1, 15)} == {(3, 4)}
    assert {options[f"block{number}.mlp_ratio"] for number in range(1, 15)} == {("3.5", "4")}


def test_each_embedding_has_four_blocks(imagenet):
    kinds = Counter(operator.kind for operator in imagenet.all_operators())
    assert kinds == {"patch_embed": 3, "transformer_block": 12, "transformer_head": 3}


def test_every_operator_reads_the_embedding(imagenet):
    for architecture in imagenet.architectures(imagenet.sample_choices(20, rng=np.random.default_rng(0))):
        width = imagenet.variables[0].options[architecture.choices[0]]
        operators = imagenet.operators(architecture)
        assert len(operators) == 2 + imagenet.variables[1].options[architecture.choices[1]]
        assert {operator.attributes["embed_dim"] for operator in operators} == {width}
        assert {operator.input_shape for operator in operators[1:]} == {(196, width)}


def test_it_is_described_block_by_block(digits):
    assert digits.describe(digits.smallest()) == "d8 | h1r3.5"
    assert digits.describe(digits.largest()) == "d24 | h2r4 h2r4 h2r4"


@pytest.mark.parametrize(
    ("shape", "patch_size"),
    [
        ((3, 224, 224), 16),
        ((3, 160, 160), 16),
        ((3, 96, 96), 12),
        ((3, 64, 64), 8),
        ((3, 32, 32), 4),
        ((3, 32, 64), 4),
        ((1, 28, 28), 4),
        ((1, 8, 8), 2),
        ((1, 7, 7), 1),
        ((1, 4, 4), 2),
        ((3, 4, 1024), 2),
        ((3, 512, 512), 16),
    ],
)
def test_the_patch_size_suits_the_image(shape, patch_size):
    space = VisionTransformer(shape, 10)
    assert space.options["patch_size"] == space.patch_size == patch_size
    patches = math.prod(shape[1:]) // patch_size**2
    assert space.counts[space.all_operators()[0]].output_shape == (patches, 192)


def test_options_reach_the_space():
    options = {"embed_dim": 80.0, "depth": 4, "num_heads": 2, "head_dim": 32, "patch_size": 8}
    space = make_space("vision_transformer", input_shape=(3, 32, 32), num_classes=7, options=options)
    assert space.options == options
    assert all(type(value) is int for value in space.options.values())
    assert [variable.options for variable in space.variables[:4]] == [(64, 72, 80), (2, 3, 4), (1, 2), ("3.5", "4")]
    again = make_space("vision_transformer", input_shape=(3, 32, 32), num_classes=7, options=space.options)
    assert again.all_operators() == space.all_operators()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("embed_dim", 16, "a multiple of 8 from 24 to 4096, but 16 came"),
        ("embed_dim", 100, "a multiple of 8"),
        ("depth", 2, "a whole number from 3 to 64, but 2 came"),
        ("depth", 3.5, "a whole number"),
        ("num_heads", 1, "from 2 to 64"),
        ("num_heads", math.nan, "a whole number"),
        ("head_dim", 4, "from 8 to 256"),
        (
            "patch_size",
            5,
            "must cut images of 32x32 into 2 to 4096 whole patches, but 5 came. Set patch_size to one of 1, 2, 4, 8, 16.",
        ),
        ("patch_size", 32, "whole patches, but 32 came"),
        ("patch_size", -4, "whole patches"),
        ("patch_size", 2.5, "whole patches"),
        ("patch_size", math.nan, "whole patches"),
    ],
)
def test_an_option_out_of_range_is_refused(option, value, said):
    with pytest.raises(SettingsError, match=f"{option} of vision_transformer") as caught:
        make_space("vision_transformer", input_shape=(3, 32, 32), num_classes=10, options={option: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "size", "patches", "allowed"),
    [((3, 33, 47), 1, 1551, "1"), ((3, 61, 61), 1, 3721, "1"), ((3, 640, 640), 16, 1600, "10, 16, 20, 32, 40, 64")],
)
def test_many_patches_come_only_where_they_are_asked_for(shape, size, patches, allowed):
    with pytest.raises(SettingsError, match="patch_size of vision_transformer must cut images of") as caught:
        VisionTransformer(shape, 10)
    assert "into 2 to 1024 whole patches" in str(caught.value)
    assert f"but the size that suits them, {size}, gives {patches}. Set patch_size to one of {allowed}" in str(
        caught.value
    )
    space = VisionTransformer(shape, 10, patch_size=size)
    assert space.operators(space.smallest())[0].attributes["num_patches"] == patches


@pytest.mark.parametrize("shape", [(3, 97, 89), (3, 224, 222)])
def test_images_that_no_patch_suits_are_refused(shape):
    with pytest.raises(SettingsError, match=r"Give images whose sides share a divisor, such as 64x64 \(image_size\)"):
        VisionTransformer(shape, 10)


def test_depth_leaves_the_last_blocks_out(digits):
    torch.manual_seed(0)
    supernet = digits.supernet().eval()
    shallow = digits.architecture([2, 0, *[1] * 6])
    x = torch.randn(2, 1, 8, 8)
    patches, first, _, _, head = supernet.slots
    supernet.activate(shallow)
    assert torch.equal(supernet(x), head(first(patches(x))))


def test_drop_path_rises_through_supernet_and_networks(digits):
    supernet = digits.supernet()
    set_drop_path(supernet, 0.4)
    taken = supernet.subnet(digits.largest())
    assert [block.drop_path for block in taken[1:-1]] == pytest.approx([0, 0.2, 0.4])
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(taken.eval()(x), taken(x))


def test_embeddings_cannot_be_mixed_and_it_says_so(digits):
    weights = [torch.full((len(variable.options),), 1 / len(variable.options)) for variable in digits.variables]
    supernet = digits.supernet()
    supernet.mix(weights)
    with pytest.raises(SpaceError, match="which embed_dim decide must give outputs of one shape"):
        supernet(torch.randn(1, 1, 8, 8))
    weights[0] = torch.tensor([0.0, 0.0, 1.0])
    supernet.mix(weights)
    assert supernet(torch.randn(1, 1, 8, 8)).shape == (1, 10)


def test_its_expected_cost_is_the_mean_over_architectures(digits):
    cost = torch.tensor([digits.counts[one].macs for one in digits.all_operators()], dtype=torch.double)
    for architecture in (digits.smallest(), digits.largest(), digits.sample(np.random.default_rng(0))):
        chosen = zip(architecture.choices, digits.num_options_V, strict=True)
        weights = [torch.eye(int(count), dtype=torch.double)[choice] for choice, count in chosen]
        assert digits.expected_cost(weights, cost).item() == macs(digits).evaluate([architecture])[0]


@pytest.fixture(scope="module")
def exported():
    """A network and its model."""
    space = VisionTransformer((1, 8, 8), 10, embed_dim=48, depth=3, num_heads=2, head_dim=16)
    torch.manual_seed(0)
    network = space.build(space.largest()).eval()
    return network, export_onnx(network, (1, 8, 8))


@pytest.mark.parametrize(
    ("precision", "symmetric", "tolerance"), [("fp16", False, 0.01), ("int8", False, 0.15), ("int8", True, 0.15)]
)
def test_a_network_runs_in_other_precisions(exported, precision, symmetric, tolerance):
    """With matrix products in int8 where it is asked for, and close to what it gives in float."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network, plain = exported
    model = to_precision(plain, precision, symmetric=symmetric)
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)  # what int8 was calibrated on
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": x})
    expected = network(torch.as_tensor(x)).detach().numpy()
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    if precision == "int8":
        int8 = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
        read = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        weights = [read.get(node.input[1]) for node in products]
        assert len(int8 & {*weights}) == 1 + 4 * 3 + 1, "patches, four linear layers a block, logits"
        assert None not in weights, "in attention both factors are quantised too"
