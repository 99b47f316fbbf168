"""ToySpace, beside the contract in tests/spaces/test_contract.py."""

import math

import torch

from hwnas.testing import ToySpace
from hwnas.testing.toy_space import OneArchitecture, OneVariable


def test_it_has_84_architectures_of_ten_operators() -> None:
    space = ToySpace()
    everything = space.everything()
    assert len(everything) == len(set(everything)) == 4 + 4**2 + 4**3
    assert math.prod(int(count) for count in space.num_options_V) == 3 * 2**6
    assert len(space.all_operators()) == 10
    assert {operator for one in everything for operator in space.operators(one)} == set(space.all_operators())


def test_everything_is_in_order_and_in_the_space() -> None:
    space = ToySpace()
    everything = space.everything()
    assert everything[0] == space.smallest()
    assert everything[-1] == space.largest()
    assert all(space.architecture(one.choices) == one for one in everything)


def test_choices_set_their_own_block() -> None:
    space = ToySpace()
    blocks = space.operators(space.architecture([2, 1, 0, 0, 1, 1, 1]))[1:-1]
    assert [block.attributes["kernel_size"] for block in blocks] == [5, 3, 5]
    assert [block.attributes["mid_channels"] for block in blocks] == [4, 12, 12]
    assert space.describe(space.architecture([1, 1, 0, 0, 1, 0, 0])) == "k5m4 k3m12"


def test_it_takes_other_shapes() -> None:
    torch.set_num_threads(1)
    space = ToySpace((3, 9, 7), num_classes=5)
    with torch.no_grad():
        for architecture in (space.smallest(), space.largest()):
            assert space.build(architecture).eval()(torch.zeros(2, 3, 9, 7)).shape == (2, 5)
            assert space.supernet().eval().subnet(architecture)(torch.zeros(2, 3, 9, 7)).shape == (2, 5)


def test_there_are_smaller_ones() -> None:
    by_depth = OneVariable().everything()
    assert [one.choices for one in by_depth] == [(0,), (1,), (2,)]
    assert [len(OneVariable().operators(one)) for one in by_depth] == [3, 4, 5]
    assert [one.choices for one in OneArchitecture().everything()] == [(0,) * 7]
    assert OneArchitecture().neighbors(OneArchitecture().smallest()) == []
