import math

import pytest
import torch
from torch import nn

from hwnas.devices import find_runtime
from hwnas.exporters import export_many, export_onnx, save_onnx
from hwnas.layers import (
    ElasticTransformerBlock,
    PatchEmbed,
    TransformerBlock,
    TransformerHead,
    set_drop_path,
)
from hwnas.layers.transformer import attend, drop_residual

EMBED, HEADS, HEAD_DIM, MLP, TOKENS = 12, 3, 8, 20, 6


def block():
    torch.manual_seed(0)
    layer = TransformerBlock(EMBED, num_heads=HEADS, head_dim=HEAD_DIM, mlp_dim=MLP).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def tokens(batch=2):
    return torch.randn(batch, TOKENS, EMBED, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def attention_by_hand(qkv_BTE, heads):
    """One image, one head and one query at a time."""
    q, k, v = qkv_BTE.split(qkv_BTE.shape[-1] // 3, dim=-1)
    out = torch.zeros_like(q)
    size = q.shape[-1] // heads
    for image in range(len(q)):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for token in range(q.shape[1]):
                scores = [float(q[image, token, part] @ key[part]) / math.sqrt(size) for key in k[image]]
                weights = [math.exp(score - max(scores)) for score in scores]
                values = [weight * value[part] for weight, value in zip(weights, v[image], strict=True)]
                out[image, token, part] = sum(values) / sum(weights)
    return out


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_that_of_the_paper(heads):
    qkv = torch.randn(2, TOKENS, 3 * heads * HEAD_DIM, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(attend(qkv, heads), attention_by_hand(qkv, heads), rtol=1e-10, atol=1e-10)
    traced = torch.jit.trace(lambda x: attend(x, heads), qkv)
    assert "scaled_dot_product_attention" not in str(traced.graph)
    torch.testing.assert_close(traced(qkv), attend(qkv, heads), rtol=1e-5, atol=1e-6)  # a traced size is a float32


def test_a_block_agrees_with_torch_s_own_encoder_layer():
    """Where heads x head_dim is the embedding, which is all that torch's has."""
    torch.manual_seed(3)
    own = TransformerBlock(24, num_heads=3, head_dim=8, mlp_dim=20).eval()
    other = nn.TransformerEncoderLayer(24, 3, 20, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    state = {
        "self_attn.in_proj_weight": own.qkv.weight,
        "self_attn.in_proj_bias": own.qkv.bias,
        **{f"self_attn.out_proj.{name}": value for name, value in own.project.named_parameters()},
        **{f"linear1.{name}": value for name, value in own.expand.named_parameters()},
        **{f"linear2.{name}": value for name, value in own.reduce.named_parameters()},
        **{
            f"{norm}.{name}": value
            for norm in ("norm1", "norm2")
            for name, value in getattr(own, norm).named_parameters()
        },
    }
    other.load_state_dict(state)
    x = torch.randn(2, TOKENS, 24)
    torch.testing.assert_close(own(x), other.eval()(x), rtol=1e-4, atol=1e-5)


def test_patches_are_read_row_by_row():
    embed = PatchEmbed(2, embed_dim=3, patch_size=2, num_patches=6).double()
    nn.init.normal_(embed.position)
    x = torch.randn(2, 2, 4, 6, dtype=torch.double)
    found = embed(x)
    assert found.shape == (2, 6, 3)
    weight, bias = embed.project.weight, embed.project.bias
    for row in range(2):
        for column in range(3):
            patch = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected = torch.einsum("bchw,dchw->bd", patch, weight) + bias + embed.position[3 * row + column]
            torch.testing.assert_close(found[:, 3 * row + column], expected)


@pytest.mark.parametrize("patch_size", [2, 4, 16])
def test_positions_start_as_strong_as_patches(patch_size):
    """Else a new network sees a bag of patches."""
    torch.manual_seed(5)
    embed = PatchEmbed(3, embed_dim=192, patch_size=patch_size, num_patches=16)
    patches = embed(torch.randn(8, 3, 4 * patch_size, 4 * patch_size)) - embed.position
    assert 0.5 < (embed.position.std() / patches.std()).item() < 2


def test_the_head_does_not_hang_on_the_order_of_tokens():
    head = TransformerHead(EMBED, num_classes=5).double()
    x = tokens()
    assert head(x).shape == (2, 5)
    torch.testing.assert_close(head(x), head(x.flip(1)))
    torch.testing.assert_close(head(x), head.logits(torch.stack([head.norm(one).mean(0) for one in x])))


def test_layers_export_as_few_whole_operators():
    layers = [PatchEmbed(1, embed_dim=EMBED, patch_size=2, num_patches=TOKENS), block().float()]
    layers.append(TransformerHead(EMBED, num_classes=5))
    models = export_many(layers, [(1, 4, 6), (TOKENS, EMBED), (TOKENS, EMBED)])
    kinds = [[node.op_type for node in model.graph.node] for model in models]
    assert kinds[0].count("Conv") == 1
    assert [kinds[1].count(kind) for kind in ("LayerNormalization", "Gelu", "Softmax", "MatMul")] == [2, 1, 1, 6]
    assert not {"Erf", "Pow", "ReduceMean", "Sqrt", "Div", "Expand"} & set(kinds[1]), "nothing is spelt out"
    assert kinds[2][0] == "LayerNormalization"


class TestDropPath:
    def test_in_evaluation_and_at_rate_0_nothing_is_dropped(self):
        layer, x = block(), tokens()
        expected = layer(x)
        set_drop_path(nn.Sequential(block(), layer), 0.5)
        assert layer.drop_path == 0.5
        assert torch.equal(layer.eval()(x), expected)
        assert not torch.equal(layer.train()(x), expected)

    def test_it_drops_whole_images_and_keeps_the_mean(self):
        torch.manual_seed(4)
        y = torch.ones(4000, 2, 3)
        found = drop_residual(y, 0.25)
        assert found.unique().tolist() == [0.0, pytest.approx(4 / 3)]
        assert (found == found[:, :1, :1]).all()
        assert found.mean().item() == pytest.approx(1.0, abs=0.05)  # five standard deviations are 0.046

    def test_it_rises_with_depth(self):
        network = nn.Sequential(*(block() for _ in range(5)))
        set_drop_path(network, 0.2)
        assert [layer.drop_path for layer in network] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
        set_drop_path(network, 0)
        assert {layer.drop_path for layer in network} == {0}

    def test_elastic_blocks_have_it_and_hand_it_on(self):
        elastic = ElasticTransformerBlock(EMBED, num_heads=HEADS, head_dim=HEAD_DIM, mlp_dim=MLP).double()
        set_drop_path(nn.Sequential(block(), elastic), 0.9)
        taken = elastic.extract({"embed_dim": EMBED, "num_heads": HEADS, "mlp_dim": MLP})
        assert taken.drop_path == 0.9
        x = tokens(64)
        same = [(layer(x) == x).all((1, 2)).float().mean().item() for layer in (elastic, taken)]
        assert all(0.5 < share < 1 for share in same), "0.81 of the images skip both, on average"

    @pytest.mark.parametrize("rate", [-0.1, 1.0, math.nan])
    def test_a_rate_out_of_range_is_an_error(self, rate):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            set_drop_path(block(), rate)


def test_ncnn_runs_them(tmp_path):
    """It knows no more than four dimensions, and no mean over tokens alone."""
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    embed = PatchEmbed(2, embed_dim=EMBED, patch_size=2, num_patches=TOKENS)
    network = nn.Sequential(embed, block().float(), TransformerHead(EMBED, num_classes=5)).eval()
    x = torch.randn(1, 2, 4, 6)
    save_onnx(export_onnx(network, (2, 4, 6)), tmp_path / "network.onnx")
    (found,) = find_runtime("ncnn-cpu").load(tmp_path / "network.onnx", num_threads=1).run([x.numpy()])
    torch.testing.assert_close(torch.as_tensor(found), network(x).detach(), rtol=1e-4, atol=1e-4)
