import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwnas.testing.generators import global_states, scramble


@pytest.mark.parametrize("draw", [random.random, np.random.random, lambda: torch.rand(1)])
def test_a_draw_shows_in_the_states(draw: Callable[[], object]) -> None:
    before = global_states()
    assert global_states() == before
    draw()
    assert global_states() != before


def test_scrambling_moves_every_generator() -> None:
    states = []
    for seed in (1, 2, 1):
        scramble(seed)
        states.append(global_states())
    assert states[0] == states[2]
    assert all(one != other for one, other in zip(states[0], states[1], strict=True))
