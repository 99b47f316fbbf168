"""What an operator costs on paper: multiply-accumulates, parameters, and the shape that it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["OperatorCounts", "count"]


@dataclass(frozen=True)
class OperatorCounts:
    """Counts of one operator for one image.

    Attributes:
        macs: multiply-accumulates of its convolutions and matrix products, as papers count them: batch norm, which
            folds into the convolution before it, and activations are left out.
        parameters: trainable parameters.
        output_shape: shape of the output without the batch.
    """

    macs: int
    parameters: int
    output_shape: tuple[int, ...]


def count(module: nn.Module, input_shape: Sequence[int]) -> OperatorCounts:
    """Counts `module`, which must lie on the meta device, on one input of `input_shape`."""
    module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = module(torch.empty(1, *input_shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return OperatorCounts(counter.get_total_flops() // 2, parameters, tuple(output.shape[1:]))
