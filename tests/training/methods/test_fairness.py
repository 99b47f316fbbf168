from collections import Counter

import numpy as np

from hwnas.spaces import NASBenchMacro
from hwnas.testing import ToySpace
from hwnas.training.methods import Fairness
from hwnas.training.methods.fairness import fair_architectures


def test_every_option_of_every_variable_is_trained_once_a_step():
    space = NASBenchMacro()
    for seed in range(20):
        drawn = fair_architectures(space, rng=np.random.default_rng(seed))
        assert len(drawn) == 3
        for column in zip(*(one.choices for one in drawn), strict=True):
            assert sorted(column) == [0, 1, 2]


def test_variables_with_fewer_options_show_them_equally_often():
    space = ToySpace()
    most = int(space.num_options_V.max())
    counts = [Counter() for _ in space.variables]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        raw = np.array([one.choices for one in fair_architectures(space, rng=rng)])
        assert len(raw) == most
        for counter, column in zip(counts, raw.T, strict=True):
            counter.update(column.tolist())
    always_read = [index for index, variable in enumerate(space.variables) if "depth" in variable.name]
    for index in always_read:
        expected = 60 * most / int(space.num_options_V[index])
        assert all(abs(count - expected) <= 60 for count in counts[index].values())


def test_each_path_is_passed_back(space, network, passes):
    given = passes()
    Fairness(space).step(network, given.step)
    assert len(given.losses) == len(given.architectures) == 3
    assert len(set(given.architectures)) > 1
