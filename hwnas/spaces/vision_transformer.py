"""AutoFormer's space of vision transformers (Chen et al., ICCV 2021), for images of any size.

Elastic are the embedding, the depth, and in each block the number of heads and the ratio of the perceptron. The sizes are
those of AutoFormer-tiny unless options say otherwise; its relative positions are left out, since they are a look-up within
each attention that few runtimes do well.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, Final

from torch import nn

from hwnas.errors import SettingsError
from hwnas.layers import (
    ElasticPatchEmbed,
    ElasticTransformerBlock,
    ElasticTransformerHead,
    PatchEmbed,
    TransformerBlock,
    TransformerHead,
)
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, ChainSpace, Slot, option_product
from hwnas.spaces.search_space import make_layer

__all__ = ["VisionTransformer"]

MLP_RATIOS: Final = ("3.5", "4")
WIDTHS: Final = 3
DEPTHS: Final = 3
HEAD_COUNTS: Final = 2
MAX_PATCH: Final = 16
MAX_PATCHES: Final = 4096
MAX_CHOSEN_PATCHES: Final = 1024
"""Attention takes the square of them: more come only where they are asked for."""
LIMITS: Final = {"embed_dim": (24, 4096), "depth": (3, 64), "num_heads": (2, 64), "head_dim": (8, 256)}

ELASTIC: Final[dict[str, Callable[..., nn.Module]]] = {
    "patch_embed": ElasticPatchEmbed,
    "transformer_block": ElasticTransformerBlock,
    "transformer_head": ElasticTransformerHead,
}


class VisionTransformer(ChainSpace):
    """AutoFormer's vision transformers, for images of any size: three embeddings, three depths, and in each block two
    numbers of heads and two ratios of the perceptron; about 10^9 architectures. Options: embed_dim (240), depth (14),
    num_heads (4), head_dim (64), patch_size (by the image).

    Options name the largest. With those of AutoFormer-tiny the embedding is 192, 216 or 240, the depth 12, 13 or 14, the
    number of heads 3 or 4, and the ratio 3.5 or 4. For small images and little data, smaller ones train faster, such as
    embed_dim 80, depth 4, head_dim 32.

    Args:
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        embed_dim: the largest number of features of a token, a multiple of 8; the others are about a tenth and two
            tenths less.
        depth: the largest number of blocks; the others are one and two less.
        num_heads: the largest number of attention heads; the other is one less.
        head_dim: features of a head's queries, keys and values.
        patch_size: side of the square patches in pixels; 0: the largest divisor of both sides, up to 16, whose square
            is at most 1.6 times the shorter side, so 16 for 224 and 160 pixels, 4 for 32 and 28, 2 for 8.

    Raises:
        SettingsError: an argument out of range, or images that this size cuts into more than 1,024 patches.
    """

    name: ClassVar = "vision_transformer"
    layers: ClassVar = {
        "patch_embed": PatchEmbed,
        "transformer_block": TransformerBlock,
        "transformer_head": TransformerHead,
    }

    def __init__(
        self,
        input_shape: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 1000,
        *,
        embed_dim: int = 240,
        depth: int = 14,
        num_heads: int = 4,
        head_dim: int = 64,
        patch_size: int = 0,
    ) -> None:
        given = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "head_dim": head_dim}
        for option, (low, high) in LIMITS.items():
            step = 8 if option == "embed_dim" else 1
            if given[option] % step or not low <= given[option] <= high:
                what = f"a multiple of {step}" if step > 1 else "a whole number"
                raise SettingsError(
                    f"{option} of vision_transformer",
                    f"must be {what} from {low} to {high}",
                    came=f"{given[option]} came",
                )
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.embed_dim, self.depth, self.num_heads, self.head_dim = (int(value) for value in given.values())
        self.patch_size = _checked_patch(patch_size, input_shape)

    @property
    def options(self) -> dict[str, float]:
        """The arguments by name, the patch size as it was chosen."""
        names = ("embed_dim", "depth", "num_heads", "head_dim", "patch_size")
        return {name: getattr(self, name) for name in names}

    def describe(self, architecture: Architecture) -> str:
        """The embedding, then heads and ratio of each block."""
        embed, depth, *choices = (
            variable.options[choice] for variable, choice in zip(self.variables, architecture.choices, strict=True)
        )
        blocks = zip(choices[0 : 2 * int(depth) : 2], choices[1 : 2 * int(depth) : 2], strict=True)
        return f"d{embed} | " + " ".join(f"h{heads}r{ratio}" for heads, ratio in blocks)

    def elastic_layer(self, slot: Slot) -> nn.Module:
        """One elastic layer a slot, sharing its first features, heads and hidden features."""
        return make_layer(ELASTIC[slot.present[-1].kind], slot.present[-1])

    @cached_property
    def chain(self) -> Chain:
        """The slots, in order."""
        step = max(8, round(self.embed_dim / 80) * 8)
        embed = Variable("embed_dim", tuple(self.embed_dim - step * less for less in reversed(range(WIDTHS))))
        depth = Variable("depth", tuple(range(self.depth - DEPTHS + 1, self.depth + 1)))
        heads = tuple(range(self.num_heads - HEAD_COUNTS + 1, self.num_heads + 1))
        widths = [int(width) for width in embed.options]
        variables = [embed, depth]
        slots = [Slot(tuple(self._patches(width) for width in widths), (0,))]
        for block in range(self.depth):
            first = len(variables)
            variables.append(Variable(f"block{block + 1}.num_heads", heads))
            variables.append(Variable(f"block{block + 1}.mlp_ratio", MLP_RATIOS))
            operators = tuple(
                self._block(int(width), int(count), float(ratio))
                for width, count, ratio in option_product([embed, *variables[first:]])
            )
            least = next(choice for choice, value in enumerate(depth.options) if int(value) > block)
            slots.append(Slot(operators, (0, first, first + 1), 1 if least else None, least))
        slots.append(Slot(tuple(self._head(width) for width in widths), (0,)))
        return Chain(variables, slots)

    @property
    def _num_patches(self) -> int:
        return math.prod(side // self.patch_size for side in self.input_shape[1:])

    def _patches(self, width: int) -> Operator:
        attributes = {"embed_dim": width, "patch_size": self.patch_size, "num_patches": self._num_patches}
        return Operator("patch_embed", self.input_shape, attributes)

    def _block(self, width: int, heads: int, ratio: float) -> Operator:
        attributes = {"embed_dim": width, "num_heads": heads, "head_dim": self.head_dim, "mlp_dim": int(width * ratio)}
        return Operator("transformer_block", (self._num_patches, width), attributes)

    def _head(self, width: int) -> Operator:
        attributes = {"embed_dim": width, "num_classes": self.num_classes}
        return Operator("transformer_head", (self._num_patches, width), attributes)


def _checked_patch(patch_size: int, input_shape: tuple[int, int, int]) -> int:
    """The patch size, chosen by the image where it is 0. Raises SettingsError."""
    _, height, width = input_shape
    common = math.gcd(height, width)
    patches = {size: (height // size) * (width // size) for size in range(1, common + 1) if common % size == 0}
    chosen = patch_size or max(size for size in patches if size <= min(MAX_PATCH, math.sqrt(1.6 * min(height, width))))
    most = MAX_PATCHES if patch_size else MAX_CHOSEN_PATCHES
    if not 2 <= patches.get(chosen, 0) <= most:
        allowed = [str(size) for size, count in patches.items() if 2 <= count <= MAX_PATCHES]
        raise SettingsError(
            "patch_size of vision_transformer",
            f"must cut images of {height}x{width} into 2 to {most} whole patches",
            came=f"{chosen} came" if patch_size else f"the size that suits them, {chosen}, gives {patches[chosen]}",
            do=f"Set patch_size to one of {', '.join(allowed)}"
            if allowed
            else "Give images whose sides share a divisor, such as 64x64 (image_size)",
        )
    return int(chosen)
