"""How a predictor sees architectures: as groups of features, the same for every space.

Suffixes: N architectures, C architectures with one choice changed, V variables, F features, K costs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwnas.spaces import IntArray, MixedPrecision, SearchSpace

__all__ = ["Encoding"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Options = tuple[int | float | str, ...]


@dataclass(frozen=True)
class Encoding:
    """What of an architecture its error may depend on.

    Attributes:
        options: of each variable.
        present: for canonical choices (N, V), which variables are of a part that is there, (N, V).
        costs: for canonical choices (N, V), positive costs, (N, K); MACs are the first.
        features: for canonical choices (N, V), groups of features that stand in for the choices, (N, F) each; no group
            where the choices are to be seen themselves.
    """

    options: tuple[Options, ...]
    present: Callable[[IntArray], BoolArray]
    costs: Callable[[IntArray], FloatArray]
    features: Callable[[IntArray], list[FloatArray]] = lambda _choices_NV: []

    @staticmethod
    def of(space: SearchSpace) -> "Encoding":
        """The encoding of a space: its variables, and the MACs and parameters of its networks.

        Precision is a group of its own, so that a predictor learns by itself how much of an error follows from it: where
        that is little, what was found of a network in one precision tells of the others.
        """
        if isinstance(space, MixedPrecision):
            return _in_precisions(Encoding.of(space.networks), space.precisions)
        counts = [space.counts[operator] for operator in space.all_operators()]
        macs = np.array([one.macs for one in counts], dtype=np.float64)
        parameters = np.array([one.parameters for one in counts], dtype=np.float64)
        return Encoding(
            tuple(variable.options for variable in space.variables),
            lambda choices_NV: _present(space, choices_NV),
            lambda choices_NV: np.stack(space.total_costs(choices_NV, [macs, parameters]), axis=1),
            space.features,
        )

    def groups(self, choices_NV: IntArray) -> list[FloatArray]:
        """The features of canonical choices, (N, F) each.

        In this order: which option each variable has; where that option stands among the variable's, from small to large;
        how often each option is chosen, over all variables of the same options; the logarithms of the costs. A variable of
        an absent part is of no option. The groups are scaled to be of one size, the costs in e-folds. Where the space has
        features of its own, these stand in for all but the costs.
        """
        costs_NK = np.log(np.maximum(self.costs(choices_NV), 1.0))
        return [*(self.features(choices_NV) or self._choice_groups(choices_NV)), costs_NK]

    def _choice_groups(self, choices_NV: IntArray) -> list[FloatArray]:
        present_NV = self.present(choices_NV)
        chosen = [self._chosen(choices_NV, present_NV, variable) for variable in range(len(self.options))]
        last_V = np.array([max(len(options) - 1, 1) for options in self.options])
        ordinal_NV = np.where(present_NV, choices_NV / last_V - 0.5, 0.0)
        root = np.sqrt(len(self.options))
        counts = [
            np.sum([chosen[one] for one in alike], axis=0) / np.sqrt(len(alike)) for alike in self._alike().values()
        ]
        counted_NF = np.hstack(counts)
        return [
            np.hstack(chosen) / (np.sqrt(2) * root),
            1.5 * ordinal_NV / root,
            counted_NF / np.sqrt(counted_NF.shape[1]),
        ]

    def _chosen(self, choices_NV: IntArray, present_NV: BoolArray, variable: int) -> FloatArray:
        """One column for each option of a variable, 1 where it is chosen."""
        options = np.arange(len(self.options[variable]))
        chosen_NO = (choices_NV[:, variable, None] == options) & present_NV[:, variable, None]
        return np.asarray(chosen_NO, dtype=np.float64)

    def _alike(self) -> dict[Options, list[int]]:
        """The variables that have the same options."""
        found: dict[Options, list[int]] = {}
        for variable, options in enumerate(self.options):
            found.setdefault(options, []).append(variable)
        return found


def _in_precisions(networks: Encoding, precisions: Options) -> Encoding:
    """The encoding of choices that end with the precision, of which no cost depends."""

    def features(choices_NV: IntArray) -> list[FloatArray]:
        *groups, _ = networks.groups(choices_NV[:, :-1])
        return [*groups, np.eye(len(precisions))[choices_NV[:, -1]] / np.sqrt(2)]

    return Encoding(
        (*networks.options, precisions),
        lambda choices_NV: np.pad(networks.present(choices_NV[:, :-1]), ((0, 0), (0, 1)), constant_values=True),
        lambda choices_NV: networks.costs(choices_NV[:, :-1]),
        features,
    )


def _present(space: SearchSpace, choices_NV: IntArray) -> BoolArray:
    """Which variables are of a part that is there: where another choice than the first would not be canonicalised away."""
    present_NV = choices_NV > 0
    rows, variables = np.nonzero(~present_NV & (space.num_options_V > 1))
    changed_CV, each = choices_NV[rows], np.arange(len(rows))
    changed_CV[each, variables] = 1
    present_NV[rows, variables] = space.canonicalize(changed_CV)[each, variables] > 0
    return present_NV


def standardized(costs_NK: FloatArray, like_NK: FloatArray) -> FloatArray:
    """`costs_NK` shifted and scaled so that `like_NK` has mean 0 and deviation 1 (or 0 where all are alike)."""
    spread_K = like_NK.std(axis=0)
    scaled: FloatArray = (costs_NK - like_NK.mean(axis=0)) / np.where(spread_K > 1e-9, spread_K, 1.0)
    return scaled
