import pytest

from hwnas.errors import SettingsError
from hwnas.training.methods import SinglePath


@pytest.mark.parametrize("paths", [1, 3])
def test_random_paths_whose_gradients_are_averaged(space, network, passes, paths):
    given = passes()
    trained = SinglePath(space, paths=paths).step(network, given.step)
    assert len(given.architectures) == len(given.losses) == paths
    assert given.losses[-1] == pytest.approx(trained.loss.item() / paths)


def test_paths_are_drawn_anew_each_step(space, network, passes):
    method = SinglePath(space)
    drawn = set()
    for seed in range(5):
        given = passes(seed=seed)
        method.step(network, given.step)
        drawn.update(given.architectures)
    assert len(drawn) == 5


@pytest.mark.parametrize("paths", [0, 65, 1.5])
def test_options_out_of_range_are_refused(space, paths):
    with pytest.raises(SettingsError, match="paths of single_path"):
        SinglePath(space, paths=paths)
