"""The check that every operator is a sound ONNX file that ONNX Runtime runs and that gives what torch gives."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch

from hwnas.checks.subject import Skipped, SpaceUnderTest, bend, bend_statistics
from hwnas.devices import find_runtime
from hwnas.errors import ExportError, HwnasError, MissingRuntimeError, SpaceError
from hwnas.exporters import export_many, save_onnx
from hwnas.spaces import Operator, SearchSpace

__all__ = ["check_exports", "export_operators"]

RUNTIME: Final = "onnxruntime-cpu"
TOLERANCE: Final = 1e-4
"""How far ONNX Runtime's output may be from torch's, as a share of the largest."""
TOGETHER: Final = 48
"""Operators of one export: fewer exports take less time, and one that fails is looked for among fewer operators."""


def check_exports(subject: SpaceUnderTest) -> str | Skipped:
    """Operators export, pass the ONNX checker, run in ONNX Runtime and give what torch gives, within 1e-4.

    Raises SpaceError.
    """
    try:
        find_runtime(RUNTIME).require()
    except MissingRuntimeError as missing:
        return Skipped(str(missing).rstrip("."))
    every = subject.space.all_operators()
    count = len(every) if subject.num_operators is None else min(subject.num_operators, len(every))
    chosen = [every[index] for index in np.linspace(0, len(every) - 1, count).astype(int)]
    largest = export_operators(subject.space, chosen, seed=subject.seed)
    return f"{len(chosen)} of {len(every)} operators, at most {largest:.0e} of the largest output apart"


def export_operators(space: SearchSpace, operators: Sequence[Operator], *, seed: int = 0) -> float:
    """Exports and runs `operators`; returns the largest difference from torch, as a share of the largest output.

    Raises:
        SpaceError: one does not export, is not sound, or gives something else; it names the operator.
    """
    largest = 0.0
    for start in range(0, len(operators), TOGETHER):
        part = operators[start : start + TOGETHER]
        modules = _modules(space, part, seed)
        names = [_where(space, operator) for operator in part]
        try:
            models = export_many(modules, [operator.input_shape for operator in part], names=names)
        except ExportError as error:
            raise SpaceError(error.where, error.must, came=error.came) from error
        for operator, module, model in zip(part, modules, models, strict=True):
            largest = max(largest, _compared(space, operator, module, model))
    return largest


def _modules(space: SearchSpace, operators: Sequence[Operator], seed: int) -> list[torch.nn.Module]:
    """Layers all of whose weights show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = [space.build_operator(operator).eval() for operator in operators]
    for module in modules:
        bend(module, generator=generator)
        bend_statistics(module, generator=generator)
    return modules


def _compared(space: SearchSpace, operator: Operator, module: torch.nn.Module, model: onnx.ModelProto) -> float:
    where = _where(space, operator)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *operator.input_shape, generator=generator)
    with torch.no_grad():
        expected = module(x.clone()).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operator.onnx"
        try:
            save_onnx(model, path)
            [found] = find_runtime(RUNTIME).load(path, num_threads=1).run([x.numpy()])
        except ExportError as error:
            raise SpaceError(where, error.must, came=error.came) from error
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public root
            came = error.came if isinstance(error, HwnasError) else str(error).strip().partition("\n")[0]
            raise SpaceError(where, "must run in ONNX Runtime", came=came) from error
    if found.shape != expected.shape:
        raise SpaceError(where, f"must give {expected.shape} in ONNX Runtime as in torch", came=f"{found.shape} came")
    apart = float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not apart <= TOLERANCE:
        raise SpaceError(
            where,
            f"must give in ONNX Runtime what it gives in torch within {TOLERANCE:g} of the largest output",
            came=f"it is {apart:.1e} apart",
        )
    return apart


def _where(space: SearchSpace, operator: Operator) -> str:
    return f"The operator {operator} of the space {space.name}"
