"""Network morphisms of single layers and small networks; those of whole spaces are in tests/spaces/test_convnet.py."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hwnas.layers import (
    Bottleneck,
    Classifier,
    ConvBlock,
    ConvBNAct,
    GroupedMBConv,
    LinearClassifier,
    MBConv,
    PooledClassifier,
    ResidualConv,
    make_identity,
    morph,
    settle_batch_norms,
)
from hwnas.layers.morphisms import kept_channels, separated

Layers = Callable[[], nn.Module]


@torch.no_grad()
def randomized(layer: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics, weights and biases of norms that are not what they begin with, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for part in layer.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(-1.5, 1.5, generator=generator)
            part.bias.uniform_(-0.5, 0.5, generator=generator)
            part.running_mean.uniform_(-0.5, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
        if isinstance(part, nn.Linear):
            part.weight.normal_(generator=generator)
            part.bias.normal_(generator=generator)
        if isinstance(part, ConvBlock) and part.shortcut_scale is not None:
            part.shortcut_scale.uniform_(-1.0, 1.0, generator=generator)
    return layer.eval()


def images(channels: int, *, positive: bool = False) -> Tensor:
    x_BCHW = torch.randn(3, channels, 7, 6, generator=torch.Generator().manual_seed(5))
    return x_BCHW.relu() if positive else x_BCHW


def with_new_channels(x_BCHW: Tensor, channels: int) -> Tensor:
    """More channels behind those that are there, which nothing may read."""
    more = 9 * torch.randn(len(x_BCHW), channels - x_BCHW.shape[1], *x_BCHW.shape[2:])
    return torch.cat([x_BCHW, more], 1)


GROWING: dict[str, tuple[int, Layers, int, Layers]] = {
    "a wider convolution": (3, lambda: ConvBNAct(3, 4, kernel_size=3), 5, lambda: ConvBNAct(5, 8, kernel_size=3)),
    "a larger kernel": (3, lambda: ConvBNAct(3, 4, kernel_size=3), 3, lambda: ConvBNAct(3, 4, kernel_size=7)),
    "a wider block": (
        4,
        lambda: ConvBlock(4, 4, convolution="separable", shortcut=1),
        6,
        lambda: ConvBlock(6, 6, convolution="separable", shortcut=1),
    ),
    "a shortcut": (
        4,
        lambda: ConvBlock(4, 4, convolution="dense"),
        4,
        lambda: ConvBlock(4, 4, convolution="dense", shortcut=1),
    ),
    "a dense convolution for a separable one": (
        3,
        lambda: ConvBlock(3, 4, convolution="separable", stride=2),
        4,
        lambda: ConvBlock(4, 6, convolution="dense", stride=2),
    ),
    "an inverted residual block of more expansion and kernel": (
        4,
        lambda: MBConv(4, 4, mid_channels=8, kernel_size=3, se_channels=2, activation="hard_swish"),
        4,
        lambda: MBConv(4, 4, mid_channels=16, kernel_size=5, se_channels=4, activation="hard_swish"),
    ),
    "a wider inverted residual block": (
        4,
        lambda: MBConv(4, 6, mid_channels=8, kernel_size=3, stride=2),
        5,
        lambda: MBConv(5, 8, mid_channels=20, kernel_size=3, stride=2),
    ),
    "a wider block without expansion": (
        4,
        lambda: MBConv(4, 4, mid_channels=4, kernel_size=3),
        8,
        lambda: MBConv(8, 8, mid_channels=8, kernel_size=3),
    ),
    "a wider bottleneck": (
        4,
        lambda: Bottleneck(4, 4, mid_channels=2, shortcut="identity"),
        6,
        lambda: Bottleneck(6, 6, mid_channels=4, shortcut="identity"),
    ),
    "a wider bottleneck with a projection": (
        4,
        lambda: Bottleneck(4, 6, mid_channels=2, stride=2),
        6,
        lambda: Bottleneck(6, 8, mid_channels=4, stride=2),
    ),
    "a wider residual convolution": (4, lambda: ResidualConv(4), 6, lambda: ResidualConv(6)),
    "a linear classifier": (
        4,
        lambda: LinearClassifier(4, num_classes=3),
        6,
        lambda: LinearClassifier(6, num_classes=3),
    ),
    "a pooled classifier": (
        4,
        lambda: PooledClassifier(4, num_classes=3, last_channels=5),
        6,
        lambda: PooledClassifier(6, num_classes=3, last_channels=8),
    ),
    "a classifier": (
        4,
        lambda: Classifier(4, num_classes=3, last_channels=5, hidden_features=6),
        6,
        lambda: Classifier(6, num_classes=3, last_channels=8, hidden_features=9),
    ),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", GROWING)
@torch.no_grad()
def test_a_larger_layer_does_what_the_smaller_did(case: str, seed: int) -> None:
    """On the channels that were there, whatever the new ones carry."""
    old_in, make_old, new_in, make_new = GROWING[case]
    torch.manual_seed(seed)
    old, new = randomized(make_old(), seed), make_new().eval()
    assert morph(new, old) is None
    x_BCHW = images(old_in)
    expected, found = old(x_BCHW), new(with_new_channels(x_BCHW, new_in))
    torch.testing.assert_close(found[:, : expected.shape[1]], expected, rtol=1e-5, atol=1e-5)
    assert expected.abs().max() > 0.01


@pytest.mark.parametrize("convolution", ["dense", "separable"])
def test_an_inserted_block_is_the_identity(convolution: str) -> None:
    block = randomized(ConvBlock(4, 4, convolution=convolution, shortcut=0))
    x_BCHW = images(4, positive=True)
    assert not torch.allclose(block(x_BCHW), x_BCHW, atol=0.1)
    make_identity(block)
    torch.testing.assert_close(block(x_BCHW), x_BCHW, rtol=1e-5, atol=1e-5)


def test_an_inserted_inverted_residual_block_is_the_identity_as_it_is_made() -> None:
    block = MBConv(4, 4, mid_channels=8, kernel_size=3).eval()
    make_identity(block)
    assert torch.equal(block(images(4)), images(4))


@torch.no_grad()
def test_pruned_channels_are_those_that_matter_least_and_their_readers_follow() -> None:
    """Channels that are 0 go, and the function stays."""
    first, second = randomized(ConvBNAct(3, 6, kernel_size=3)), randomized(ConvBNAct(6, 4, kernel_size=3), 1)
    for channel in (1, 4):
        first.bn.weight[channel] = first.bn.bias[channel] = 0.0
    narrow = nn.Sequential(ConvBNAct(3, 4, kernel_size=3), ConvBNAct(4, 4, kernel_size=3)).eval()
    carried_C = morph(narrow[0], first)
    assert carried_C.tolist() == [0, 2, 3, 5]
    assert morph(narrow[1], second, carried_C) is None
    torch.testing.assert_close(narrow(images(3)), second(first(images(3))), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_smaller_expansion_keeps_the_channels_that_are_read_most() -> None:
    old = randomized(MBConv(3, 4, mid_channels=8, kernel_size=3, se_channels=4))
    old.project.conv.weight[:, [0, 3, 5, 6]] = 0.0
    new = MBConv(3, 4, mid_channels=4, kernel_size=3, se_channels=4).eval()
    morph(new, old)
    assert torch.equal(new.depthwise.conv.weight, old.depthwise.conv.weight[[1, 2, 4, 7]])
    assert torch.equal(new.project.conv.weight, old.project.conv.weight[:, [1, 2, 4, 7]])
    assert torch.equal(new.expand.conv.weight, old.expand.conv.weight[[1, 2, 4, 7]])


def test_channels_behind_a_skip_connection_stay_in_step() -> None:
    """Those that were pruned before it are the ones that go behind it, whatever they are worth there."""
    carried_C = torch.tensor([0, 3])
    for new, old in (
        (ConvBlock(2, 2, convolution="dense", shortcut=1), ConvBlock(4, 4, convolution="dense", shortcut=1)),
        (MBConv(2, 2, mid_channels=8, kernel_size=3), MBConv(4, 4, mid_channels=8, kernel_size=3)),
        (
            Bottleneck(2, 2, mid_channels=2, shortcut="identity"),
            Bottleneck(4, 4, mid_channels=2, shortcut="identity"),
        ),
        (ResidualConv(2), ResidualConv(4)),
    ):
        assert morph(new, randomized(old), carried_C) is carried_C


def test_a_smaller_kernel_is_the_centre_of_the_larger() -> None:
    old, new = ConvBNAct(2, 2, kernel_size=5), ConvBNAct(2, 2, kernel_size=3)
    morph(new, old)
    assert torch.equal(new.conv.weight, old.conv.weight[:, :, 1:4, 1:4])


def test_a_separable_convolution_is_the_nearest_to_a_dense_one() -> None:
    """Exactly where there is an equal one; elsewhere no other of random ones, or of itself moved a little, is nearer."""
    generator = torch.Generator().manual_seed(0)

    def distance(depthwise: Tensor, pointwise: Tensor, kernel: Tensor) -> float:
        return float((pointwise * depthwise.transpose(0, 1) - kernel).square().sum())

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    product = drawn(5, 3, 1, 1) * drawn(1, 3, 3, 3)
    assert distance(*separated(product), product) < 1e-9
    kernel = drawn(5, 3, 3, 3)
    depthwise, pointwise = separated(kernel)
    least = distance(depthwise, pointwise, kernel)
    for scale in (0.01, 0.1, 1.0):
        for _ in range(20):
            near = depthwise + scale * drawn(3, 1, 3, 3), pointwise + scale * drawn(5, 3, 1, 1)
            assert distance(*near, kernel) > least


def test_a_channel_that_nothing_reads_gets_a_kernel_all_the_same() -> None:
    """Else it could never be read again."""
    kernel = torch.randn(4, 3, 3, 3)
    kernel[:, 1] = 0.0
    depthwise, pointwise = separated(kernel)
    assert depthwise.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert pointwise[:, 1].abs().max() == 0


@torch.no_grad()
def test_settled_batch_norms_keep_the_function_and_make_training_the_same() -> None:
    torch.manual_seed(0)
    layers = (ConvBNAct(3, 6, kernel_size=3), ConvBlock(6, 6, convolution="dense"), LinearClassifier(6, num_classes=4))
    network = randomized(nn.Sequential(*layers))
    make_identity(network[1])
    x_BCHW = images(3)
    expected = network(x_BCHW)
    settle_batch_norms(network.train(), x_BCHW)
    assert not network.training
    torch.testing.assert_close(network(x_BCHW), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.train()(x_BCHW), expected, rtol=1e-2, atol=1e-3)


def test_the_source_stays_as_it_is_and_the_layer_has_weights_of_its_own() -> None:
    old, new = randomized(ConvBNAct(3, 4)), ConvBNAct(3, 4)
    before = {name: value.clone() for name, value in old.state_dict().items()}
    morph(new, old)
    assert all(torch.equal(value, new.state_dict()[name]) for name, value in before.items())
    nn.init.zeros_(new.conv.weight)
    assert all(torch.equal(value, before[name]) for name, value in old.state_dict().items())


def test_a_layer_of_another_kind_stays_as_it_is() -> None:
    new = ConvBNAct(3, 4)
    before = new.conv.weight.clone()
    assert morph(new, ConvBlock(3, 4, convolution="dense"), torch.tensor([0, 2, 1])) is None
    assert torch.equal(new.conv.weight, before)


def test_layers_without_rules_of_their_own_take_over_what_both_have() -> None:
    old, new = (GroupedMBConv(4, 4, mid_channels=mid, kernel_size=3, groups=1) for mid in (8, 12))
    beyond = new.project.conv.weight[:, 8:].clone()
    assert morph(new, old) is None
    assert torch.equal(new.project.conv.weight[:, :8], old.project.conv.weight)
    assert torch.equal(new.project.conv.weight[:, 8:], beyond)
    assert torch.equal(new.depthwise.conv.weight[:8], old.depthwise.conv.weight)


def test_all_channels_are_kept_in_their_order_where_there_is_room() -> None:
    assert kept_channels(torch.tensor([3.0, 1.0, 2.0]), 3) is None
    assert kept_channels(torch.tensor([3.0, 1.0, 2.0]), 5) is None
    assert kept_channels(torch.tensor([3.0, 1.0, 2.0]), 2).tolist() == [0, 2]
