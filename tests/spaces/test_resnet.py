"""What is particular to resnet, against ResNet-50-D and Once-for-All's published space."""

import math

import pytest

from hwnas.errors import SettingsError
from hwnas.spaces import Architecture, Operator, ResNet
from hwnas.testing.space_contract import SpaceContract


@pytest.fixture(scope="module")
def imagenet() -> ResNet:
    return ResNet((3, 224, 224), 1000)


def chosen(space: ResNet, **values: float) -> Architecture:
    """The architecture with these options of all variables that end so; else the largest."""
    choices = list(space.largest().choices)
    for index, variable in enumerate(space.variables):
        for name, value in values.items():
            if variable.name.endswith(name.replace("_at_", ".")):
                choices[index] = variable.options.index(value)
    return space.architecture(choices)


def parameters(space: ResNet, architecture: Architecture) -> int:
    return sum(space.counts[operator].parameters for operator in space.operators(architecture))


def bottlenecks(space: ResNet, architecture: Architecture) -> list[Operator]:
    return [operator for operator in space.operators(architecture) if operator.kind == "bottleneck"]


def test_resnet_50_d_is_one_of_them(imagenet: ResNet) -> None:
    """25,576,264 parameters are what libraries of models publish of it (the stem's skip and the pools have none)."""
    depths = {f"stage{stage}_at_depth": depth for stage, depth in enumerate((3, 4, 6, 3), start=1)}
    resnet_50_d = chosen(imagenet, expand_ratio=0.25, **depths)
    assert parameters(imagenet, resnet_50_d) == 25_576_264
    macs = sum(imagenet.counts[operator].macs for operator in imagenet.operators(resnet_50_d))
    assert macs == pytest.approx(4.33e9, rel=1e-3)


def test_the_published_sub_networks_lie_between_the_smallest_and_the_largest(imagenet: ResNet) -> None:
    """Once-for-All lists sub-networks of 9.6 to 30.9 million parameters."""
    assert parameters(imagenet, imagenet.smallest()) < 9.6e6
    assert parameters(imagenet, imagenet.largest()) > 30.9e6


def test_the_variables_are_the_published_ones(imagenet: ResNet) -> None:
    """Widths 0.65 and 0.8 of the stem's first convolutions are both 24 channels, and so one option."""
    options = {variable.name: variable.options for variable in imagenet.variables}
    assert [options[f"stage{stage}.depth"] for stage in range(1, 5)] == [(2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4)]
    widths = {name: values for name, values in options.items() if name.endswith("width_mult")}
    assert widths.pop("stem.mid_width_mult") == (0.65, 1.0)
    assert set(widths) == {"stem.width_mult", *(f"stage{stage}.width_mult" for stage in range(1, 5))}
    assert set(widths.values()) == {(0.65, 0.8, 1.0)}
    ratios = [values for name, values in options.items() if name.endswith("expand_ratio")]
    assert ratios == [(0.2, 0.25, 0.35)] * 18
    assert options["stem.depth"] == (2, 3)


def test_the_largest_is_the_published_network(imagenet: ResNet) -> None:
    stem, residual, last, pool, *blocks, head = imagenet.operators(imagenet.largest())
    assert [one.kind for one in (stem, residual, last, pool, head)] == [
        *("conv_bn_act", "residual_conv", "conv_bn_act", "max_pool", "linear_classifier")
    ]
    assert (stem.attributes["out_channels"], stem.attributes["stride"]) == (32, 2)
    assert (residual.input_shape, last.attributes["out_channels"]) == ((32, 112, 112), 64)
    assert (pool.input_shape, head.input_shape) == ((64, 112, 112), (2048, 7, 7))
    found = [(one.attributes["out_channels"], one.attributes["stride"], one.attributes["shortcut"]) for one in blocks]
    expected = []
    for channels, depth, stride in ((256, 4, 1), (512, 4, 2), (1024, 6, 2), (2048, 4, 2)):
        expected += [(channels, stride, "projection"), *[(channels, 1, "identity")] * (depth - 1)]
    assert found == expected
    assert [one.attributes["mid_channels"] for one in blocks[::4]] == [88, 176, 360, 360, 720]


def test_a_choice_sets_its_own_stage(imagenet: ResNet) -> None:
    architecture = chosen(imagenet, stage2_at_width_mult=0.65, stage2_at_depth=2, stage2_at_block1_at_expand_ratio=0.2)
    blocks = bottlenecks(imagenet, architecture)
    assert [one.attributes["out_channels"] for one in blocks] == [256] * 4 + [336] * 2 + [1024] * 6 + [2048] * 4
    assert [one.attributes["mid_channels"] for one in blocks[4:6]] == [64, 120]
    assert blocks[6].input_shape == (336, 28, 28)
    assert len(imagenet.operators(chosen(imagenet, stem_at_depth=2))) == len(imagenet.operators(imagenet.largest())) - 1


# sides at which the stages end, and whether the stem pools
SIDES = {
    224: ([56, 28, 14, 7], True),
    64: ([32, 16, 8, 4], True),
    32: ([32, 16, 8, 4], False),
    8: ([8, 8, 8, 4], False),
}


@pytest.mark.parametrize("side", SIDES)
def test_small_images_keep_resolution(side: int) -> None:
    ends, pools = SIDES[side]
    space = ResNet((3, side, side), 10)
    operators = space.operators(space.smallest())
    blocks = [one for one in operators if one.kind == "bottleneck"]
    lasts = [block.input_shape[1] for block in (blocks[1], blocks[3], blocks[7], blocks[9])]  # the last of each stage
    assert (lasts, any(one.kind == "max_pool" for one in operators)) == (ends, pools)


def test_an_architecture_in_words() -> None:
    space = ResNet((1, 8, 8), 10, width_mult=[0.1, 0.2], expand_ratio=[0.25, 0.5], resolution=[6, 8])
    blocks = " | ".join(["w0.1 e0.25 e0.25", "w0.1 e0.25 e0.25", "w0.1 e0.25 e0.25 e0.25 e0.25", "w0.1 e0.25 e0.25"])
    assert space.describe(space.smallest()) == f"r6 | stem d2 w0.1 | {blocks}"
    fixed = ResNet((1, 8, 8), 10, width_mult=0.2, expand_ratio=0.5)
    assert fixed.describe(fixed.smallest()) == "stem d2 | e0.5 e0.5 | e0.5 e0.5 | e0.5 e0.5 e0.5 e0.5 | e0.5 e0.5"
    assert [variable.name for variable in fixed.variables] == [
        *("stem.depth", "stage1.depth", "stage2.depth", "stage3.depth", "stage4.depth")
    ]


def test_options_are_those_given() -> None:
    assert ResNet((1, 8, 8), 10).options == {"width_mult": [0.65, 0.8, 1.0], "expand_ratio": [0.2, 0.25, 0.35]}
    given = {"width_mult": 0.2, "expand_ratio": [0.25, 0.5], "resolution": 6}
    assert ResNet((1, 8, 8), 10, width_mult=0.2, expand_ratio=[0.25, 0.5], resolution=6).options == given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mult": 0.01}, "width_mult of resnet must be from 0.02 to 16"),
        ({"width_mult": [1.0, 0.5]}, "width_mult of resnet must go up"),
        ({"expand_ratio": 5}, "expand_ratio of resnet must be from 0.01 to 4"),
        ({"width_mult": 0.25}, "different multiples of 8 of 64 channels.* but 0.2, 0.25, 0.35 give 16, 16, 24"),
        ({"resolution": 9}, "resolution of resnet must be whole numbers of pixels from 4 to 8"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ResNet((1, 8, 8), 10, **options)


def test_its_size_is_what_is_said_of_it(imagenet: ResNet) -> None:
    """About 10^12 architectures, counted by the choices that are read."""
    blocks = [sum(3**depth for depth in depths) for depths in ((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4))]
    total = 2 * 2 * 3 * math.prod(3 * count for count in blocks)
    assert 1e12 < total < 2e12
    assert len(imagenet.variables) == 3 + 4 * 2 + 18


@pytest.mark.slow
def test_every_operator_exports() -> None:
    space = ResNet((1, 7, 9), 10, width_mult=[0.1, 0.2], expand_ratio=[0.25, 0.5], resolution=[5, 7])
    SpaceContract().check_export(space, space.all_operators())
