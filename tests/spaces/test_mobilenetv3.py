"""What is particular to mobilenetv3, against Once-for-All's published network."""

import itertools

import numpy as np
import pytest
import torch

from hwnas.errors import SettingsError, SpaceError
from hwnas.objectives import macs, parameters
from hwnas.spaces import Architecture, MobileNetV3, Operator
from hwnas.spaces.scaling import round_channels
from hwnas.testing.space_contract import SpaceContract

# Once-for-All's ofa_mbv3 (Cai et al., ICLR 2020): channels, stride, squeeze-and-excite and activation of each stage
PUBLISHED = [
    (24, 2, False, "relu"),
    (40, 2, True, "relu"),
    (80, 2, False, "hard_swish"),
    (112, 1, True, "hard_swish"),
    (160, 2, True, "hard_swish"),
]


@pytest.fixture(scope="module")
def imagenet() -> MobileNetV3:
    return MobileNetV3((3, 224, 224), 1000)


def largest_by_hand() -> tuple[int, int]:
    """MACs and parameters of depth 4, kernel 7, expand ratio 6 everywhere, at 3x224x224 and 1000 classes.

    Written from the paper's table and not from this package. Batch norm has two parameters a channel and no MACs.
    """
    side = 112
    total_macs = side**2 * 16 * 3 * 9 + side**2 * 16 * 9 + side**2 * 16 * 16
    total_parameters = (16 * 3 * 9 + 32) + (16 * 9 + 32) + (16 * 16 + 32)
    channels = 16
    for width, stride, squeeze, _ in PUBLISHED:
        for block in range(4):
            middle = channels * 6
            total_macs += side**2 * channels * middle
            side //= stride if block == 0 else 1
            total_macs += side**2 * middle * (49 + width)
            total_parameters += channels * middle + 49 * middle + middle * width + 4 * middle + 2 * width
            if squeeze:
                squeezed = {240: 64, 144: 40, 480: 120, 672: 168, 960: 240}[middle]  # a quarter, in multiples of 8
                total_macs += 2 * middle * squeezed
                total_parameters += 2 * middle * squeezed + middle + squeezed
            channels = width
    total_macs += side**2 * 160 * 960 + 960 * 1280 + 1280 * 1000
    total_parameters += 160 * 960 + 2 * 960 + 960 * 1280 + 1280 + 1280 * 1000 + 1000
    return total_macs, total_parameters


def test_the_largest_costs_what_the_published_one_costs(imagenet: MobileNetV3) -> None:
    """566 million multiply-accumulates and 7.66 million parameters."""
    largest = imagenet.largest()
    assert (macs(imagenet).evaluate([largest])[0], parameters(imagenet).evaluate([largest])[0]) == largest_by_hand()
    assert largest_by_hand()[0] == pytest.approx(566e6, abs=0.5e6)
    assert largest_by_hand()[1] == pytest.approx(7.66e6, abs=0.01e6)


def test_there_are_45_variables(imagenet: MobileNetV3) -> None:
    """For each of five stages a depth, and four times a kernel size and an expand ratio."""
    assert len(imagenet.variables) == 5 * (1 + 4 * 2) == 45
    options = {variable.name.rsplit(".", 1)[1]: variable.options for variable in imagenet.variables}
    assert options == {"depth": (2, 3, 4), "kernel_size": (3, 5, 7), "expand_ratio": (3, 4, 6)}
    assert [variable.name for variable in imagenet.variables[:4]] == [
        "stage1.depth",
        "stage1.block1.kernel_size",
        "stage1.block1.expand_ratio",
        "stage1.block2.kernel_size",
    ]


def test_there_are_93_operators(imagenet: MobileNetV3) -> None:
    """Nine for the first block of each stage, nine for all its others, and the stem, the first block and the head."""
    kinds = [operator.kind for operator in imagenet.all_operators()]
    assert len(kinds) == 5 * (9 + 9) + 3 == 93
    assert {kind: kinds.count(kind) for kind in kinds} == {"conv_bn_act": 1, "mbconv": 91, "classifier": 1}
    assert kinds[:2] == ["conv_bn_act", "mbconv"]


def test_the_number_of_architectures_is_that_of_the_paper(imagenet: MobileNetV3) -> None:
    """((3*3)^2 + (3*3)^3 + (3*3)^4)^5, about 2 * 10^19: one stage has the fifth root of it."""
    first_stage = np.array(list(itertools.product(range(3), repeat=9)))
    encodings = np.zeros((len(first_stage), 45), dtype=np.int64)
    encodings[:, :9] = first_stage
    assert len(np.unique(imagenet.canonicalize(encodings), axis=0)) == 9**2 + 9**3 + 9**4


def stages(space: MobileNetV3, architecture: Architecture) -> list[list[Operator]]:
    """The elastic blocks, a list a stage."""
    blocks = space.operators(architecture)[2:-1]
    return [list(stage) for _, stage in itertools.groupby(blocks, key=lambda block: block.attributes["out_channels"])]


@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_each_stage_is_as_published(imagenet: MobileNetV3, size: str) -> None:
    architecture = imagenet.smallest() if size == "smallest" else imagenet.largest()
    depth, kernel_size, expand_ratio = (2, 3, 3) if size == "smallest" else (4, 7, 6)
    found = stages(imagenet, architecture)
    assert [len(stage) for stage in found] == [depth] * 5
    channels, side = 16, 112
    for blocks, (width, stride, squeeze, activation) in zip(found, PUBLISHED, strict=True):
        for index, block in enumerate(blocks):
            middle = channels * expand_ratio
            assert block.input_shape == (channels, side, side)
            assert block.attributes == {
                "out_channels": width,
                "mid_channels": middle,
                "kernel_size": kernel_size,
                "stride": stride if index == 0 else 1,
                "se_channels": round_channels(middle / 4) if squeeze else 0,
                "activation": activation,
            }
            channels, side = width, side // (stride if index == 0 else 1)
    assert side == 7


def test_stem_first_block_and_head_are_as_published(imagenet: MobileNetV3) -> None:
    stem, first, *_, head = imagenet.operators(imagenet.smallest())
    assert stem.input_shape == (3, 224, 224)
    assert stem.attributes == {"out_channels": 16, "kernel_size": 3, "stride": 2, "activation": "hard_swish"}
    assert first.input_shape == (16, 112, 112)
    assert first.attributes == {
        "out_channels": 16,
        "mid_channels": 16,
        "kernel_size": 3,
        "stride": 1,
        "se_channels": 0,
        "activation": "relu",
    }
    assert head.input_shape == (160, 7, 7)
    assert head.attributes == {"num_classes": 1000, "last_channels": 960, "hidden_features": 1280}


def test_a_choice_sets_its_own_block(imagenet: MobileNetV3) -> None:
    """Each variable by its name."""
    position = {variable.name: index for index, variable in enumerate(imagenet.variables)}
    choices = list(imagenet.largest().choices)
    choices[position["stage2.depth"]] = 1
    choices[position["stage2.block3.kernel_size"]] = 0
    choices[position["stage5.block1.expand_ratio"]] = 1
    found = stages(imagenet, imagenet.architecture(choices))
    assert [len(stage) for stage in found] == [4, 3, 4, 4, 4]
    assert [block.attributes["kernel_size"] for block in found[1]] == [7, 7, 3]
    assert [block.attributes["mid_channels"] for block in found[4]] == [112 * 4, 960, 960, 960]
    assert all(block.attributes["kernel_size"] == 7 for stage in (0, 2, 3, 4) for block in found[stage])


# of the stem and the five stages; the earliest are dropped until the last stage gives at least 4 pixels a side
STRIDES = {
    224: ([2, 2, 2, 2, 1, 2], 7),
    160: ([2, 2, 2, 2, 1, 2], 5),
    128: ([2, 2, 2, 2, 1, 2], 4),
    96: ([1, 2, 2, 2, 1, 2], 6),
    64: ([1, 2, 2, 2, 1, 2], 4),
    48: ([1, 1, 2, 2, 1, 2], 6),
    33: ([1, 1, 2, 2, 1, 2], 5),
    32: ([1, 1, 2, 2, 1, 2], 4),
    28: ([1, 1, 2, 2, 1, 2], 4),
    8: ([1, 1, 1, 1, 1, 2], 4),
    5: ([1, 1, 1, 1, 1, 1], 5),
    4: ([1, 1, 1, 1, 1, 1], 4),
}


@pytest.mark.parametrize("side", STRIDES)
def test_small_images_keep_resolution(side: int) -> None:
    strides, last_side = STRIDES[side]
    space = MobileNetV3((3, side, side), 10)
    stem, _, *blocks, head = space.operators(space.smallest())
    assert [one.attributes["stride"] for one in (stem, *blocks[::2])] == strides
    assert all(one.attributes["stride"] == 1 for one in blocks[1::2])
    assert head.input_shape == (160, last_side, last_side)


def test_the_shorter_side_decides() -> None:
    space = MobileNetV3((1, 32, 224), 10)
    assert space.operators(space.smallest())[-1].input_shape == (160, 4, 28)


@pytest.mark.parametrize(
    ("width_mult", "channels"),
    [
        (1.0, (16, 24, 40, 80, 112, 160, 960, 1280)),
        (0.5, (8, 16, 24, 40, 56, 80, 480, 640)),
        (0.25, (8, 8, 16, 24, 32, 40, 240, 320)),
        (0.05, (8, 8, 8, 8, 8, 8, 48, 64)),
        (2, (32, 48, 80, 160, 224, 320, 1920, 2560)),
    ],
)
def test_all_channels_are_multiplied(width_mult: float, channels: tuple[int, ...]) -> None:
    """And rounded to multiples of 8, as MobileNet does, never to less than nine tenths."""
    space = MobileNetV3((3, 64, 64), 10, width_mult=width_mult)
    stem, first, *blocks, head = space.operators(space.smallest())
    found = (stem, *blocks[::2])
    widths = [one.attributes["out_channels"] for one in found]
    assert (*widths, head.attributes["last_channels"], head.attributes["hidden_features"]) == channels
    assert first.attributes["out_channels"] == channels[0]
    assert space.options == {"width_mult": float(width_mult)}


@pytest.mark.parametrize("width_mult", [0, -1, 0.049, 16.1, 1e9, float("nan"), float("inf")])
def test_a_width_out_of_range_is_refused(width_mult: float) -> None:
    with pytest.raises(SettingsError, match=r"width_mult of mobilenetv3 must be from 0.05 to 16, but .* came"):
        MobileNetV3((3, 32, 32), 10, width_mult=width_mult)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 9, 17)])
def test_the_supernet_takes_and_gives_what_the_space_says(shape: tuple[int, int, int]) -> None:
    space = MobileNetV3(shape, 7, width_mult=0.1)
    with torch.no_grad():
        assert space.supernet().eval()(torch.zeros(2, *shape)).shape == (2, 7)


def test_an_architecture_in_words() -> None:
    space = MobileNetV3((1, 8, 8), 10)
    assert space.describe(space.smallest()) == " | ".join(["k3e3 k3e3"] * 5)
    assert space.describe(space.largest()) == " | ".join([" ".join(["k7e6"] * 4)] * 5)


def test_the_walk_of_a_population_never_lists_operators(imagenet: MobileNetV3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays, no Python an architecture."""

    def refuse(self: object, architecture: Architecture) -> tuple[Operator, ...]:
        raise AssertionError("operators was called")

    monkeypatch.setattr(MobileNetV3, "operators", refuse)
    choices_NV = imagenet.sample_choices(1000, rng=np.random.default_rng(0))
    assert imagenet.operator_indices(choices_NV).shape == (1000, 23)


@pytest.fixture(scope="module")
def scaled() -> MobileNetV3:
    return MobileNetV3((3, 32, 48), 10, width_mult=[0.5, 1.0], resolution=[16, 24, 32])


def test_width_and_resolution_come_first_and_only_where_there_are_several(scaled: MobileNetV3) -> None:
    plain = MobileNetV3((3, 32, 48), 10)
    assert [(one.name, one.options) for one in scaled.variables[:2]] == [
        ("width_mult", (0.5, 1.0)),
        ("resolution", (16, 24, 32)),
    ]
    assert scaled.variables[2:] == plain.variables
    fixed = MobileNetV3((3, 32, 48), 10, width_mult=[0.5], resolution=24)
    assert fixed.variables == plain.variables
    assert fixed.options == {"width_mult": 0.5, "resolution": 24}
    assert scaled.options == {"width_mult": [0.5, 1.0], "resolution": [16, 24, 32]}
    assert MobileNetV3((3, 32, 48), 10, resolution=32).options == {"width_mult": 1.0}


def test_a_scaled_network_is_that_of_a_space_of_its_width(scaled: MobileNetV3) -> None:
    """At the images' own resolution operator for operator, else behind a Resize; the strides stay those of the largest."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        _, _, *rest = scaled.sample(rng).choices
        for choice, width in enumerate((0.5, 1.0)):
            plain = MobileNetV3((3, 32, 48), 10, width_mult=width)
            expected = plain.operators(plain.architecture(rest))
            assert scaled.operators(scaled.architecture([choice, 2, *rest])) == expected
            resize, *others = scaled.operators(scaled.architecture([choice, 0, *rest]))
            assert resize == Operator("resize", (3, 32, 48), {"height": 16, "width": 24})
            assert [one.attributes for one in others] == [one.attributes for one in expected]
            assert others[0].input_shape == (3, 16, 24)
            assert others[-1].input_shape[1:] == (2, 3)


def test_what_takes_the_image_is_known_exactly(scaled: MobileNetV3) -> None:
    first = {one.key for one in scaled.first_operators}
    every = {one.key for one in scaled.all_operators() if one.input_shape == (3, 32, 48)}
    assert first == every
    assert sorted(key.partition("(")[0] for key in first) == ["conv_bn_act"] * 2 + ["resize"] * 2


def test_a_fixed_resolution_is_always_resized_to() -> None:
    space = MobileNetV3((1, 8, 8), 10, resolution=6)
    assert [one.kind for one in space.first_operators] == ["resize"]
    assert all(space.operators(one)[1].input_shape == (1, 6, 6) for one in (space.smallest(), space.largest()))


def test_widths_and_resolutions_are_described(scaled: MobileNetV3) -> None:
    assert scaled.describe(scaled.smallest()) == " | ".join(["w0.5 r16", *["k3e3 k3e3"] * 5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mult": [1.0, 0.5]}, "width_mult of mobilenetv3 must go up from value to value, but 1.0, 0.5 came"),
        ({"width_mult": [0.5, 99]}, "width_mult of mobilenetv3 must be from 0.05 to 16, but 99 came"),
        ({"width_mult": []}, "width_mult of mobilenetv3 must be from 0.05 to 16, but none came"),
        ({"width_mult": [0.5, 0.5001]}, "must differ in channels.*but 0.5 and 0.5001 give the same"),
        ({"resolution": [16, 64]}, "resolution of mobilenetv3 must be whole numbers of pixels from 4 to 32.* 64 came"),
        ({"resolution": [32, 16]}, "resolution of mobilenetv3 must go up"),
    ],
)
def test_values_that_cannot_be_searched_are_refused(options: dict[str, list[float]], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        MobileNetV3((3, 32, 48), 10, **options)


def test_mixing_over_widths_says_that_it_cannot() -> None:
    """Outputs of different channels have no sum; what is expected of them has a cost all the same."""
    space = MobileNetV3((1, 8, 8), 10, width_mult=[0.1, 1.0])
    supernet = space.supernet().eval()
    uniform = [torch.full((len(one.options),), 1 / len(one.options)) for one in space.variables]
    supernet.mix(uniform)
    with torch.no_grad(), pytest.raises(SpaceError, match="which width_mult decide must give outputs of one shape"):
        supernet(torch.zeros(1, 1, 8, 8))
    cost = torch.arange(len(space.all_operators()), dtype=torch.float64)
    largest = [
        torch.nn.functional.one_hot(torch.tensor(one), count).double()
        for one, count in zip(space.largest().choices, space.num_options_V.tolist(), strict=True)
    ]
    by_hand = sum(space.all_operators().index(one) for one in space.operators(space.largest()))
    assert space.expected_cost(largest, cost).item() == by_hand


@pytest.mark.slow
def test_every_operator_exports() -> None:
    scaled = MobileNetV3((1, 8, 8), 10, width_mult=[0.1, 0.25], resolution=[6, 8])
    for space in (MobileNetV3((1, 8, 8), 10, width_mult=0.25), MobileNetV3((3, 32, 32), 10), scaled):
        SpaceContract().check_export(space, space.all_operators())
