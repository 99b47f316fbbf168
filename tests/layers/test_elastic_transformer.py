"""Each elastic layer equals a plain one that holds the sliced weights."""

import copy
import itertools

import pytest
import torch
from torch import nn

from hwnas.layers import (
    Elastic,
    ElasticPatchEmbed,
    ElasticTransformerBlock,
    ElasticTransformerHead,
    Sortable,
    TransformerBlock,
    TransformerHead,
)

EMBEDS, HEADS, MLPS, HEAD_DIM, TOKENS = (8, 12), (1, 2, 3), (10, 16), 4, 6
CASES = list(itertools.product(EMBEDS, HEADS, MLPS))


def randomized(layer):
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.double().eval()


def elastic():
    return randomized(ElasticTransformerBlock(max(EMBEDS), num_heads=max(HEADS), head_dim=HEAD_DIM, mlp_dim=max(MLPS)))


def attributes(embed, heads, mlp):
    return {"embed_dim": embed, "num_heads": heads, "head_dim": HEAD_DIM, "mlp_dim": mlp}


def tokens(embed):
    return torch.randn(3, TOKENS, embed, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def sliced(largest, embed, heads, mlp):
    """The state of the narrow block by the rule: first features, first heads each with its query, key and value."""
    rows = [
        part * max(HEADS) * HEAD_DIM + head * HEAD_DIM + feature
        for part in range(3)
        for head in range(heads)
        for feature in range(HEAD_DIM)
    ]
    inner = heads * HEAD_DIM
    state = largest.state_dict()
    sizes = {
        "norm1": (embed,),
        "project": (embed, inner),
        "norm2": (embed,),
        "expand": (mlp, embed),
        "reduce": (embed, mlp),
    }
    found = {"qkv.weight": state["qkv.weight"][rows][:, :embed], "qkv.bias": state["qkv.bias"][rows]}
    for name, size in sizes.items():
        found[f"{name}.weight"] = state[f"{name}.weight"][tuple(slice(one) for one in size)]
        found[f"{name}.bias"] = state[f"{name}.bias"][: size[0]]
    return found


@pytest.mark.parametrize(("embed", "heads", "mlp"), CASES)
def test_a_block_equals_a_plain_one_with_the_sliced_weights(embed, heads, mlp):
    layer = elastic()
    plain = TransformerBlock(embed, num_heads=heads, head_dim=HEAD_DIM, mlp_dim=mlp).double()
    plain.load_state_dict(sliced(layer.largest, embed, heads, mlp))
    layer.activate(attributes(embed, heads, mlp))
    x = tokens(embed)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-12, atol=1e-12)
    taken = layer.extract(attributes(embed, heads, mlp))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in taken.state_dict().items())
    assert repr(taken) == repr(plain)


def test_gradients_reach_exactly_the_active_slice():
    layer = elastic()
    given = attributes(8, 2, 10)
    plain = layer.extract(given)
    layer.activate(given)
    layer(tokens(8)).square().sum().backward()
    plain(tokens(8)).square().sum().backward()
    numbered = copy.deepcopy(layer.largest)
    with torch.no_grad():
        for parameter in numbered.parameters():
            parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape))
    places = sliced(numbered, 8, 2, 10)
    for name, parameter in layer.largest.named_parameters():
        expected = torch.zeros(parameter.numel(), dtype=torch.double)
        expected[places[name].long().flatten()] = plain.get_parameter(name).grad.flatten()
        torch.testing.assert_close(parameter.grad, expected.view(parameter.shape), rtol=1e-9, atol=1e-12, msg=name)


def test_each_choice_gives_another_output():
    layer = elastic()
    for embed in EMBEDS:
        outputs = []
        for heads, mlp in itertools.product(HEADS, MLPS):
            layer.activate(attributes(embed, heads, mlp))
            outputs.append(layer(tokens(embed)))
        for one, other in itertools.combinations(outputs, 2):
            assert (one - other).abs().max() > 1e-3


def test_sorting_keeps_the_largest_function_and_puts_the_important_first():
    layer = elastic()
    assert isinstance(layer, Sortable)
    narrow = attributes(12, 2, 10)
    before = layer(tokens(12))
    layer.activate(narrow)
    narrow_before = layer(tokens(12))
    layer.sort_channels()
    assert not torch.allclose(layer(tokens(12)), narrow_before)
    layer.activate(attributes(12, 3, 16))
    torch.testing.assert_close(layer(tokens(12)), before)
    hidden = layer.largest.reduce.weight.abs().sum(0)
    heads = layer.largest.project.weight.abs().sum(0).view(-1, HEAD_DIM).sum(1)
    for importance in (hidden, heads):
        assert torch.equal(importance, importance.sort(descending=True).values)


@pytest.mark.parametrize("embed", EMBEDS)
def test_patches_are_the_first_features_of_the_widest(embed):
    layer = randomized(ElasticPatchEmbed(2, embed_dim=max(EMBEDS), patch_size=2, num_patches=TOKENS))
    x = torch.randn(3, 2, 4, 6, dtype=torch.double)
    widest = layer(x)
    given = {"embed_dim": embed, "patch_size": 2, "num_patches": TOKENS}
    layer.activate(given)
    torch.testing.assert_close(layer(x), widest[..., :embed])
    torch.testing.assert_close(layer.extract(given)(x), widest[..., :embed])


@pytest.mark.parametrize("embed", EMBEDS)
def test_a_head_equals_a_plain_one_with_the_sliced_weights(embed):
    layer = randomized(ElasticTransformerHead(max(EMBEDS), num_classes=5))
    plain = TransformerHead(embed, num_classes=5).double()
    state = layer.largest.state_dict()
    narrow = {name: state[name][..., :embed] for name in ("norm.weight", "norm.bias", "logits.weight")}
    plain.load_state_dict({**narrow, "logits.bias": state["logits.bias"]})
    given = {"embed_dim": embed, "num_classes": 5}
    layer.activate(given)
    torch.testing.assert_close(layer(tokens(embed)), plain(tokens(embed)))
    torch.testing.assert_close(layer.extract(given)(tokens(embed)), plain(tokens(embed)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_extracted_is_its_own_in_precision_mode_and_weights(dtype):
    layers = [
        (ElasticPatchEmbed(1, embed_dim=12, patch_size=2, num_patches=4), {"embed_dim": 8}),
        (ElasticTransformerBlock(12, num_heads=3, head_dim=4, mlp_dim=16), attributes(8, 2, 10)),
        (ElasticTransformerHead(12, num_classes=3), {"embed_dim": 8}),
    ]
    for layer, given in layers:
        assert isinstance(layer, Elastic)
        layer.to(dtype)
        before = copy.deepcopy(layer.state_dict())
        for training in (True, False):
            taken = layer.train(training).extract(given)
            assert {parameter.dtype for parameter in taken.parameters()} == {dtype}
            assert all(part.training == training for part in taken.modules())
            assert all(parameter.requires_grad for parameter in taken.parameters())
            assert not isinstance(taken, Elastic)
            with torch.no_grad():
                for parameter in taken.parameters():
                    parameter.zero_()
        assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
