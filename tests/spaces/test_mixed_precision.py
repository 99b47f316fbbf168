"""MixedPrecision: the networks of a space, each in one of several precisions."""

import numpy as np
import pytest
import torch

from hwnas.checks.operators import one_hot
from hwnas.errors import SpaceError, UnknownNameError
from hwnas.spaces import MixedPrecision, MobileNetV3, NASBench201, NASBenchMacro, SearchSpace
from hwnas.testing import SpaceContract, ToySpace


class TestMixedNASBenchMacro(SpaceContract):
    with_weights = False
    num_architectures = 12
    num_exports = 1

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        return MixedPrecision(NASBenchMacro((1, 16, 16), 3), ["int8", "fp16", "fp32"])


@pytest.fixture
def space() -> MixedPrecision:
    return MixedPrecision(ToySpace(), ["fp32", "int8"])


def test_an_architecture_is_a_network_and_a_precision(space):
    assert space.name == "toy-int8-fp32"
    assert space.variables[-1].name == "precision"
    assert space.variables[-1].options == ("int8", "fp32")
    network, precision = space.split(space.largest())
    assert (network, precision) == (space.networks.largest(), "fp32")
    assert space.join(network, precision) == space.largest()
    assert space.describe(space.smallest()) == f"{space.networks.describe(space.networks.smallest())} in int8"
    assert space.identity()["networks"] == "toy"
    assert space.identity()["precisions"] == ["int8", "fp32"]


def test_the_order_in_which_precisions_come_makes_no_difference(space):
    assert MixedPrecision(ToySpace(), ["int8", "fp32"]).identity() == space.identity()


def test_costs_are_those_of_the_networks_in_the_block_of_their_precision(space):
    costs_O = np.random.default_rng(0).random(len(space.networks.all_operators()))
    choices_NV = space.sample_choices(50, rng=np.random.default_rng(1))
    of_network_N = space.networks.total_costs(choices_NV[:, :-1], [costs_O])[0]
    found_N, twice_N = space.total_costs(choices_NV, [np.r_[costs_O, 3 * costs_O], np.r_[costs_O, costs_O] * 2])
    np.testing.assert_allclose(found_N, np.where(choices_NV[:, -1] == 1, 3.0, 1.0) * of_network_N)
    np.testing.assert_allclose(twice_N, 2 * of_network_N)


def test_the_expected_cost_of_certain_choices_is_their_cost():
    space = MixedPrecision(MobileNetV3((1, 8, 8), 3, width_mult=0.1), ["fp32", "int8"])
    costs = np.random.default_rng(0).random(len(space.all_operators()))
    architecture = space.sample(np.random.default_rng(2))
    weights = [weight.double() for weight in one_hot(space, architecture)]
    [expected] = space.total_costs(np.array([architecture.choices]), [costs])[0]
    assert space.expected_cost(weights, torch.from_numpy(costs)).item() == pytest.approx(expected)


def test_networks_are_built_and_inherited_whatever_the_precision(space):
    parent, child = space.smallest(), space.join(space.networks.smallest(), "fp32")
    network = space.build(parent)
    inherited = space.inherit(network, parent, child)
    assert space.keeps_function(parent, child)
    assert not space.keeps_function(parent, space.largest())
    for name, value in network.state_dict().items():
        assert torch.equal(inherited.state_dict()[name], value)


def test_a_space_of_cells_says_what_is_connected_and_how():
    space = MixedPrecision(NASBench201((1, 8, 8), 3), ["fp32", "int8"])
    choices_NV = space.sample_choices(20, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(space.is_connected(choices_NV), space.networks.is_connected(choices_NV[:, :-1]))
    paths_NF = space.networks.path_encoding(choices_NV[:, :-1])
    found_NF = space.path_encoding(choices_NV)
    np.testing.assert_array_equal(found_NF[:, :-2], paths_NF)
    np.testing.assert_array_equal(found_NF[:, -2:].argmax(axis=1), choices_NV[:, -1])


def test_it_has_no_supernet_of_its_own(space):
    with pytest.raises(SpaceError, match=r"must be trained as networks.*Train that of toy"):
        space.supernet()


@pytest.mark.parametrize("precisions", [[], ["fp32"], ["fp32", "fp32"]])
def test_too_few_precisions_are_refused(precisions):
    with pytest.raises(SpaceError, match="two or more precisions"):
        MixedPrecision(ToySpace(), precisions)


def test_an_unknown_precision_is_refused_and_so_is_a_mixture_of_mixtures(space):
    with pytest.raises(UnknownNameError, match="Did you mean 'int8'"):
        MixedPrecision(ToySpace(), ["fp32", "int4"])
    with pytest.raises(SpaceError, match="a space of networks"):
        MixedPrecision(space, ["fp32", "int8"])
