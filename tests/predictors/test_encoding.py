import numpy as np
import pytest

from hwnas.predictors import make_predictor
from hwnas.predictors.encoding import Encoding, standardized
from hwnas.spaces import MixedPrecision, MobileNetV3, NASBench201
from hwnas.testing import ToySpace


def test_a_variable_of_an_absent_part_is_of_no_option():
    space = ToySpace()  # depth, then kernel size and expand ratio of three blocks
    encoding = Encoding.of(space)
    shallow, deep = np.array([[0, 1, 0, 0, 0, 0, 0]]), np.array([[2, 0, 0, 0, 0, 0, 0]])
    assert encoding.present(shallow)[0].tolist() == [True] * 3 + [False] * 4
    assert encoding.present(deep)[0].all()
    assert encoding.groups(shallow)[0].sum() == pytest.approx(encoding.groups(deep)[0].sum() * 3 / 7)


def test_what_is_present_is_what_the_space_keeps():
    space = MobileNetV3((3, 32, 32), 10, width_mult=0.1)
    choices_NV = space.sample_choices(50, rng=np.random.default_rng(0))
    present_NV = Encoding.of(space).present(choices_NV)
    depths_NS = choices_NV[:, [v for v, one in enumerate(space.variables) if one.name.endswith("depth")]]
    blocks_N = (2 + depths_NS).sum(axis=1)
    np.testing.assert_array_equal(present_NV.sum(axis=1), 5 + 2 * blocks_N)


def test_features_of_the_space_stand_in_for_its_choices():
    space = NASBench201()
    choices_NV = space.sample_choices(7, rng=np.random.default_rng(0))
    *groups, costs_NK = Encoding.of(space).groups(choices_NV)
    for group, expected in zip(groups, space.features(choices_NV), strict=True):
        np.testing.assert_array_equal(group, expected)
    assert costs_NK.shape == (7, 2)


def test_costs_are_those_of_the_operators():
    space = ToySpace()
    one = space.largest()
    counts = [space.counts[operator] for operator in space.operators(one)]
    costs_NK = Encoding.of(space).costs(np.array([one.choices]))
    assert costs_NK.tolist() == [[sum(c.macs for c in counts), sum(c.parameters for c in counts)]]
    assert Encoding.of(space).groups(np.array([one.choices]))[-1].tolist() == np.log(costs_NK).tolist()


def test_options_are_counted_over_the_variables_that_share_them():
    encoding = Encoding(
        (("a", "b"), (3, 5), ("a", "b")),
        lambda choices_NV: np.ones(choices_NV.shape, dtype=bool),
        lambda choices_NV: np.ones((len(choices_NV), 1)),
    )
    _, _, counted, _ = encoding.groups(np.array([[0, 1, 1], [1, 0, 0]]))
    np.testing.assert_allclose(counted[0, :2], counted[1, :2])  # one "a" and one "b", wherever they stand
    assert counted[0, 2:].tolist() != counted[1, 2:].tolist()


def test_different_architectures_look_different():
    space = ToySpace()
    choices_NV = np.array([one.choices for one in space.everything()])
    features = np.hstack(Encoding.of(space).groups(choices_NV))
    assert len(np.unique(features.round(9), axis=0)) == len(choices_NV) == 84


def test_standardized_by_what_is_known():
    known = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardized(np.array([[2.0, 5.0], [4.0, 6.0]]), known).tolist() == [[0.0, 0.0], [2.0, 1.0]]


def test_precision_is_a_group_of_its_own():
    space = MixedPrecision(MobileNetV3((1, 8, 8), 10, width_mult=0.1), ["fp32", "int8"])
    encoding, networks = Encoding.of(space), Encoding.of(space.networks)
    choices_NV = space.sample_choices(9, rng=np.random.default_rng(0))
    *groups, precision_NP, costs_NK = encoding.groups(choices_NV)
    *expected, expected_costs_NK = networks.groups(choices_NV[:, :-1])
    for group, of_networks in zip(groups, expected, strict=True):
        np.testing.assert_array_equal(group, of_networks)
    np.testing.assert_array_equal(costs_NK, expected_costs_NK)
    np.testing.assert_array_equal(precision_NP.argmax(axis=1), choices_NV[:, -1])
    np.testing.assert_allclose(np.linalg.norm(precision_NP[0] - precision_NP[:, ::-1][0]), 1.0)
    assert encoding.present(choices_NV)[:, -1].all()


def test_what_is_known_of_networks_in_float_foretells_them_in_int8():
    """Errors that follow no feature much, and fall a little, by how much depending on the network, in int8."""
    space = MixedPrecision(MobileNetV3((1, 8, 8), 10, width_mult=0.1), ["fp32", "int8"])
    rng = np.random.default_rng(1)
    networks_NV = space.networks.sample_choices(60, rng=rng)
    float_N = 0.05 + 0.1 * rng.random(60)
    int8_N = 1.1 * float_N + 0.01 + 0.002 * rng.random(60)
    as_float_NV, as_int8_NV = (np.column_stack([networks_NV, np.full(60, choice)]) for choice in (1, 0))
    known, unknown = slice(0, 40), slice(40, 60)
    misses = []
    for choices, errors in (
        ([as_int8_NV[known]], [int8_N[known]]),
        ([as_int8_NV[known], as_float_NV], [int8_N[known], float_N]),
    ):
        predictor = make_predictor(space)
        predictor.fit(np.concatenate(choices), np.concatenate(errors))
        misses.append(np.abs(predictor.predict(as_int8_NV[unknown])[0] - int8_N[unknown]).mean())
    assert misses[1] < 0.25 * misses[0]
