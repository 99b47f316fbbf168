"""What lemonade and nash have in common: the steps from one architecture to the next, and the scale of their objectives.

A step changes one variable. In spaces that know network morphisms it either keeps the function of the parent's network (to
widen, to deepen, to add a skip connection) or comes near it (to prune, to replace by a cheaper block).

Suffixes: N architectures, V variables, M objectives.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.history import History
from hwnas.strategies.proposals import Proposals

__all__ = ["candidates_from", "logarithmic", "steps_from"]

FloatArray = npt.NDArray[np.float64]


def steps_from(space: SearchSpace, proposals: Proposals, parent_V: IntArray) -> list[IntArray]:
    """The worthwhile steps from `parent_V`, arrays (n, V), by kind: those that keep the function come before the others.

    A kind of which there is none is left out: at a dead end the list is empty.
    """
    children_NV = proposals.worthwhile(space.neighbor_choices(parent_V))
    parent, *children = space.architectures(np.concatenate([parent_V[None], children_NV]))
    keeps_N = np.array([space.keeps_function(parent, child) for child in children], dtype=bool)
    return [kind_NV for kind_NV in (children_NV[keeps_N], children_NV[~keeps_N]) if len(kind_NV)]


def candidates_from(space: SearchSpace, history: History, parents: Mapping[tuple[int, ...], int]) -> list[Candidate]:
    """Candidates from the choices of each child and its parent's row in `history`; no parent where that one failed."""
    if not parents:
        return []
    rows = list(parents.values())
    made = space.architectures(np.array(list(parents), dtype=np.int64))
    known = space.architectures(history.choices_NV[rows])
    failed = set(np.flatnonzero(np.isnan(history.values_NM).any(axis=1)).tolist())
    return [Candidate(child, None if row in failed else one) for child, one, row in zip(made, known, rows, strict=True)]


def logarithmic(values_NM: FloatArray) -> FloatArray:
    """Logarithms of the objectives that are positive throughout, the others as they are: half is half at either end.

    Networks differ in size and in error by orders of magnitude, and what is missing stays NaN.
    """
    positive_M = np.nanmin(values_NM, axis=0, initial=np.inf) > 0
    logarithms_NM: FloatArray = np.where(positive_M, np.log(np.where(positive_M, values_NM, 1.0)), values_NM)
    return logarithms_NM
