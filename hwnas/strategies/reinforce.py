"""REINFORCE: a policy that writes architectures and is rewarded for good ones.

Suffixes: N architectures, V variables, M objectives, K targets, W architectures that the controller wrote last.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hwnas.front import Candidate, Evaluation
from hwnas.objectives import Objective
from hwnas.spaces import IntArray, SearchSpace
from hwnas.strategies.controller import Controller
from hwnas.strategies.hyperparameters import require_count, require_share
from hwnas.strategies.proposals import Proposals
from hwnas.strategies.search_strategy import SearchStrategy

__all__ = ["REINFORCE", "soft_rewards"]

FloatArray = npt.NDArray[np.float64]

MAX_TRIES: Final = 10
"""How often architectures are drawn for a target, until one is new and within the bounds of the cheap objectives."""
DRAWN: Final = 16
"""Architectures that are drawn for a target at a time."""
CONCENTRATION: Final = 0.5
"""Of the Dirichlet distribution of targets: below 1 some objectives are often asked to be nearly the best."""
WITHIN: Final = -0.07
"""Exponent of an objective that meets its target: MnasNet's."""
ABOVE: Final = -1.0
"""Exponent of an objective that misses it: MnasNet's where a latency is a hard constraint."""
OFFSET: Final = 0.05
"""Added to scaled values and targets, so that the best value is no division by zero."""
PENALTY: Final = 10.0
"""Taken off the logarithm of the reward for each time that an architecture is above a bound."""
MOST_PENALTY: Final = 1e4
"""Taken off for a failed evaluation."""
MOST_UNITS: Final = 4096


class REINFORCE(SearchStrategy):
    """An LSTM controller trained by policy gradient to reach targets.

    The controller and its training are Zoph & Le's (ICLR 2017; Williams' REINFORCE, 1992). It is shown a target for each
    objective, drawn anew for each architecture so that targets sweep the front; the reward is MnasNet's (Tan et al., CVPR
    2019), in which every objective is held against its target. A reward counts by its rank among those that all
    architectures told would have earned at the same target. Between evaluations the controller is shown further targets
    with the best that was told for each, whatever that was written for (self-imitation: Oh et al., ICML 2018; hindsight:
    Andrychowicz et al., NeurIPS 2017).

    Args:
        space: to search.
        objectives: to minimise, within their bounds.
        rng: of everything random.
        initial_size: random architectures before the controller writes any.
        batch_size: architectures asked for at a time after that.
        hidden_units: of the LSTM.
        learning_rate: of Adam.
        updates: of the controller after each batch.
        replay_size: targets that are replayed in an update.
        elite_share: of all architectures told, the best at a target, that are replayed.
        entropy_weight: of the entropy of the controller's choices in what it maximises.

    Raises:
        SettingsError: a hyperparameter out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        rng: np.random.Generator,
        initial_size: int = 20,
        batch_size: int = 10,
        hidden_units: int = 32,
        learning_rate: float = 0.01,
        updates: int = 10,
        replay_size: int = 64,
        elite_share: float = 0.05,
        entropy_weight: float = 0.02,
    ) -> None:
        self._initial_size = require_count("initial_size of reinforce", initial_size)
        self._batch_size = require_count("batch_size of reinforce", batch_size)
        self._updates = require_count("updates of reinforce", updates)
        self._replay_size = require_count("replay_size of reinforce", replay_size)
        self._elite_share = require_share("elite_share of reinforce", elite_share)
        self._entropy_weight = require_share("entropy_weight of reinforce", entropy_weight)
        require_count("hidden_units of reinforce", hidden_units, most=MOST_UNITS)
        require_share("learning_rate of reinforce", learning_rate)
        self._space, self._objectives, self._rng = space, tuple(objectives), rng
        self._proposals = Proposals(space, objectives, rng)
        self._controller = Controller(
            space.num_options_V, len(objectives), hidden_units=hidden_units, learning_rate=learning_rate, rng=rng
        )
        self._targets_WM = np.zeros((0, len(objectives)))

    def ask(self) -> list[Candidate]:
        """Random architectures of every size at first; then one for each of some targets, if the controller has a new one.

        Raises:
            InfeasibleError: no architecture was found that meets the bounds of the cheap objectives.
        """
        self._targets_WM = np.zeros((0, len(self._objectives)))
        if len(self._proposals.history) == 0:
            return self._candidates(self._proposals.of_every_size(self._initial_size))
        targets_KM = self._draw_targets(self._batch_size)
        found = self._write(targets_KM)
        if not found:
            return self._candidates(self._proposals.uniform(self._batch_size))
        self._targets_WM = targets_KM[list(found)]
        return self._candidates(np.array(list(found.values()), dtype=np.int64))

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Updates the controller by what it wrote last, and by the best of all that was told."""
        self._proposals.tell(evaluations)
        history = self._proposals.history
        choices_NV, violations_N = history.choices_NV, history.violations_N
        if not np.isfinite(violations_N).any():
            return
        scaled_NM = _scaled(history.values_NM, violations_N)
        place = {choices: index for index, choices in enumerate(map(tuple, choices_NV.tolist()))}
        written = [place[one.architecture.choices] for one in evaluations[: len(self._targets_WM)]]
        written_W, targets_WM = np.array(written, dtype=np.intp), self._targets_WM[: len(written)]
        ranks_W = _ranks(soft_rewards(scaled_NM, violations_N, targets_WM), written_W)
        advantages_W = (ranks_W - 0.5) / max(len(written), 1)
        for _ in range(self._updates):
            targets_KM = self._draw_targets(self._replay_size)
            best_K = self._draw_best(soft_rewards(scaled_NM, violations_N, targets_KM))
            self._controller.learn(
                choices_NV[np.concatenate([written_W, best_K])],
                np.concatenate([targets_WM, targets_KM]),
                weights_N=np.concatenate([advantages_W, np.full(len(best_K), 1 / len(best_K))]),
                entropy_weight=self._entropy_weight,
            )

    def state_dict(self) -> dict[str, Any]:
        """What was told, the generator and the controller."""
        return {**self._proposals.state_dict(), "controller": self._controller.to_json()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See SearchStrategy.load_state_dict."""
        self._controller.load_json(state["controller"])
        self._proposals.load_state_dict(state)

    def _candidates(self, choices_NV: IntArray) -> list[Candidate]:
        return [Candidate(one) for one in self._space.architectures(choices_NV)]

    def _draw_targets(self, count: int) -> FloatArray:
        """Targets (count, M) that sum to 1, where 0 is the best value told of an objective and 1 the worst."""
        return self._rng.dirichlet(np.full(len(self._objectives), CONCENTRATION), size=count)

    def _write(self, targets_KM: FloatArray) -> dict[int, tuple[int, ...]]:
        """For targets, by their index, new choices that the controller writes; none where all that it writes is known."""
        found: dict[int, tuple[int, ...]] = {}
        for _ in range(MAX_TRIES):
            missing = [index for index in range(len(targets_KM)) if index not in found]
            if not missing:
                break
            whose_N = np.repeat(missing, DRAWN)
            drawn_NV = self._space.canonicalize(self._controller.sample(targets_KM[whose_N], rng=self._rng))
            index_of = dict(zip(map(tuple, drawn_NV[::-1].tolist()), whose_N[::-1].tolist(), strict=True))
            for choices in map(tuple, self._proposals.worthwhile(drawn_NV).tolist()):
                if choices not in found.values():
                    found.setdefault(index_of[choices], choices)
        return found

    def _draw_best(self, rewards_KN: FloatArray) -> npt.NDArray[np.intp]:
        """For each target one of the architectures with the highest rewards, (K,)."""
        elite = max(1, round(self._elite_share * rewards_KN.shape[1]))
        order_KN = np.argsort(-rewards_KN, axis=1, kind="stable")
        return order_KN[np.arange(len(order_KN)), self._rng.integers(elite, size=len(order_KN))]


def soft_rewards(scaled_NM: FloatArray, violations_N: FloatArray, targets_KM: FloatArray) -> FloatArray:
    """The logarithms of the rewards of architectures at targets, (K, N).

    Each objective is a factor (value / target) ** w, w = -0.07 up to the target and -1 above it.

    Args:
        scaled_NM: values, from 0 (best) to 1 (worst).
        violations_N: how far each is above its bounds, infinite where its evaluation failed; lowers the reward.
        targets_KM: on the scale of the values.
    """
    logs_KNM = np.log((scaled_NM + OFFSET) / (targets_KM[:, None] + OFFSET))
    rewards_KN = (logs_KNM * np.where(logs_KNM > 0, ABOVE, WITHIN)).sum(axis=2)
    penalized_KN: FloatArray = rewards_KN - np.minimum(PENALTY * violations_N, MOST_PENALTY)
    return penalized_KN


def _ranks(rewards_KN: FloatArray, chosen_K: npt.NDArray[np.intp]) -> FloatArray:
    """The share of all architectures that are rewarded less than the chosen one, ties half, (K,) from 0 to 1."""
    own_K1 = rewards_KN[np.arange(len(chosen_K)), chosen_K][:, None]
    ranks_K: FloatArray = ((rewards_KN < own_K1) + 0.5 * (rewards_KN == own_K1)).mean(axis=1)
    return ranks_K


def _scaled(values_NM: FloatArray, violations_N: FloatArray) -> FloatArray:
    """`values_NM` on a scale of 0 to 1 over those within all bounds (over all, where none is); 1 where there are none."""
    within_N = violations_N == 0 if (violations_N == 0).any() else np.isfinite(violations_N)
    low_M, high_M = values_NM[within_N].min(axis=0), values_NM[within_N].max(axis=0)
    scaled_NM = (values_NM - low_M) / np.where(high_M > low_M, high_M - low_M, 1.0)
    found_NM: FloatArray = np.nan_to_num(np.maximum(scaled_NM, 0.0), nan=1.0)
    return found_NM
