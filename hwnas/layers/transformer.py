"""The fixed layers of a vision transformer (Dosovitskiy et al., ICLR 2021): patches, blocks, head.

They are written for what runs them afterwards. Patches are cut by a strided convolution. LayerNorm and GELU stay whole
operators of ONNX, which quantised graphs compute in float. There is no class token: the head averages the patches instead,
as AutoFormer's does (Chen et al., ICCV 2021). A class token would have to be concatenated, which copies every activation
and makes int8 share one range between unlike tensors.

Shapes: B batch, C channels, H height, W width, T tokens, D embedding, E three times heads x head_dim, A heads x head_dim,
K classes.
"""

from typing import Final

import torch
from torch import Tensor, nn

__all__ = [
    "PatchEmbed",
    "TransformerBlock",
    "TransformerHead",
    "attend",
    "drop_residual",
    "mean_token",
    "set_drop_path",
]

POSITION_STD: Final = 0.5
"""Of positions at the start: about that of a patch's features, so that both show behind the first LayerNorm.

Without a class token a network that cannot tell positions apart sees a bag of patches. At the usual 0.02 they take long to
grow: with 8x8 digits (as below, 1,079 images moved by up to a pixel, AdamW at 0.001) the loss after 10 epochs was 1.88
at 0.02, 1.53 at 0.2, 1.23 at 0.5 and 1.34 at 1.
"""

LOGITS_STD: Final = 0.02
"""Of the logits' weights; other linear layers start as Dosovitskiy et al.'s (Glorot & Bengio, AISTATS 2010).

AutoFormer draws all weights at 0.02, which is too small for small embeddings: on 8x8 digits (embedding 80, four blocks,
1,300 images, 10 epochs, one seed) AdamW at 0.001 reached 62 % with it and 76 % with Glorot's, SGD at 0.1 46 % and 74 %.
"""


class PatchEmbed(nn.Module):
    """Square patches of an image as tokens, each with a learned position.

    Args:
        in_channels: channels of the image.
        embed_dim: features of a token.
        patch_size: side of a patch in pixels, which divides the image's sides.
        num_patches: patches of the image.
    """

    def __init__(self, in_channels: int, *, embed_dim: int, patch_size: int, num_patches: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)
        self.position = nn.Parameter(torch.empty(num_patches, embed_dim))
        nn.init.normal_(self.position, std=POSITION_STD)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_patches, embed_dim)."""
        patches_BDHW: Tensor = self.project(x_BCHW)
        return patches_BDHW.flatten(2).transpose(1, 2) + self.position


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron with GELU, each behind a LayerNorm and beside a skip connection.

    Args:
        embed_dim: features of a token.
        num_heads: attention heads.
        head_dim: features of a head's queries, keys and values; attention is scaled by its square root.
        mlp_dim: hidden features of the perceptron.

    Attributes:
        drop_path: the probability, in training, that an image skips the attention, and that it skips the perceptron
            (stochastic depth, Huang et al., ECCV 2016); see `set_drop_path`.
    """

    def __init__(self, embed_dim: int, *, num_heads: int, head_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.drop_path = 0.0
        self.norm1 = nn.LayerNorm(embed_dim)
        self.qkv = _linear(embed_dim, 3 * num_heads * head_dim)
        self.project = _linear(num_heads * head_dim, embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.expand = _linear(embed_dim, mlp_dim)
        self.reduce = _linear(mlp_dim, embed_dim)

    def extra_repr(self) -> str:
        """The number of heads, which no layer within shows."""
        return f"num_heads={self.num_heads}"

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, embed_dim) -> (B, T, embed_dim)."""
        rate = self.drop_path if self.training else 0.0
        attended_BTD = self.project(attend(self.qkv(self.norm1(x_BTD)), self.num_heads))
        x_BTD = x_BTD + drop_residual(attended_BTD, rate)
        hidden_BTD = self.reduce(nn.functional.gelu(self.expand(self.norm2(x_BTD))))
        return x_BTD + drop_residual(hidden_BTD, rate)


class TransformerHead(nn.Module):
    """LayerNorm, the mean over all tokens, logits.

    Args:
        embed_dim: features of a token.
        num_classes: number of logits.
    """

    def __init__(self, embed_dim: int, *, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.logits = _linear(embed_dim, num_classes)
        nn.init.trunc_normal_(self.logits.weight, std=LOGITS_STD)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, embed_dim) -> logits (B, num_classes)."""
        logits_BK: Tensor = self.logits(mean_token(self.norm(x_BTD)))
        return logits_BK


def attend(qkv_BTE: Tensor, num_heads: int) -> Tensor:
    """Scaled dot-product attention (Vaswani et al., NeurIPS 2017), (B, T, E) -> (B, T, A).

    Where a graph is written down (export, counting) it is spelt out as matrix products, which every runtime and counter
    knows; elsewhere torch's fused kernel does the same without keeping the T x T weights. No tensor has more than four
    dimensions, since ncnn knows no more.

    Args:
        qkv_BTE: queries, keys and values one after the other, each head after head.
        num_heads: attention heads.
    """
    batch, tokens, features = qkv_BTE.shape
    inner = features // 3
    head_dim = inner // num_heads
    q, k, v = (part.reshape(batch, tokens, num_heads, head_dim).transpose(1, 2) for part in qkv_BTE.chunk(3, 2))
    attended: Tensor
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        attended = ((q * head_dim**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
    else:
        attended = nn.functional.scaled_dot_product_attention(q, k, v)
    return attended.transpose(1, 2).reshape(batch, tokens, inner)


def mean_token(x_BTD: Tensor) -> Tensor:
    """The mean over all tokens, (B, T, D) -> (B, D).

    It is written as the global average of an image T pixels high, which all runtimes know: ncnn takes the mean over the
    tokens alone for one over the batch.
    """
    return x_BTD.transpose(1, 2).unsqueeze(3).mean((2, 3))


def drop_residual(y_BTD: Tensor, rate: float) -> Tensor:
    """`y_BTD` with images zeroed at probability `rate`, the others scaled so that the mean stays the same."""
    if rate == 0:
        return y_BTD
    kept_B11 = y_BTD.new_empty(len(y_BTD), 1, 1).bernoulli_(1 - rate)
    return y_BTD * (kept_B11 / (1 - rate))


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Gives the transformer blocks in `network`, a supernet too, a drop path that rises from 0 to `rate` with depth.

    Raises:
        ValueError: `rate` is not from 0 to below 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the rate of a drop path must be from 0 to below 1, but {rate} came")
    blocks = [layer for layer in network.modules() if isinstance(layer, TransformerBlock)]
    for index, block in enumerate(blocks):
        block.drop_path = rate * index / max(1, len(blocks) - 1)


def _linear(in_features: int, out_features: int) -> nn.Linear:
    layer = nn.Linear(in_features, out_features)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
