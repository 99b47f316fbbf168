"""What a cell's paths hold, counted by hand."""

import numpy as np

from hwnas.spaces import NASBench201
from hwnas.spaces.cell_features import cell_features

CONV3, CONV1, POOL, SKIP, NONE = 4, 3, 2, 1, 0


def features(*cells):
    return NASBench201().features(np.array(cells))


def test_two_paths_counted_by_hand() -> None:
    """A cell of three nodes: the edge 0>2, and 0>1 with 1>2."""
    along = [np.array([[SKIP], [3]]), np.array([[2, 3], [0, 2]])]
    combined, occurs, summary, sequences = cell_features(along, [(1,), (0, 2)], options=4)
    assert (combined.sum(axis=1) * np.sqrt(2)).round(9).tolist() == [2, 1]  # paths that lead to the output
    assert ((occurs > 0) == (combined > 0)).all()
    assert (sequences > 0).sum(axis=1).tolist() == [2, 1]
    live, most, fewest, paths, shortcut, beside = np.split(summary, [3, 6, 11, 12, 13], axis=1)
    assert (live * np.sqrt(3)).round(9).tolist() == [[1, 1, 1], [0, 0, 1]]  # the second's 1>2 lies on no path
    assert (most * 2).tolist() == [[1, 2, 2], [1, 1, 1]]  # of operation 3; of 3 or 2; edges
    assert (fewest * 2).tolist() == [[0, 0, 0, 0, 1], [0, 1, 1, 1, 1]]  # of 2; of 3; of 3 again; of 3 or 2; edges
    assert paths.tolist() == [[1.0], [0.5]]
    assert shortcut.tolist() == [[1.0], [0.0]]
    assert (beside == shortcut * most).all()


def test_what_lies_on_no_path_makes_no_difference() -> None:
    """0>1 leads on only by 1>2 and 1>3; where these are nothing its operation is idle."""
    first, second = (CONV3, SKIP, NONE, POOL, NONE, CONV1), (POOL, SKIP, NONE, POOL, NONE, CONV1)
    for group in features(first, second):
        assert (group[0] == group[1]).all()


def test_a_skip_on_the_way_makes_the_same_sequence() -> None:
    """Convolution then skip, and skip then convolution, hold the same; by nodes 1 or 2 alike."""
    by_one = features((CONV3, NONE, NONE, NONE, SKIP, NONE), (SKIP, NONE, NONE, NONE, CONV3, NONE))
    by_two = features((NONE, CONV3, NONE, NONE, NONE, SKIP))
    for group, other in zip(by_one, by_two, strict=True):
        assert (group[0] == group[1]).all()
        assert (group[0] == other[0]).all()


def test_orders_of_operations_are_told_apart_by_sequences_alone() -> None:
    groups = features((CONV3, NONE, NONE, NONE, POOL, NONE), (POOL, NONE, NONE, NONE, CONV3, NONE))
    assert [(group[0] == group[1]).all() for group in groups] == [True] * 3 + [False]


def test_a_disconnected_cell_has_no_path() -> None:
    combined, occurs, summary, sequences = features((CONV3, CONV3, CONV3, NONE, NONE, NONE))
    for group in (combined, occurs, sequences):
        assert not group.any()
    assert (summary[0] > 0).sum() == 7  # the fewest, which say that not even a path without operations is there
