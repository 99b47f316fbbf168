"""The global random generators, which nothing here may read or move: whatever is random takes a generator of its own."""

import random
from typing import Any

import numpy as np
import torch

__all__ = ["global_states", "scramble"]


def global_states() -> tuple[Any, ...]:
    """The states of Python's, NumPy's and torch's global generators, to be compared."""
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, np.asarray(keys).tolist(), *rest), torch.random.get_rng_state().tolist()


def scramble(seed: int) -> None:
    """Puts the global generators elsewhere."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
