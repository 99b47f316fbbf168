"""Spaces for the checks: one of tokens, as a vision transformer's, without batch norm, whose supernet can mix."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from hwnas.checks import SpaceUnderTest
from hwnas.layers import Choice, Fixed
from hwnas.spaces import Architecture, Chain, ChainSuperNet, Operator, SearchSpace, Slot, Variable
from hwnas.testing import ToySpace


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Embedding(nn.Module):
    """Images (B, C, H, W) -> tokens (B, T, D)."""

    def __init__(self, in_channels: int, *, features: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, features, patch, patch)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Self-attention and an MLP on tokens (B, T, D)."""

    def __init__(self, features: int, *, mlp_ratio: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.qkv = nn.Linear(features, 3 * features)
        self.mlp = nn.Sequential(
            nn.Linear(features, mlp_ratio * features), nn.GELU(), nn.Linear(mlp_ratio * features, features)
        )
        nn.init.zeros_(self.mlp[2].weight)

    def forward(self, x_BTD: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(x_BTD)).chunk(3, dim=-1)
        x_BTD = x_BTD + torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value
        return x_BTD + self.mlp(x_BTD)


class Head(nn.Module):
    """Tokens (B, T, D) -> logits."""

    def __init__(self, features: int, *, num_classes: int) -> None:
        super().__init__()
        self.logits = nn.Linear(features, num_classes)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.logits(x_BTD.mean(1))


class TokenSpace(SearchSpace):
    """An embedding, one or two blocks, a place that may be skipped, and a head."""

    name: ClassVar = "tokens"
    layers: ClassVar = {"embedding": Embedding, "block": Block, "head": Head}

    def __init__(self, input_shape: tuple[int, int, int] = (3, 8, 8), num_classes: int = 5) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes
        tokens = ((input_shape[1] // 4) * (input_shape[2] // 4), 6)
        blocks = tuple(Operator("block", tokens, {"mlp_ratio": ratio}) for ratio in (1, 2))
        names = (("depth", (1, 2)), ("block1", (1, 2)), ("block2", (1, 2)), ("extra", ("skip", 1, 2)))
        slots = [
            Slot((Operator("embedding", input_shape, {"features": 6, "patch": 4}),)),
            Slot(blocks, (1,)),
            Slot(blocks, (2,), depth_variable=0, min_depth_choice=1),
            Slot((None, *blocks), (3,)),
            Slot((Operator("head", tokens, {"num_classes": num_classes}),)),
        ]
        self.chain = Chain([Variable(name, options) for name, options in names], slots)

    @property
    def options(self):
        return {}

    @property
    def variables(self):
        return self.chain.variables

    def operators(self, architecture):
        return self.chain.operators(architecture)

    def operator_indices(self, choices_NV):
        return self.chain.operator_indices(choices_NV)

    def expected_cost(self, weights, cost):
        return self.chain.expected_cost(weights, cost)

    def all_operators(self):
        return self.chain.all_operators

    def canonicalize(self, choices_NV):
        return self.chain.canonicalize(choices_NV)

    def describe(self, architecture: Architecture) -> str:
        return " ".join(map(str, architecture.choices))

    def build_operator(self, operator: Operator) -> nn.Module:
        first = operator.input_shape[0] if operator.kind == "embedding" else operator.input_shape[-1]
        return self.layers[operator.kind](first, **operator.attributes)

    def supernet(self) -> ChainSuperNet:
        return ChainSuperNet(self.chain, self._layer, self.assemble)

    def _layer(self, slot: Slot) -> nn.Module:
        if not slot.variables:
            return Fixed(self.build_operator(slot.present[0]))
        return Choice([(one.attributes, self.build_operator(one)) for one in slot.present])


@pytest.fixture
def toy() -> SpaceUnderTest:
    return SpaceUnderTest(ToySpace(), on_paper=30, networks=3)


@pytest.fixture
def tokens() -> SpaceUnderTest:
    return SpaceUnderTest(TokenSpace(), on_paper=30, networks=3)
