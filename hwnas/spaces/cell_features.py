"""What decides how good a cell is: the operations that images pass through, path by path.

The error of a cell depends little on which edge an operation lies on, and not at all on edges that lead nowhere. What its
paths from input to output hold (Wei et al., NPENAS, 2020; White et al., BANANAS, AAAI 2021), with skips left out since they
change nothing, says more with far fewer evaluations.

Suffixes: N cells, P paths, E edges of a path, K operations other than none and skip, F features.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["cell_features"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]

NONE: Final = 0
SKIP: Final = 1


def cell_features(
    along_PNE: Sequence[IntArray], edges_PE: Sequence[Sequence[int]], *, options: int
) -> list[FloatArray]:
    """Four groups of features, (N, F) each, of about one size.

    The groups: how many paths hold each combination of operations; whether one does; how many edges that lie on a path
    have each operation, the most and the fewest operations that a path holds, how many paths there are, and whether one of
    them is a shortcut without operations, by itself and beside what the others hold; how many paths hold each sequence of
    operations.

    Args:
        along_PNE: for each path from input to output the options along it, (N, E): 0 is none, 1 a skip.
        edges_PE: for each path the edges that it takes.
        options: of an edge, none and skip included.
    """
    kinds = range(SKIP + 1, options)
    paths, longest = len(along_PNE), max(along_NE.shape[1] for along_NE in along_PNE)
    leads_PN = np.array([(along_NE > NONE).all(axis=1) for along_NE in along_PNE])
    counts_PKN = np.array([[(along_NE == kind).sum(axis=1) for kind in kinds] for along_NE in along_PNE])
    codes_PN = np.tensordot((longest + 1) ** np.arange(len(kinds)), counts_PKN, (0, 1))
    combined_NF = _counted(codes_PN, leads_PN, (longest + 1) ** len(kinds)) / np.sqrt(paths)
    live_NF = _live(along_PNE, edges_PE, leads_PN, options)
    most_NF, fewest_NF = _extents(along_PNE, counts_PKN, leads_PN)
    shortcut_N1 = (leads_PN & (counts_PKN.sum(axis=1) == 0)).any(axis=0)[:, None].astype(np.float64)
    shares_N1 = leads_PN.mean(axis=0)[:, None]
    return [
        combined_NF,
        np.where(combined_NF > 0, 1 / np.sqrt(paths), 0.0),
        np.hstack([live_NF, most_NF, fewest_NF, shares_N1, shortcut_N1, shortcut_N1 * most_NF]),
        _counted(_sequences(along_PNE, options - SKIP), leads_PN, (options - SKIP) ** longest) / np.sqrt(paths),
    ]


def _extents(
    along_PNE: Sequence[IntArray], counts_PKN: IntArray, leads_PN: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """The most and the fewest operations that a path to the output holds, (N, F) each, as shares of the longest path.

    Both of the largest operation, of the two largest together, and so on; the fewest of each alone too; both of edges.
    """
    lengths_P1N = np.array([np.full((1, len(along_NE)), along_NE.shape[1]) for along_NE in along_PNE])
    longest = lengths_P1N.max()
    together_PKN = np.cumsum(counts_PKN[:, ::-1], axis=1)
    most_PFN = np.concatenate([together_PKN, lengths_P1N], axis=1)
    fewest_PFN = np.concatenate([counts_PKN, together_PKN, lengths_P1N], axis=1)
    most_FN = np.where(leads_PN[:, None], most_PFN, 0).max(axis=0)
    fewest_FN = np.where(leads_PN[:, None], fewest_PFN, longest).min(axis=0)
    return most_FN.T / longest, fewest_FN.T / longest


def _counted(code_PN: IntArray, leads_PN: npt.NDArray[np.bool_], codes: int) -> FloatArray:
    """How many of the paths that lead to the output have each code, (N, F)."""
    found_NF = np.zeros((code_PN.shape[1], codes))
    for code_N, leads_N in zip(code_PN, leads_PN, strict=True):
        found_NF[np.flatnonzero(leads_N), code_N[leads_N]] += 1
    return found_NF


def _sequences(along_PNE: Sequence[IntArray], base: int) -> IntArray:
    """A number for the sequence of operations along each path, skips left out, (P, N)."""
    codes = []
    for along_NE in along_PNE:
        code_N = np.zeros(len(along_NE), dtype=np.int64)
        for option_N in along_NE.T:
            code_N = np.where(option_N > SKIP, code_N * base + option_N - SKIP, code_N)
        codes.append(code_N)
    return np.array(codes)


def _live(
    along_PNE: Sequence[IntArray], edges_PE: Sequence[Sequence[int]], leads_PN: npt.NDArray[np.bool_], options: int
) -> FloatArray:
    """How many edges that lie on a path to the output have each option but none, (N, F), over the root of all edges."""
    edges = 1 + max(edge for path in edges_PE for edge in path)
    live_NE = np.zeros((leads_PN.shape[1], edges), dtype=np.int64)
    for along_NE, path, leads_N in zip(along_PNE, edges_PE, leads_PN, strict=True):
        for option_N, edge in zip(along_NE.T, path, strict=True):
            live_NE[leads_N, edge] = option_N[leads_N]
    counts_FN = np.array([(live_NE == option).sum(axis=1) for option in range(SKIP, options)])
    live_NF: FloatArray = counts_FN.T / np.sqrt(edges)
    return live_NF
