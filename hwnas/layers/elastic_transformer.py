"""Layers of a vision transformer that hold many fixed ones in shared weights.

What is shared, as in AutoFormer (Chen et al., ICCV 2021: "weight entanglement"): the first features of the embedding, the
first heads with their queries, keys and values, the first hidden features of the perceptron.

Shapes: B batch, C channels, H height, W width, T tokens, D embedding, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hwnas.layers.transformer import PatchEmbed, TransformerBlock, TransformerHead, attend, drop_residual, mean_token

__all__ = ["ElasticPatchEmbed", "ElasticTransformerBlock", "ElasticTransformerHead"]

Shared = dict[str, tuple[Tensor, Tensor]]
"""For each layer within, by name, the parts of its weight and its bias that are in use."""


class ElasticPatchEmbed(nn.Module):
    """PatchEmbed with an elastic embedding.

    Args:
        in_channels: channels of the image.
        embed_dim: the largest number of features of a token.
        patch_size: side of a patch in pixels.
        num_patches: patches of the image.
    """

    def __init__(self, in_channels: int, *, embed_dim: int, patch_size: int, num_patches: int) -> None:
        super().__init__()
        self.largest = PatchEmbed(in_channels, embed_dim=embed_dim, patch_size=patch_size, num_patches=num_patches)
        self.active_embed = embed_dim

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `embed_dim` for `forward`."""
        self.active_embed = int(attributes["embed_dim"])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_patches, active embedding)."""
        project = self.largest.project
        y = nn.functional.conv2d(x_BCHW, *_first(project, self.active_embed), stride=project.stride)
        return y.flatten(2).transpose(1, 2) + self.largest.position[:, : self.active_embed]

    @torch.no_grad()
    def extract(self, attributes: Mapping[str, int | str]) -> PatchEmbed:
        """The PatchEmbed with these attributes and its own copy of the shared weights."""
        largest, embed = self.largest, int(attributes["embed_dim"])
        layer = PatchEmbed(
            largest.project.in_channels,
            embed_dim=embed,
            patch_size=largest.project.kernel_size[0],
            num_patches=len(largest.position),
        ).to(largest.position)  # its device and precision
        layer.position.copy_(largest.position[:, :embed])
        _fill(layer, {"project": _first(largest.project, embed)})
        return layer.train(self.training)


class ElasticTransformerBlock(nn.Module):
    """TransformerBlock with an elastic embedding, number of heads and hidden features.

    Args:
        embed_dim: the largest number of features of a token.
        num_heads: the largest number of attention heads.
        head_dim: features of a head's queries, keys and values.
        mlp_dim: the largest number of hidden features of the perceptron.
    """

    def __init__(self, embed_dim: int, *, num_heads: int, head_dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.largest = TransformerBlock(embed_dim, num_heads=num_heads, head_dim=head_dim, mlp_dim=mlp_dim)
        self.head_dim = head_dim
        self.active_embed = embed_dim
        self.active_heads = num_heads
        self.active_mlp = mlp_dim

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `embed_dim`, `num_heads` and `mlp_dim` for `forward`."""
        self.active_embed = int(attributes["embed_dim"])
        self.active_heads = int(attributes["num_heads"])
        self.active_mlp = int(attributes["mlp_dim"])

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, active embedding) -> the same shape."""
        shared = self._shared(self.active_embed, self.active_heads, self.active_mlp)
        rate = self.largest.drop_path if self.training else 0.0
        attended = attend(nn.functional.linear(_norm(x_BTD, shared["norm1"]), *shared["qkv"]), self.active_heads)
        x_BTD = x_BTD + drop_residual(nn.functional.linear(attended, *shared["project"]), rate)
        hidden = nn.functional.gelu(nn.functional.linear(_norm(x_BTD, shared["norm2"]), *shared["expand"]))
        return x_BTD + drop_residual(nn.functional.linear(hidden, *shared["reduce"]), rate)

    @torch.no_grad()
    def extract(self, attributes: Mapping[str, int | str]) -> TransformerBlock:
        """The TransformerBlock with these attributes and its own copy of the shared weights."""
        embed, heads, mlp = (int(attributes[key]) for key in ("embed_dim", "num_heads", "mlp_dim"))
        block = TransformerBlock(embed, num_heads=heads, head_dim=self.head_dim, mlp_dim=mlp)
        block = block.to(self.largest.qkv.weight)
        block.drop_path = self.largest.drop_path
        _fill(block, self._shared(embed, heads, mlp))
        return block.train(self.training)

    @torch.no_grad()
    def sort_channels(self) -> None:
        """Orders heads and hidden features by the sum of the weights that read them, largest first.

        So the ones that narrower layers keep are the important ones (Once-for-All, Cai et al., ICLR 2020). For the
        largest layer the function stays the same.
        """
        block = self.largest
        hidden = block.reduce.weight.abs().sum(0).argsort(descending=True)
        for value in (block.expand.weight, block.expand.bias):
            value.copy_(value[hidden])
        block.reduce.weight.copy_(block.reduce.weight[:, hidden])
        by_head = block.project.weight.view(len(block.project.weight), block.num_heads, self.head_dim)
        heads = by_head.abs().sum((0, 2)).argsort(descending=True)
        by_head.copy_(by_head[:, heads])
        for value in (block.qkv.weight, block.qkv.bias):
            parts = value.view(3, block.num_heads, self.head_dim, -1)
            parts.copy_(parts[:, heads])

    def _shared(self, embed: int, heads: int, mlp: int) -> Shared:
        block, inner = self.largest, heads * self.head_dim
        weight = block.qkv.weight.view(3, -1, block.qkv.in_features)[:, :inner, :embed]
        bias = block.qkv.bias.view(3, -1)[:, :inner]
        return {
            "norm1": _first(block.norm1, embed),
            "qkv": (weight.reshape(3 * inner, embed), bias.reshape(3 * inner)),
            "project": _first(block.project, embed, inner),
            "norm2": _first(block.norm2, embed),
            "expand": _first(block.expand, mlp, embed),
            "reduce": _first(block.reduce, embed, mlp),
        }


class ElasticTransformerHead(nn.Module):
    """TransformerHead with an elastic embedding.

    Args:
        embed_dim: the largest number of features of a token.
        num_classes: number of logits.
    """

    def __init__(self, embed_dim: int, *, num_classes: int) -> None:
        super().__init__()
        self.largest = TransformerHead(embed_dim, num_classes=num_classes)
        self.active_embed = embed_dim

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Chooses `embed_dim` for `forward`."""
        self.active_embed = int(attributes["embed_dim"])

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, active embedding) -> logits (B, num_classes)."""
        shared = self._shared(self.active_embed)
        return nn.functional.linear(mean_token(_norm(x_BTD, shared["norm"])), *shared["logits"])

    @torch.no_grad()
    def extract(self, attributes: Mapping[str, int | str]) -> TransformerHead:
        """The TransformerHead with these attributes and its own copy of the shared weights."""
        embed, logits = int(attributes["embed_dim"]), self.largest.logits
        head = TransformerHead(embed, num_classes=logits.out_features).to(logits.weight)
        _fill(head, self._shared(embed))
        return head.train(self.training)

    def _shared(self, embed: int) -> Shared:
        logits = self.largest.logits
        return {"norm": _first(self.largest.norm, embed), "logits": _first(logits, logits.out_features, embed)}


def _first(layer: nn.Module, *sizes: int) -> tuple[Tensor, Tensor]:
    """The first rows (and columns, …) of a layer's weight, and as many values of its bias."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return weight[tuple(slice(size) for size in sizes)], bias[: sizes[0]]


def _norm(x_BTD: Tensor, shared: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.layer_norm(x_BTD, x_BTD.shape[-1:], *shared)


def _fill(network: nn.Module, shared: Shared) -> None:
    for name, (weight, bias) in shared.items():
        layer = network.get_submodule(name)
        layer.get_parameter("weight").copy_(weight)
        layer.get_parameter("bias").copy_(bias)
