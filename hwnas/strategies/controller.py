"""The controller of REINFORCE: a recurrent network that writes architectures, one choice after the other.

It draws from the generator that it is given alone, and its numbers do not depend on how many threads torch has.

Suffixes: N architectures, V variables, O options of a variable, C conditions, H hidden units.
"""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hwnas.spaces import IntArray

__all__ = ["Controller"]

FloatArray = npt.NDArray[np.float64]

FIRST_WEIGHTS: Final = 0.1
"""The largest."""
MAX_NORM: Final = 5.0
"""To which gradients are clipped."""


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Within, torch uses one thread: more would sum in another order, and such small arrays are no faster with them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Controller(nn.Module):
    """An LSTM over the variables of a space, conditioned on what is wanted.

    At each variable it is shown the option chosen before and the conditions, and says how likely each option is next
    (Zoph & Le, ICLR 2017).

    Args:
        options_V: number of options of each variable.
        conditions: numbers that say what is wanted.
        hidden_units: of the LSTM.
        learning_rate: of Adam.
        rng: of the first weights.
    """

    def __init__(
        self, options_V: IntArray, conditions: int, *, hidden_units: int, learning_rate: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        total, most = int(options_V.sum()), int(options_V.max())
        first_V = np.cumsum(options_V) - options_V
        self._slices = [slice(int(one), int(one + count)) for one, count in zip(first_V, options_V, strict=True)]
        self._first_V = torch.from_numpy(first_V)
        self._exists_VO = torch.from_numpy(np.arange(most) < options_V[:, None])
        self._place_VO = torch.from_numpy(np.minimum(first_V[:, None] + np.arange(most), total - 1))
        with torch.device("meta"):  # whose first weights are drawn by nobody
            self.embedding = nn.Embedding(total, hidden_units)
            self.wanted = nn.Linear(conditions, hidden_units)
            self.lstm = nn.LSTM(hidden_units, hidden_units, batch_first=True)
            self.head = nn.Linear(hidden_units, total)
        self.to_empty(device="cpu").double()
        with torch.no_grad():
            for one in self.parameters():
                one.copy_(torch.from_numpy(rng.uniform(-FIRST_WEIGHTS, FIRST_WEIGHTS, size=tuple(one.shape))))
        self._optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def forward(self, choices_NV: Tensor, conditions_NC: Tensor) -> tuple[Tensor, Tensor]:
        """How likely the architectures are, and how open the choices that lead to them were.

        Args:
            choices_NV: choices, integers.
            conditions_NC: what is wanted of each.

        Returns:
            The logarithm of the probability of each choice after those before it, and the entropy of its distribution,
            (N, V) each.
        """
        embedded_NVH = self.embedding(choices_NV + self._first_V)
        shown_NVH = self.wanted(conditions_NC)[:, None] + nn.functional.pad(embedded_NVH[:, :-1], (0, 0, 1, 0))
        hidden_NVH, _ = self.lstm(shown_NVH)
        weight_VOH, bias_VO = self.head.weight[self._place_VO], self.head.bias[self._place_VO]
        logits_NVO = torch.einsum("nvh,voh->nvo", hidden_NVH, weight_VOH) + bias_VO
        log_NVO = logits_NVO.masked_fill(~self._exists_VO, -torch.inf).log_softmax(dim=2)
        entropy_NV = -(log_NVO.exp() * log_NVO.masked_fill(~self._exists_VO, 0.0)).sum(dim=2)
        return log_NVO.gather(2, choices_NV[..., None])[..., 0], entropy_NV

    @_one_thread()
    @torch.no_grad()
    def sample(self, conditions_NC: FloatArray, *, rng: np.random.Generator) -> IntArray:
        """Choices (N, V) for each row of conditions, as likely as the controller finds them."""
        wanted_NH = self.wanted(torch.from_numpy(conditions_NC))
        shown_NH, state = wanted_NH, None
        chosen = []
        for options in self._slices:
            output_N1H, state = self.lstm(shown_NH[:, None], state)
            logits_NO = self.head(output_N1H[:, 0])[:, options].numpy()
            choice_N = (logits_NO + rng.gumbel(size=logits_NO.shape)).argmax(axis=1)
            chosen.append(choice_N)
            shown_NH = wanted_NH + self.embedding(torch.from_numpy(choice_N + options.start))
        return np.stack(chosen, axis=1)

    @_one_thread()
    def learn(
        self, choices_NV: IntArray, conditions_NC: FloatArray, *, weights_N: FloatArray, entropy_weight: float
    ) -> None:
        """One step of Adam up the gradient of what follows.

        The sum of the logarithms of the probabilities of `choices_NV`, times `weights_N`, and the mean entropy of an
        architecture's choices, times `entropy_weight`.
        """
        log_NV, entropy_NV = self(torch.from_numpy(choices_NV), torch.from_numpy(conditions_NC))
        gain = torch.from_numpy(weights_N) @ log_NV.sum(dim=1) + entropy_weight * entropy_NV.sum(dim=1).mean()
        self.zero_grad()
        (-gain).backward()
        nn.utils.clip_grad_norm_(self.parameters(), MAX_NORM)
        self._optimizer.step()

    def to_json(self) -> dict[str, Any]:
        """Weights and Adam's moments, exactly, as JSON."""
        return {
            name: {
                "weights": _encoded(weights),
                "moments": {moment: _encoded(one) for moment, one in self._optimizer.state[weights].items()},
            }
            for name, weights in self.named_parameters()
        }

    def load_json(self, document: Mapping[str, Any]) -> None:
        """Takes up what `to_json` gave. Raises KeyError, TypeError or ValueError where it is of no such controller."""
        loaded = []
        for name, weights in self.named_parameters():
            found = document[name]
            like = {"step": torch.zeros(()), "exp_avg": weights, "exp_avg_sq": weights} if found["moments"] else {}
            moments = {moment: _decoded(found["moments"][moment], like=one) for moment, one in like.items()}
            loaded.append((weights, _decoded(found["weights"], like=weights), moments))
        for weights, values, moments in loaded:
            weights.data.copy_(values)
            self._optimizer.state[weights] = moments


def _encoded(tensor: Tensor) -> str:
    return base64.b64encode(tensor.detach().double().numpy().tobytes()).decode()


def _decoded(text: str, *, like: Tensor) -> Tensor:
    values = np.frombuffer(base64.b64decode(text, validate=True)).reshape(tuple(like.shape))
    return torch.from_numpy(values.copy()).to(like.dtype)
