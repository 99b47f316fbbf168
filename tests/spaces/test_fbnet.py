"""What is particular to fbnet, against the paper's table and its authors' published network."""

import pytest
import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.objectives import macs
from hwnas.spaces import Architecture, FBNet, Operator, make_space
from hwnas.testing.space_contract import SpaceContract

LAYERS = [1, 4, 4, 4, 4, 4, 1]
CHANNELS = [16, 24, 32, 64, 112, 184, 352]
OPTIONS = ("skip", "k3_e1_g2", "k5_e1_g2", "k3_e1", "k5_e1", "k3_e3", "k5_e3", "k3_e6", "k5_e6")

FBNET_A = (
    "skip k3_e3 k3_e1 skip skip k5_e6 k3_e3 k5_e1 k3_e3 k5_e6 k5_e3 k5_e1_g2 k5_e6 k3_e6 k5_e1_g2 k5_e3 k3_e1_g2 "
    "k5_e6 k5_e6 k5_e3 k5_e6 k5_e6"
)


@pytest.fixture(scope="module")
def imagenet() -> FBNet:
    return FBNet((3, 224, 224), 1000)


@pytest.fixture(scope="module")
def cifar() -> FBNet:
    return FBNet((3, 32, 32), 10)


def named(space: FBNet, options: str) -> Architecture:
    return space.architecture([OPTIONS.index(option) for option in options.split()])


def test_fbnet_a_costs_what_its_authors_published() -> None:
    """249.921848 million multiply-accumulates; 4.28648 million weights, in which they count no bias and no batch norm."""
    space = FBNet((3, 224, 224), 1000, last_channels=1504)
    architecture = named(space, FBNET_A)
    assert macs(space).evaluate([architecture]) == [249_921_848]
    with torch.device("meta"):
        network = space.build(architecture)
    weights = [layer.weight.numel() for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert sum(weights) == 4_286_480


def test_there_are_22_layers_of_nine_options(imagenet: FBNet) -> None:
    assert [variable.name for variable in imagenet.variables] == [
        f"stage{stage}.block{block}" for stage, count in enumerate(LAYERS, start=1) for block in range(1, count + 1)
    ]
    assert {variable.options for variable in imagenet.variables} == {OPTIONS}
    assert len(imagenet.variables) == 22


def layers(space: FBNet, option: str) -> list[Operator]:
    """The layers where every choice is `option`, without stem and head."""
    return list(space.operators(space.architecture([OPTIONS.index(option)] * 22)))[1:-1]


@pytest.mark.parametrize(
    ("side", "stem", "strides", "last"),
    [
        (224, 2, [1, 2, 2, 2, 1, 2, 1], 7),
        (96, 2, [1, 2, 2, 2, 1, 2, 1], 3),
        (64, 1, [1, 2, 2, 2, 1, 2, 1], 4),
        (32, 1, [1, 1, 2, 2, 1, 2, 1], 4),
        (8, 1, [1, 1, 1, 1, 1, 2, 1], 4),
    ],
)
def test_stages_are_the_papers_and_small_images_keep_resolution(
    side: int, stem: int, strides: list[int], last: int
) -> None:
    space = FBNet((3, side, side), 10)
    first, *found, head = space.operators(space.largest())
    assert (first.attributes["out_channels"], first.attributes["stride"]) == (16, stem)
    assert [one.attributes["out_channels"] for one in found] == [
        channels for channels, count in zip(CHANNELS, LAYERS, strict=True) for _ in range(count)
    ]
    starts = [sum(LAYERS[:stage]) for stage in range(7)]
    assert [found[start].attributes["stride"] for start in starts] == strides
    assert all(one.attributes["stride"] == 1 for index, one in enumerate(found) if index not in starts)
    assert head.input_shape == (352, last, last)
    assert head.attributes == {"num_classes": 10, "last_channels": 1984}


@pytest.mark.parametrize("option", OPTIONS[1:])
def test_an_option_is_the_block_of_its_name(cifar: FBNet, option: str) -> None:
    kernel, expand, *rest = option.split("_")
    channels = [16, *(width for width, count in zip(CHANNELS, LAYERS, strict=True) for _ in range(count))]
    found = layers(cifar, option)
    assert len(found) == 22
    for one, width in zip(found, channels, strict=False):
        assert one.kind == "grouped_mbconv"
        assert one.input_shape[0] == width
        assert one.attributes["mid_channels"] == width * int(expand[1:])
        assert f"k{one.attributes['kernel_size']}" == kernel
        assert one.attributes["groups"] == (2 if rest else 1)


def test_a_skip_runs_nothing_but_where_the_shape_changes(cifar: FBNet) -> None:
    """In the first layer of all stages but the first."""
    found = layers(cifar, "skip")
    assert [one.attributes for one in found] == [
        {"out_channels": channels, "kernel_size": 1, "stride": stride, "activation": "relu"}
        for channels, stride in zip(CHANNELS[1:], [1, 2, 2, 1, 2, 1], strict=True)
    ]


def test_there_are_104_operators(imagenet: FBNet, cifar: FBNet) -> None:
    """Eight for the first layer, nine for the first of each later stage, eight for its others, the stem and the head."""
    for space in (imagenet, cifar):
        kinds = [operator.kind for operator in space.all_operators()]
        assert len(kinds) == 8 + 6 * 9 + 5 * 8 + 2 == 104
        assert {kind: kinds.count(kind) for kind in kinds} == {
            "conv_bn_act": 7,
            "grouped_mbconv": 96,
            "pooled_classifier": 1,
        }


def test_options_go_from_small_to_large(imagenet: FBNet) -> None:
    """In every layer but the first of a stage, where a skip is a projection."""
    for index in [*range(2, 5), *range(6, 9), *range(10, 13), *range(14, 17), *range(18, 21)]:
        chosen = [list(imagenet.smallest().choices) for _ in OPTIONS]
        for option, choices in enumerate(chosen):
            choices[index] = option
        counted = [
            sum(imagenet.counts[one].parameters for one in imagenet.operators(imagenet.architecture(choices)))
            for choices in chosen
        ]
        assert counted == sorted(set(counted)), imagenet.variables[index].name


def test_options_of_the_space_reach_all_channels() -> None:
    space = make_space("fbnet", input_shape=(3, 96, 96), options={"width_mult": 0.35, "last_channels": 1504})
    assert isinstance(space, FBNet)
    assert space.options == {"width_mult": 0.35, "last_channels": 1504}
    stem, *found, head = space.operators(space.largest())
    assert stem.attributes["out_channels"] == 8
    assert sorted({int(one.attributes["out_channels"]) for one in found}) == [8, 16, 24, 40, 64, 120]
    assert head.attributes["last_channels"] == 528


@pytest.mark.parametrize("width_mult", [0, -1, 0.049, 16.1, float("nan"), float("inf")])
def test_a_width_out_of_range_is_refused(width_mult: float) -> None:
    with pytest.raises(SettingsError, match=r"width_mult of fbnet must be from 0.05 to 16, but .* came"):
        FBNet((3, 32, 32), 10, width_mult=width_mult)


@pytest.mark.parametrize("last_channels", [0, 7, 1504.5, 65537, float("nan")])
def test_last_channels_out_of_range_are_refused(last_channels: float) -> None:
    with pytest.raises(SettingsError, match="last_channels of fbnet must be a whole number from 8 to 65536, but"):
        FBNet((3, 32, 32), 10, last_channels=last_channels)  # type: ignore[arg-type]


def test_an_architecture_in_words(cifar: FBNet) -> None:
    words = cifar.describe(named(cifar, FBNET_A))
    assert words.split(" | ")[:2] == ["skip", "k3_e3 k3_e1 skip skip"]
    assert words.replace(" | ", " ") == FBNET_A


@pytest.mark.slow
def test_every_operator_exports(cifar: FBNet) -> None:
    SpaceContract().check_export(cifar, cifar.all_operators())
