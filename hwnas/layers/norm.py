"""Batch norm that elastic layers can narrow, and whose statistics several processes can share.

Shapes: B batch, C channels, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BatchNorm2d", "synchronize"]


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm2d; `narrowed` uses its first channels only.

    Attributes:
        synchronized: in training, the mean and variance are those of the batches of all processes together (set by
            `synchronize`).
    """

    synchronized: bool = False

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if self.training and self.synchronized and self.momentum is not None:
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            return self.narrowed(x_BCHW, self.num_features)
        return super().forward(x_BCHW)

    def narrowed(self, x_BCHW: Tensor, channels: int) -> Tensor:
        """What a batch norm of the first `channels` would do to (B, channels, H, W).

        Raises:
            RuntimeError: made without running statistics or without a momentum.
        """
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise RuntimeError("a batch norm that is narrowed keeps running statistics with a momentum")
        mean_C, var_C = self.running_mean[:channels], self.running_var[:channels]
        weight_C, bias_C = self.weight[:channels], self.bias[:channels]
        if self.training and self.synchronized:
            return _synchronized(x_BCHW, mean_C, var_C, weight_C, bias_C, momentum=self.momentum, eps=self.eps)
        return nn.functional.batch_norm(x_BCHW, mean_C, var_C, weight_C, bias_C, self.training, self.momentum, self.eps)


def synchronize(module: nn.Module) -> None:
    """Makes every BatchNorm2d in `module` share its statistics with the other processes while it trains.

    torch.distributed must be initialised, and every process must run the same layers in the same order on batches of
    the same size; the result is then that of one process on all of the images.
    """
    for layer in module.modules():
        if isinstance(layer, BatchNorm2d):
            layer.synchronized = True


def _synchronized(
    x_BCHW: Tensor,
    running_mean_C: Tensor,
    running_var_C: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    *,
    momentum: float,
    eps: float,
) -> Tensor:
    processes = torch.distributed.get_world_size()
    wide_BCHW = x_BCHW.to(running_mean_C.dtype)  # sums of many halves lose their last digits
    mean_C = _summed(wide_BCHW.mean((0, 2, 3))) / processes
    centred_BCHW = wide_BCHW - mean_C[:, None, None]
    var_C = _summed(centred_BCHW.square().mean((0, 2, 3))) / processes
    with torch.no_grad():
        count = processes * x_BCHW.numel() // x_BCHW.shape[1]
        running_mean_C.lerp_(mean_C, momentum)
        running_var_C.lerp_(var_C * (count / max(1, count - 1)), momentum)
    scale_C = weight_C * torch.rsqrt(var_C + eps)
    return (centred_BCHW * scale_C[:, None, None] + bias_C[:, None, None]).to(x_BCHW.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is the gradient's."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)
    return total
