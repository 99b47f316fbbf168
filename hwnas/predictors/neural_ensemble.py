"""An ensemble of small neural networks: what its members disagree about is what it does not know.

All members are one network on arrays with a leading axis, so that an ensemble is trained in the time of a few hundred
matrix products. It is plain NumPy in double precision with its gradient written out: its matrices are too small to be
spread over threads, and the same numbers come on every run.

Suffixes: N architectures, F features, E members, B of a batch, I inputs and O outputs of a layer.
"""

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from hwnas.errors import SettingsError

__all__ = ["NeuralEnsemble"]

FloatArray = npt.NDArray[np.float64]

HIDDEN_LAYERS: Final = 2
BATCH_SIZE: Final = 32
LEARNING_RATE: Final = 0.01
MOMENTS: Final = (0.9, 0.999)
"""How much of the gradient's mean and of its square's Adam keeps in a step."""
FLOOR: Final = 0.1
"""How far below the best value predictions may lie, as a share of the way from the best to the median."""


class NeuralEnsemble:
    """Feed-forward networks that differ in their first weights and in the order of what they are shown.

    The ensemble is BANANAS' (White et al., AAAI 2021), trained by Adam (Kingma & Ba, ICLR 2015) with a cosine schedule. As
    its loss there weighs errors by their distance from the best, here the distances' logarithms are learned: between two
    good architectures a little is much.

    Args:
        members: of the ensemble.
        hidden_width: neurons in each of the two hidden layers.
        steps: of Adam.

    Raises:
        SettingsError: an argument out of range.
    """

    def __init__(self, *, members: int = 5, hidden_width: int = 32, steps: int = 400) -> None:
        for name, value, least in (("members", members, 2), ("hidden_width", hidden_width, 1), ("steps", steps, 1)):
            if not isinstance(value, int) or value < least:
                raise SettingsError(
                    f"{name} of a neural ensemble", f"must be an integer of at least {least}", came=f"{value} came"
                )
        self._members, self._hidden_width, self._steps = members, hidden_width, steps
        self._layers: list[tuple[FloatArray, FloatArray]] = []

    def fit(self, features_NF: FloatArray, values_N: FloatArray, *, rng: np.random.Generator) -> None:
        """Learns anew what the values of architectures are, the less the better.

        Args:
            features_NF: of at least one architecture.
            values_N: the value of each, finite.
            rng: of the first weights and of the batches.
        """
        self._best = float(values_N.min())
        self._floor = FLOOR * float(np.median(values_N) - self._best) or FLOOR * float(np.ptp(values_N)) or 1.0
        logs_N = np.log(values_N - self._best + self._floor)
        self._mean, self._spread = float(logs_N.mean()), float(logs_N.std()) or 1.0
        targets_N = (logs_N - self._mean) / self._spread
        self._layers = self._first_layers(features_NF.shape[1], rng)
        optimizer = _Adam([array for layer in self._layers for array in layer])
        shape_EB = (self._members, min(BATCH_SIZE, len(values_N)))
        for step in range(self._steps):
            batch_EB = rng.integers(len(values_N), size=shape_EB)
            gradients = self._gradients(features_NF[batch_EB], targets_N[batch_EB])
            optimizer.step(gradients, LEARNING_RATE * (1 + np.cos(np.pi * step / self._steps)) / 2)

    def predict(self, features_NF: FloatArray) -> FloatArray:
        """The values that each member foretells, (E, N). Raises SettingsError before `fit`."""
        return self._values(self._outputs(features_NF))

    def sample(self, features_NF: FloatArray, *, rng: np.random.Generator) -> FloatArray:
        """A value for each architecture, drawn independently of the others' from a normal distribution, (N,).

        The distribution has the mean and the deviation of the members' logarithms: independent Thompson sampling.

        Raises:
            SettingsError: before `fit`.
        """
        outputs_EN = self._outputs(features_NF)
        return self._values(
            outputs_EN.mean(axis=0) + outputs_EN.std(axis=0, ddof=1) * rng.standard_normal(len(features_NF))
        )

    def _first_layers(self, features: int, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
        """Weights (E, I, O), as He et al. (ICCV 2015) draw them, and biases (E, 1, O)."""
        widths = [features, *[self._hidden_width] * HIDDEN_LAYERS, 1]
        return [
            (
                np.sqrt(2 / inputs) * rng.standard_normal((self._members, inputs, outputs)),
                np.zeros((self._members, 1, outputs)),
            )
            for inputs, outputs in itertools.pairwise(widths)
        ]

    def _activations(self, x_EBF: FloatArray) -> list[FloatArray]:
        """What goes into each layer, and what comes out of the last, (E, B, 1)."""
        found = [x_EBF]
        for index, (weight_EIO, bias_E1O) in enumerate(self._layers):
            y = found[-1] @ weight_EIO + bias_E1O
            found.append(np.maximum(y, 0.0) if index < HIDDEN_LAYERS else y)
        return found

    def _gradients(self, x_EBF: FloatArray, targets_EB: FloatArray) -> list[FloatArray]:
        """Of the mean squared error, in the order of the layers' weights and biases."""
        *inputs, outputs_EB1 = self._activations(x_EBF)
        slope = 2 * (outputs_EB1 - targets_EB[..., None]) / targets_EB.shape[1]
        found: list[FloatArray] = []
        for (weight_EIO, _), x in zip(reversed(self._layers), reversed(inputs), strict=True):
            found += [slope.sum(axis=1, keepdims=True), x.swapaxes(1, 2) @ slope]
            slope = (slope @ weight_EIO.swapaxes(1, 2)) * (x > 0)
        return found[::-1]

    def _outputs(self, features_NF: FloatArray) -> FloatArray:
        """What the members say, (E, N), as standardised logarithms."""
        if not self._layers:
            raise SettingsError("A neural ensemble", "must be fitted", came="it is not", do="Call `fit` first")
        return self._activations(features_NF[None])[-1][..., 0]

    def _values(self, outputs: FloatArray) -> FloatArray:
        exponents = np.minimum(self._mean + self._spread * outputs, np.log(self._floor) + 50.0)
        found: FloatArray = self._best - self._floor + np.exp(exponents)
        return found


class _Adam:
    """Adam on arrays, which it changes in place."""

    def __init__(self, arrays: Sequence[FloatArray]) -> None:
        self._arrays = [(one, np.zeros_like(one), np.zeros_like(one)) for one in arrays]
        self._steps = 0

    def step(self, gradients: Sequence[FloatArray], learning_rate: float) -> None:
        self._steps += 1
        first, second = MOMENTS
        unbiased = np.sqrt(1 - second**self._steps) / (1 - first**self._steps)
        for (array, mean, square), gradient in zip(self._arrays, gradients, strict=True):
            mean += (1 - first) * (gradient - mean)
            square += (1 - second) * (gradient * gradient - square)
            array -= learning_rate * unbiased * mean / (np.sqrt(square) + 1e-8)
