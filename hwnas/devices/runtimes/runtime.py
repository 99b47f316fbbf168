"""What a runtime must do: load an .onnx file, run it on given inputs, and time runs of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwnas.errors import MissingRuntimeError

__all__ = ["Array", "Runtime", "RuntimeFactory", "Session"]

Array = npt.NDArray[Any]


class Session(ABC):
    """A model loaded into a runtime."""

    @property
    def properties(self) -> dict[str, Any]:
        """What this load has rested on besides the model, for the conditions of its measurement: a timing cache's hash."""
        return {}

    @abstractmethod
    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`, in the order of the model's inputs and outputs."""

    @abstractmethod
    def time_ms(self, runs: int) -> list[float]:
        """Times `runs` runs, one after the other, on inputs that the session holds; in ms, as this runtime times best."""


class Runtime(ABC):
    """A library that runs .onnx files. Importing this class does not import the library."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name, as in RUNTIMES ("onnxruntime-cpu")."""

    @property
    @abstractmethod
    def version(self) -> str | None:
        """The version of the library, None where it is not installed or cannot run here."""

    @property
    @abstractmethod
    def install_hint(self) -> str:
        """What brings the library, for a person ("pip install 'hwnas[tensorrt]'")."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of models that it runs at their own speed: some of "fp32", "fp16", "int8" (Q/DQ nodes)."""
        return ("fp32",)

    @property
    def symmetric_int8(self) -> bool:
        """Whether it wants int8 activations without a zero point, as TensorRT does."""
        return False

    @property
    def properties(self) -> dict[str, Any]:
        """What else its latencies depend on here, for the fingerprint of a table: a GPU's name, its driver."""
        return {}

    def require(self) -> None:
        """Raises MissingRuntimeError where the runtime cannot run here."""
        if self.version is None:
            raise MissingRuntimeError(
                f"Runtime {self.name}", "must be installed", came="it is not", do=f"It comes by {self.install_hint}"
            )

    @abstractmethod
    def load(self, onnx_path: Path, *, num_threads: int) -> Session:
        """Loads a model. Raises MissingRuntimeError, DeviceError."""


RuntimeFactory = Callable[[], Runtime]


def held_inputs(shapes: Sequence[Sequence[int]], types: Sequence[Any]) -> list[Array]:
    """Standard normal inputs of these shapes and numpy types, always the same: what a session times itself on.

    Unsigned types get the absolute values.
    """
    rng = np.random.default_rng(0)
    inputs = []
    for shape, kind in zip(shapes, types, strict=True):
        values = rng.standard_normal(tuple(shape))
        inputs.append((np.abs(values) if np.issubdtype(kind, np.unsignedinteger) else values).astype(kind))
    return inputs
