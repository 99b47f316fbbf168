"""What is particular to nas_bench_macro, against the published benchmark."""

import numpy as np
import pytest

from hwnas.benchmarks import load_nas_bench_macro
from hwnas.objectives import macs, parameters
from hwnas.spaces import Architecture, NASBenchMacro, Operator
from hwnas.testing.space_contract import SpaceContract


@pytest.fixture(scope="module")
def space() -> NASBenchMacro:
    return NASBenchMacro()


@pytest.mark.parametrize("objective", [parameters, macs])
def test_all_6561_cost_what_is_published(space: NASBenchMacro, objective) -> None:
    """To the last parameter and multiply-accumulate; batch norm has parameters and no MACs."""
    published = load_nas_bench_macro()
    costs = objective(space).operator_costs
    total_N = space.total_costs(published.choices_NV, [costs])[0]
    assert len(total_N) == 3**8
    np.testing.assert_array_equal(total_N, published.records[objective.__name__])


def test_the_smallest_costs_what_it_does_by_hand(space: NASBenchMacro) -> None:
    """Stem, three projections, head."""
    by_hand = 32**2 * 27 * 32 + 16**2 * 32 * 64 + 8**2 * 64 * 128 + 4**2 * 128 * 256 + 4**2 * 256 * 1280 + 1280 * 10
    assert macs(space).evaluate([space.smallest()]) == [by_hand]


def test_there_are_eight_blocks_in_three_stages(space: NASBenchMacro) -> None:
    assert [variable.name for variable in space.variables] == [
        *(f"stage1.block{block}" for block in (1, 2)),
        *(f"stage{stage}.block{block}" for stage in (2, 3) for block in (1, 2, 3)),
    ]
    assert {variable.options for variable in space.variables} == {("identity", "k3_e3", "k5_e6")}
    assert space.input_shape == (3, 32, 32)
    assert space.num_classes == 10


def blocks(space: NASBenchMacro, choices: list[int]) -> list[Operator]:
    return list(space.operators(space.architecture(choices)))[1:-1]


def test_blocks_are_as_published(space: NASBenchMacro) -> None:
    found = blocks(space, [1, 2, 0, 0, 2, 0, 1, 0])
    assert [one.kind for one in found] == ["mbconv", "mbconv", "conv_bn_act", "mbconv", "conv_bn_act", "mbconv"]
    assert [one.input_shape for one in found] == [
        (32, 32, 32),
        (64, 16, 16),
        (64, 16, 16),
        (128, 8, 8),
        (128, 8, 8),
        (256, 4, 4),
    ]
    first, second, projection, fourth, _, last = (one.attributes for one in found)
    assert first == {"out_channels": 64, "mid_channels": 96, "kernel_size": 3, "stride": 2, "activation": "relu"}
    assert second == {"out_channels": 64, "mid_channels": 384, "kernel_size": 5, "stride": 1, "activation": "relu"}
    assert projection == {"out_channels": 128, "kernel_size": 1, "stride": 2, "activation": "identity"}
    assert (fourth["mid_channels"], last["mid_channels"]) == (768, 768)


def test_there_are_17_operators(space: NASBenchMacro) -> None:
    """Three for the first block of each stage, two for its others, the stem and the head."""
    kinds = [operator.kind for operator in space.all_operators()]
    assert len(kinds) == 3 * (3 + 2) + 2 == 17
    assert {kind: kinds.count(kind) for kind in kinds} == {"conv_bn_act": 4, "mbconv": 12, "pooled_classifier": 1}


def test_encodings_are_those_published_and_3969_networks_differ(space: NASBenchMacro) -> None:
    """Networks that are equal but for the place of an identity have one published record."""
    published = load_nas_bench_macro()
    np.testing.assert_array_equal(space.canonicalize(published.choices_NV), published.choices_NV)
    indices_NL = np.sort(space.operator_indices(published.choices_NV), axis=1)
    sequences = {}
    for choices, accuracy in zip(published.choices_NV.tolist(), published.records["test_accuracy"], strict=True):
        sequences.setdefault(space.operators(Architecture(space.name, tuple(choices))), set()).add(accuracy)
    assert len(sequences) == 3969 > len(np.unique(indices_NL, axis=0))
    assert {len(accuracies) for accuracies in sequences.values()} == {1}


@pytest.mark.parametrize(
    ("side", "sides"),
    [(32, [32, 16, 8, 4]), (28, [28, 14, 7, 4]), (64, [64, 32, 16, 8]), (16, [16, 16, 8, 4]), (8, [8, 8, 8, 4])],
)
def test_small_images_keep_resolution(side: int, sides: list[int]) -> None:
    space = NASBenchMacro((1, side, side), 7)
    found = space.operators(space.largest())
    assert [found[index].input_shape[1] for index in (1, 2, 4, 9)] == sides


@pytest.mark.slow
def test_every_operator_exports(space: NASBenchMacro) -> None:
    SpaceContract().check_export(space, space.all_operators())
