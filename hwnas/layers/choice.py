"""A layer that is one of several, each with weights of its own.

Shapes: B batch, C channels, H height, W width.
"""

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

__all__ = ["Choice"]


class Choice(nn.Module):
    """Several layers side by side, of which `forward` runs one.

    Args:
        options: the keyword arguments that tell an option from the others, and its layer.

    Raises:
        ValueError: two options have the same keyword arguments.
    """

    def __init__(self, options: Sequence[tuple[Mapping[str, int | str], nn.Module]]) -> None:
        super().__init__()
        self._attributes = [dict(attributes) for attributes, _ in options]
        if any(one in self._attributes[:index] for index, one in enumerate(self._attributes)):
            raise ValueError("the options of a choice must differ in their keyword arguments")
        self.options = nn.ModuleList(module for _, module in options)
        self._active = len(options) - 1

    def activate(self, attributes: Mapping[str, int | str]) -> None:
        """Makes `forward` run the option with these keyword arguments. Raises ValueError where there is none."""
        self._active = self._position(attributes)

    def extract(self, attributes: Mapping[str, int | str]) -> nn.Module:
        """A copy of the option with these keyword arguments. Raises ValueError where there is none."""
        return copy.deepcopy(self.options[self._position(attributes)])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """What the active option does."""
        out: Tensor = self.options[self._active](x_BCHW)
        return out

    def _position(self, attributes: Mapping[str, int | str]) -> int:
        return self._attributes.index(dict(attributes))
